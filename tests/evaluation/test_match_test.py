import numpy as np
import pandas as pd
import pytest
from drawn_anatomy import anatomy_rows, drawn_pairs

from mammorgb_utils.evaluation.match_test import CANDIDATES, FEATURES, fit_matcher, match_table, match_test
from mammorgb_utils.protocol import Protocol

PROTOCOL = Protocol.load("smoke", n_bootstrap=100)


@pytest.fixture(scope="module")
def table():
    sets = (("train", 1.0, 80), ("real", 1.0, 50), ("sum", 0.0, 50))
    measured = pd.concat([anatomy_rows(name, n, shared=shared, seed=seed)
                          for seed, (name, shared, n) in enumerate(sets)], ignore_index=True)
    return match_table(measured, PROTOCOL)


def test_own_views_are_picked_where_the_views_share_a_breast_alone(table):
    assert len(table) == 2 * len(FEATURES) * 2 * len(CANDIDATES)
    np.testing.assert_allclose(table["chance"], 1 / table["k"])
    by = table.set_index(["set", "features", "null", "k"])
    real, strangers = by.loc[("real", "anatomy", "global")], by.loc[("sum", "anatomy", "global")]
    assert (real["accuracy"] > 0.85).all() and (real["low"] > real["chance"]).all()
    assert (strangers["low"] < strangers["chance"]).all() and (strangers["accuracy"] < 2 * strangers["chance"]).all()
    assert real["accuracy"].is_monotonic_decreasing and (real["accuracy"] <= real["high"]).all()
    assert (by.loc[("real", "area", "global"), "accuracy"] < real["accuracy"]).all()


def test_accuracy_of_two_is_the_share_of_strangers_that_score_lower():
    train, frame = anatomy_rows("train", 60, seed=1), anatomy_rows("real", 24, seed=2)
    scores = fit_matcher(train).scores(frame)
    wins = [scores[i, i] > scores[i, j] for i in range(24) for j in range(24) if i != j]
    table = match_table(pd.concat([train, frame], ignore_index=True), PROTOCOL, candidates=(2,))
    found = table[(table["features"] == "anatomy") & (table["null"] == "global")]["accuracy"].item()
    assert found == pytest.approx(np.mean(wins), abs=1e-6)


def test_views_of_the_same_patient_are_no_candidates():
    train, frame = anatomy_rows("train", 60, noise=1.5, seed=1), anatomy_rows("real", 30, noise=1.5, seed=2)
    twice = pd.concat([frame, frame.assign(pair=frame["pair"] + "b")], ignore_index=True)
    alone, both = (match_table(pd.concat([train, rows], ignore_index=True), PROTOCOL, candidates=(2,))
                   for rows in (frame, twice))
    first = [t[(t["features"] == "anatomy") & (t["null"] == "global")].iloc[0] for t in (alone, both)]
    assert first[1]["accuracy"] == pytest.approx(first[0]["accuracy"], abs=1e-6)
    assert first[1]["n"] == 60
    spread = [row["high"] - row["low"] for row in first]
    assert spread[1] > 0.6 * spread[0], "a breast that stands there twice is no second patient"


def test_without_training_pairs_each_fold_learns_from_the_others():
    rows = [anatomy_rows("real", 60, seed=3), anatomy_rows("sum", 10, seed=4)]
    table = match_table(pd.concat(rows, ignore_index=True), PROTOCOL)
    assert (table.loc[table["set"] == "real", "accuracy"] > table.loc[table["set"] == "real", "chance"]).all()
    assert table.loc[table["set"] == "sum", "note"].eq("fewer than 20 pairs").all()
    with pytest.raises(ValueError, match="match test: 5 pairs to learn from, at least 20"):
        fit_matcher(rows[0].head(5))


def test_pairs_alone_are_enough():
    rng = np.random.default_rng(0)
    pairs, masks = drawn_pairs(rng.uniform(0.3, 0.65, 40), gland=rng.uniform(0.3, 0.7, 40))
    table = match_test(pairs, masks, range(40), seed=1, candidates=(2, 5), n_bootstrap=50)
    chosen = table[table["null"] == "global"].set_index("k")
    assert chosen["accuracy"].between(0.8, 1).all() and chosen["n"].eq(40).all()


def test_views_without_a_mask_are_counted_and_left_out():
    train, frame = anatomy_rows("train", 60, seed=1), anatomy_rows("real", 30, seed=2)
    frame.loc[:3, "mlo_area"] = np.nan
    table = match_table(pd.concat([train, frame], ignore_index=True), PROTOCOL)
    assert table["n"].eq(26).all() and table["n_nan"].eq(4).all() and table["accuracy"].notna().all()
