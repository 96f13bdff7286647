"""Memorisation: planted copies are found under every disguise, and strangers are left alone."""

import numpy as np
import pytest
from drawn_views import breast
from scipy import ndimage
from threadpoolctl import threadpool_limits

from mammorgb_utils.evaluation.fidelity.memorisation import (
    DISGUISED,
    EITHER,
    MARGIN,
    PLANTED,
    closest_pairs,
    flag_threshold,
    memorisation_table,
    nearest_training,
    planted_copies,
)

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


def named(sets):
    return {name: [f"{name}-{i:05d}" for i in range(len(values))] for name, values in sets.items()}


@pytest.fixture(scope="module")
def nearest(sets):
    return nearest_training(sets, named(sets))


@pytest.mark.parametrize("kind", PLANTED[:-1])
def test_planted_copies_are_found_and_led_back_to_their_pair(sets, nearest, kind):
    found = nearest[nearest["set"] == kind]
    assert found["pixel_flag"].all() and found["detail_flag"].all() and found["flagged"].all()
    assert (found["detail_pair"] == found["pixel_pair"]).all()
    source = [int(name[-5:]) for name in found["pixel_pair"]]
    likeness = [np.corrcoef(copy.ravel(), sets["train"][row].ravel())[0, 1]
                for copy, row in zip(sets[kind], source, strict=True)]
    assert len(set(source)) == len(found) and min(likeness) > 0.8


def test_a_copied_view_is_found_beside_a_view_of_another_breast(sets, nearest):
    found = nearest[nearest["set"] == "planted_mixed"]
    assert found["detail_flag"].all() and found["flagged"].all()
    beside = dict(sets, sum=np.stack([sets["heldout"][:5, 0], sets["train"][5:10, 1]], axis=1))
    found = nearest_training(beside, named(beside))
    found = found[found["set"] == "sum"]
    assert found["detail_pair"].tolist() == [f"train-{i:05d}" for i in range(5, 10)]
    assert found["detail_flag"].all() and not found["pixel_flag"].any()


def test_the_detail_distance_by_another_road(sets):
    """One training pair against one pair, each offset and view by itself, with scipy's own filters and correlation."""
    copy, best = ndimage.gaussian_filter(sets["train"][4], (0, 1, 1)), []
    small = {"train": sets["train"][:1], "heldout": sets["heldout"][:4], "sum": copy[None]}

    def detail(view):
        view = view.reshape(32, 2, 32, 2).mean(axis=(1, 3))
        mean = ndimage.gaussian_filter(view, 2.0)
        return (view - mean) / (np.sqrt(ndimage.gaussian_filter((view - mean) ** 2, 2.0)) + 0.02) * (mean > 0.08)

    for view in (0, 1):
        for offset in [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]:
            moved = ndimage.shift(copy[view], offset, order=0, mode="nearest")
            best.append(np.corrcoef(detail(moved).ravel(), detail(small["train"][0, view]).ravel())[0, 1])
    found = nearest_training(small, named(small)).set_index("set")["detail_distance"]
    assert found["sum"] == pytest.approx(np.sqrt(2 - 2 * max(best)), abs=1e-4)


def test_what_the_search_misses_is_planted_too(sets, nearest):
    assert set(DISGUISED) <= set(nearest["set"]) and DISGUISED[0] in sets
    assert not nearest.loc[nearest["set"] == "disguised_mirrored", "flagged"].any()


def test_either_distance_counts_a_pair_once(nearest):
    table = memorisation_table(nearest).set_index(["set", "distance"])
    row = table.loc[("planted_mixed", EITHER)]
    assert (row["n"], row["n_flagged"], row["flagged"]) == (6, 6, 1.0) and np.isnan(row["median"])
    assert table.loc[("planted_noise", EITHER), "n_flagged"] == 6  # flagged by both


def test_strangers_and_held_out_pairs_are_not_flagged(nearest):
    assert not nearest.loc[nearest["set"].isin(["heldout", "sum"]), "flagged"].any()


def test_one_copy_among_strangers_is_the_one_that_is_flagged(sets):
    mixed = {"train": sets["train"], "heldout": sets["heldout"], "sum": sets["sum"].copy()}
    mixed["sum"][7] = sets["train"][11]
    found = nearest_training(mixed, named(mixed))
    row = found[found["flagged"]]
    assert row["pair"].tolist() == ["sum-00007"] and row["pixel_pair"].item() == "train-00011"
    assert row["detail_flag"].item() and row["detail_pair"].item() == "train-00011"
    title, synthetic, train = closest_pairs(found, mixed, [f"train-{i:05d}" for i in range(N_TRAIN)], n=2)[0]
    assert title == "sum-00007\npixel 0.00 (flagged)" and np.array_equal(synthetic, train)


def test_a_blend_of_two_training_pairs_is_no_copy(sets):
    mixed = dict(sets, sum=(sets["train"][:20] + sets["train"][20:]) / 2)
    found = nearest_training(mixed, named(mixed))
    assert not found.loc[found["set"] == "sum", "pixel_flag"].any()


def test_the_threshold_is_a_margin_below_the_smallest_held_out_distance(nearest):
    held = nearest[nearest["set"] == "heldout"]
    assert flag_threshold(nearest, "pixel") == pytest.approx(MARGIN * held["pixel_distance"].min())


def test_a_held_out_pair_that_repeats_a_training_pair_does_not_blind_the_search(sets):
    leaked = dict(sets, heldout=np.concatenate([sets["heldout"], sets["train"][:1]]))
    found = nearest_training(leaked, named(leaked))
    assert found.loc[found["set"] == "heldout", "flagged"].tolist() == [False] * 40 + [True]
    assert found.loc[found["set"].isin(PLANTED), "flagged"].all()


def test_the_table_counts_by_hand_and_has_intervals(nearest):
    table = memorisation_table(nearest).set_index(["set", "distance"])
    row = table.loc[("planted_noise", "pixel")]
    assert (row["n"], row["n_flagged"], row["flagged"], row["flagged_high"]) == (6, 6, 1.0, 1.0)
    assert row["flagged_low"] == pytest.approx(6 / (6 + 1.959964**2), abs=1e-4)  # Wilson, all of n
    held = table.loc[("heldout", "pixel")]
    assert held["n_below"] == 1 and held["chance"] == pytest.approx(0.4)
    assert held["n_flagged"] == 0 and np.isnan(held["flagged_high"])


def test_a_pair_without_a_breast_is_like_nothing_and_not_flagged(sets):
    blank = dict(sets, sum=np.zeros((2, 2, 64, 64), np.float32))
    found = nearest_training(blank, named(blank))
    row = found[found["set"] == "sum"]
    assert row[["pixel_distance", "detail_distance"]].to_numpy() == pytest.approx(np.full((2, 2), np.sqrt(2)))
    assert not row["flagged"].any()


@pytest.mark.parametrize("size", [32, 48, 100, 128])
def test_copies_are_found_at_any_image_size(sets, size):
    """Grids that divide the image and grids that don't."""
    grown = {name: ndimage.zoom(sets[name], (1, 1, size / 64, size / 64), order=1) for name in ("train", "heldout")}
    grown["sum"] = np.clip(grown["train"][:3] * 0.9 + 0.01, 0, 1)
    found = nearest_training(grown, named(grown))
    assert found.loc[found["set"] == "sum", "pixel_pair"].tolist() == [f"train-{i:05d}" for i in range(3)]
    assert found.loc[found["set"] == "sum", ["pixel_flag", "detail_flag"]].all(axis=None)


def test_the_number_of_threads_changes_no_bit(sets, nearest):
    for threads in (1, 2):
        with threadpool_limits(threads):
            assert nearest_training(sets, named(sets)).equals(nearest)


def test_sets_that_are_missing_or_do_not_fit_are_named(sets):
    with pytest.raises(ValueError, match="no pairs of the set 'heldout'"):
        nearest_training({"train": sets["train"]}, named(sets))
    with pytest.raises(ValueError, match="30 for 29 pairs of the set 'sum'"):
        nearest_training(dict(sets, sum=sets["sum"][1:]), named(sets))
    with pytest.raises(ValueError, match="sum has shape"):
        nearest_training(dict(sets, sum=sets["sum"][..., :32]), named(sets))
