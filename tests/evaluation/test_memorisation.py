"""Memorisation: planted copies are found under every disguise, and strangers are left alone."""

import numpy as np
import pandas as pd
import pytest
from drawn_views import breast

from mammorgb_utils.evaluation.memorisation import (
    MARGIN,
    PLANTED,
    closest_pairs,
    flag_threshold,
    memorisation_table,
    nearest_training,
    planted_copies,
)
from mammorgb_utils.evaluation.texture import texture_features

N_TRAIN = 40


def tissue(seed):
    """A pair with its own outline and its own smooth tissue."""
    rng = np.random.default_rng(seed)
    pair = []
    for depth in rng.uniform(0.4, 0.85, 2):
        mask = breast(64, depth, rng.uniform(0.25, 0.45), rng.uniform(0.45, 0.55))
        coarse = np.kron(rng.random((8, 8)), np.ones((8, 8)))
        pair.append(np.where(mask, 0.35 + 0.4 * coarse, 0.0))
    return np.array(pair, dtype=np.float32)


def pairs(n, start):
    return np.stack([tissue(start + i) for i in range(n)])


@pytest.fixture(scope="module")
def sets():
    train = pairs(N_TRAIN, 0)
    copies = planted_copies(train, seed=3, n=6)
    return {"train": train, "heldout": pairs(40, 1000), "sum": pairs(30, 2000), **copies}


def texture_of(sets):
    return pd.concat([texture_features(values).assign(set=name, pair=[f"{name}-{i:05d}" for i in range(len(values))])
                      for name, values in sets.items()], ignore_index=True)


@pytest.fixture(scope="module")
def nearest(sets):
    return nearest_training(sets, texture_of(sets))


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_copies_are_found_and_led_back_to_their_pair(sets, nearest, kind):
    found = nearest[nearest["set"] == kind]
    assert found["pixel_flag"].all() and found["flagged"].all()
    source = [int(name[-5:]) for name in found["pixel_pair"]]
    likeness = [np.corrcoef(copy.ravel(), sets["train"][row].ravel())[0, 1]
                for copy, row in zip(sets[kind], source, strict=True)]
    assert len(set(source)) == len(found) and min(likeness) > 0.8


def test_strangers_and_held_out_pairs_are_not_flagged(nearest):
    assert not nearest.loc[nearest["set"].isin(["heldout", "sum"]), "flagged"].any()


def test_one_copy_among_strangers_is_the_one_that_is_flagged(sets):
    mixed = {"train": sets["train"], "heldout": sets["heldout"], "sum": sets["sum"].copy()}
    mixed["sum"][7] = sets["train"][11]
    found = nearest_training(mixed, texture_of(mixed))
    row = found[found["flagged"]]
    assert row["pair"].tolist() == ["sum-00007"] and row["pixel_pair"].item() == "train-00011"
    assert row["texture_flag"].item() and row["texture_pair"].item() == "train-00011"
    title, synthetic, train = closest_pairs(found, mixed, [f"train-{i:05d}" for i in range(N_TRAIN)], n=2)[0]
    assert title == "sum-00007\npixel 0.00 (flagged)" and np.array_equal(synthetic, train)


def test_a_blend_of_two_training_pairs_is_no_copy(sets):
    mixed = dict(sets, sum=(sets["train"][:20] + sets["train"][20:]) / 2)
    found = nearest_training(mixed, texture_of(mixed))
    assert not found.loc[found["set"] == "sum", "pixel_flag"].any()


def test_the_threshold_is_a_margin_below_the_smallest_held_out_distance(nearest):
    held = nearest[nearest["set"] == "heldout"]
    assert flag_threshold(nearest, "pixel") == pytest.approx(MARGIN * held["pixel_distance"].min())


def test_a_held_out_pair_that_repeats_a_training_pair_does_not_blind_the_search(sets):
    leaked = dict(sets, heldout=np.concatenate([sets["heldout"], sets["train"][:1]]))
    found = nearest_training(leaked, texture_of(leaked))
    assert found.loc[found["set"] == "heldout", "flagged"].tolist() == [False] * 40 + [True]
    assert found.loc[found["set"].isin(PLANTED), "flagged"].all()


def test_the_table_counts_by_hand_and_has_intervals(nearest):
    table = memorisation_table(nearest).set_index(["set", "distance"])
    row = table.loc[("planted_noise", "pixel")]
    assert (row["n"], row["n_flagged"], row["flagged"], row["flagged_high"]) == (6, 6, 1.0, 1.0)
    assert row["flagged_low"] == pytest.approx(6 / (6 + 1.959964**2), abs=1e-4)  # Wilson, all of n
    held = table.loc[("heldout", "pixel")]
    assert held["n_below"] == 1 and held["chance"] == pytest.approx(40 / 41) and held["n_flagged"] == 0


def test_a_pair_without_a_breast_has_no_texture_distance_and_is_not_flagged(sets):
    blank = dict(sets, sum=np.zeros((2, 2, 64, 64), np.float32))
    found = nearest_training(blank, texture_of(blank))
    row = found[found["set"] == "sum"]
    assert row["texture_distance"].isna().all() and (row["texture_pair"] == "").all() and not row["flagged"].any()
    assert row["pixel_distance"].tolist() == pytest.approx([np.sqrt(2)] * 2)
    assert (memorisation_table(found).set_index(["set", "distance"]).loc[("sum", "texture"), "n_nan"]) == 2


def test_sets_that_are_missing_or_do_not_fit_are_named(sets):
    texture = texture_of(sets)
    with pytest.raises(ValueError, match="no pairs of the set 'heldout'"):
        nearest_training({"train": sets["train"]}, texture)
    with pytest.raises(ValueError, match="30 rows for 29 pairs of the set 'sum'; run 04_metrics again"):
        nearest_training(dict(sets, sum=sets["sum"][1:]), texture)
    with pytest.raises(ValueError, match="sum has shape"):
        nearest_training(dict(sets, sum=sets["sum"][..., :32]), texture)
