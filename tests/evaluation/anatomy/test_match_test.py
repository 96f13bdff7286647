import numpy as np
import pandas as pd
import pytest
from drawn_anatomy import anatomy_rows, drawn_pairs

from mammorgb_utils.evaluation.anatomy import anatomy
from mammorgb_utils.evaluation.anatomy.matching import (
    CANDIDATES,
    FEATURES,
    fit_matcher,
    match_rows,
    match_table,
)
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.statistics import wilson
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
    with pytest.raises(ValueError, match="5 pairs to learn from, at least 20"):
        fit_matcher(rows[0].head(5))


def measured_rows(pairs, masks):
    names = [f"r{i}" for i in range(len(pairs))]
    return anatomy(pairs, masks).assign(set="real", pair=names, patient=names)


def test_pairs_alone_are_enough():
    rng = np.random.default_rng(0)
    pairs, masks = drawn_pairs(rng.uniform(0.3, 0.65, 40), gland=rng.uniform(0.3, 0.7, 40))
    table = match_table(measured_rows(pairs, masks), PROTOCOL, candidates=(2, 5))
    chosen = table[(table["null"] == "global") & (table["features"] == "anatomy")].set_index("k")
    assert chosen["accuracy"].between(0.8, 1).all() and chosen["n"].eq(40).all()


def test_views_without_a_mask_are_counted_and_left_out():
    train, frame = anatomy_rows("train", 60, seed=1), anatomy_rows("real", 30, seed=2)
    frame.loc[:3, "mlo_area"] = np.nan
    table = match_table(pd.concat([train, frame], ignore_index=True), PROTOCOL)
    assert table["n"].eq(26).all() and table["n_nan"].eq(4).all() and table["accuracy"].notna().all()


def noted(table, name):
    """The one row a feature set that says why a set has no accuracy."""
    rows = table[table["set"] == name]
    assert len(rows) == len(FEATURES) and rows[["k", "accuracy", "low", "high"]].isna().all(axis=None)
    return rows.iloc[0]


def test_a_set_without_masks_has_a_note_and_stops_nothing():
    parts = [anatomy_rows("train", 60, seed=1), anatomy_rows("real", 30, seed=2), anatomy_rows("sum", 30, seed=3),
             anatomy_rows("zero", 30, seed=4)]
    parts[2][["cc_area", "mlo_area"]] = np.nan
    parts[3].loc[:10, "cc_area"] = np.nan
    table = match_table(pd.concat(parts, ignore_index=True), PROTOCOL)
    assert noted(table, "sum")[["n", "n_nan", "note"]].tolist() == [0, 30, "fewer than 20 pairs"]
    assert noted(table, "zero")[["n", "n_nan", "note"]].tolist() == [19, 11, "fewer than 20 pairs"]
    assert table.loc[table["set"] == "real", "accuracy"].notna().all()


@pytest.mark.parametrize("trained", [0, 15, 25])
def test_folds_too_small_to_learn_from_have_a_note(trained):
    train = anatomy_rows("train", max(trained, 1), seed=1).head(trained)
    train.loc[15:, "mlo_area"] = np.nan  # what has no area can't be learned from
    parts = [train, anatomy_rows("real", 60, seed=2), anatomy_rows("sum", 22, seed=3)]
    table = match_table(pd.concat(parts, ignore_index=True), PROTOCOL)
    assert noted(table, "sum")["note"] == "17 pairs to learn from, at least 20 are needed"
    assert table.loc[table["set"] == "real", "accuracy"].notna().all()


def test_folds_are_made_of_the_pairs_with_masks():
    frame = anatomy_rows("real", 60, seed=2)
    frame.loc[:33, "mlo_area"] = np.nan  # 26 are left, 20 or more of them in every fold's rest
    table = match_table(frame, PROTOCOL)
    assert table["n"].eq(26).all() and table["accuracy"].notna().all()


def test_a_set_of_one_patient_has_a_note():
    frame = anatomy_rows("real", 30, seed=2).assign(patient="one")
    assert "two patients" in noted(match_table(frame, PROTOCOL), "real")["note"]
    learned = match_table(pd.concat([anatomy_rows("train", 60, seed=1), frame], ignore_index=True), PROTOCOL)
    assert learned["accuracy"].isna().all() and learned["note"].eq("no strangers to tell from").all()


def test_pairs_without_masks_alone_give_no_accuracy():
    blank = np.zeros((3, 2, 64, 64), np.float32)
    none = np.zeros(blank.shape, bool)
    masks = PairMasks(none, none[:, 0], np.zeros((3, 2), bool), np.zeros((3, 2)))
    for train in (anatomy_rows("train", 60, seed=1), anatomy_rows("train", 0)):
        table = match_table(pd.concat([train, measured_rows(blank, masks)], ignore_index=True), PROTOCOL)
        assert table["accuracy"].isna().all() and table["n"].eq(0).all() and table["n_nan"].eq(3).all()
        assert table["note"].eq("fewer than 20 pairs").all()


def test_an_accuracy_of_one_has_wilsons_bound_by_patients():
    train, frame = anatomy_rows("train", 60, noise=0.01, seed=1), anatomy_rows("real", 30, noise=0.01, seed=2)
    twice = pd.concat([frame, frame.assign(pair=frame["pair"] + "b")], ignore_index=True)
    table = match_table(pd.concat([train, twice], ignore_index=True), PROTOCOL, candidates=(2,))
    row = table[(table["features"] == "anatomy") & (table["null"] == "global")].iloc[0]
    assert row[["n", "accuracy", "high"]].tolist() == [60, 1.0, 1.0]
    assert row["low"] == pytest.approx(wilson(30, 30).low) and row["low"] < 0.9


def test_who_cannot_tell_is_right_as_often_as_blind_says():
    """All CCs rank the MLOs alike; where some CCs alone are asked, each meets the same strangers as before."""
    frame, rng = anatomy_rows("real", 30), np.random.default_rng(0)
    blind = np.repeat(rng.normal(size=(1, 30)), 30, axis=0)
    rows = pd.DataFrame(match_rows(frame, blind, PROTOCOL, (2, 8))).set_index(["null", "k"])
    np.testing.assert_allclose(rows["accuracy"], rows["blind"], atol=1e-6)
    assert rows.loc[("global", 2), "blind"] == pytest.approx(0.5) and rows.loc[("strata", 8), "blind"] > 0.14
    scores, asked = rng.normal(size=(30, 30)), np.array([4, 11, 29])
    whole, some = (pd.DataFrame(match_rows(frame, scores[which], PROTOCOL, (2,), which)).set_index("null")
                   for which in (np.arange(30), asked))
    wins = [np.mean(np.delete(scores[i], i) < scores[i, i]) for i in asked]
    assert some.loc["global", "accuracy"] == pytest.approx(np.mean(wins))
    assert some.loc["global", "high"] - some.loc["global", "low"] > whole.loc["global", "high"] - whole.loc[
        "global", "low"]
