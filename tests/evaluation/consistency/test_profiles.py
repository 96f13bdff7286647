"""MammoFlow's figures on profiles that can be worked by hand, and on drawn breasts."""

from math import log

import numpy as np
import pandas as pd
import pytest
from drawn_views import breast, pairs_of
from scipy import ndimage

from mammorgb_utils.evaluation.consistency import compared, depth_profiles, profile_distances, profile_table
from mammorgb_utils.evaluation.consistency import profiles as module
from mammorgb_utils.evaluation.overlap import PairMasks, pair_masks
from mammorgb_utils.protocol import Protocol

SIZE = 128  # of the profiles


def spikes(*places):
    """A profile with equal shares at some places; negative ones count from the end."""
    profile = np.zeros(SIZE)
    for place in places:
        profile[place] += 1 / len(places)
    return profile


def figures(cc, mlo, *, best=None):
    """Of one pair whose alignments are all the same; `best`: crop, turn and profiles of one that differs."""
    first, second = np.tile(cc, (1, 16, 1)), np.tile(mlo, (1, 7, 1))
    if best:
        first[0, best[0]], second[0, best[1]] = best[2:]
    return compared(first, second).iloc[0]


def whole(pairs):
    """Masks that are everything brighter than air, without a muscle."""
    n, size = len(pairs), pairs.shape[-1]
    return PairMasks(pairs > 0.05, np.zeros((n, size, size), bool), np.ones((n, 2), bool), np.ones((n, 2)))


def test_the_distance_is_the_mean_gap_of_the_distribution_functions():
    assert figures(spikes(10), spikes(42))["emd"] == pytest.approx(32 / SIZE)
    assert figures(spikes(10, 20), spikes(10, 52))["emd"] == pytest.approx(32 / SIZE / 2)
    assert figures(spikes(3), spikes(3))["emd"] == 0.0


def test_divergence_and_overlap_by_hand():
    p, q = spikes(5, 9), spikes(5, 9, 9, 9)
    found = figures(p, q)
    assert found["jsd"] == pytest.approx(0.5 * (0.25 * log(2) - 0.25 * log(2 / 3)), rel=1e-5)
    assert found["overlap"] == pytest.approx((1 / 3 + 1) / (1 + 1))  # heights 1, 1 beside 1/3, 1
    assert figures(p, p)["jsd"] == 0.0 and figures(p, p)["overlap"] == 1.0


def test_the_best_alignment_counts_and_what_it_is_without_stands_beside_it():
    found = figures(spikes(10), spikes(42), best=(11, 6, spikes(60), spikes(61)))
    assert found["emd"] == pytest.approx(1 / SIZE) and found["emd_as_is"] == pytest.approx(32 / SIZE)
    assert found["jsd"] == figures(spikes(60), spikes(61))["jsd"]
    aligned = figures(spikes(10), spikes(42), best=(0, 3, spikes(7), spikes(7)))
    assert aligned["emd"] == aligned["emd_as_is"] == 0.0, "crop 0 and turn 0 are the pair as it is"


def test_there_are_112_alignments_in_shares_of_512_pixels():
    assert len(module.CROPS) * len(module.ANGLES) == 112
    assert (module.CROPS * 512).tolist() == list(range(0, 121, 8)) and module.SIGMA * 512 == 5
    assert module.ANGLES.tolist() == [-6, -4, -2, 0, 2, 4, 6]


def test_a_triangle_looks_the_same_however_much_is_cut_off():
    """Its columns fall linearly to the tip, whatever their number: stretched again, every crop is the same."""
    y, x = (np.mgrid[:256, :256] + 0.5) / 256
    triangle = np.where(np.abs(y - 0.5) < 0.45 * (1.0 - x), 0.6, 0.0).astype(np.float32)
    cc, _ = depth_profiles(np.stack([triangle, triangle])[None], whole(np.stack([triangle, triangle])[None]))
    assert np.abs(np.cumsum(cc[0], axis=1) - np.cumsum(cc[0, 0])).max() < 0.01
    place = (np.arange(SIZE) + 0.5) / SIZE
    assert np.abs(np.cumsum(cc[0, 0]) - (2 * place - place**2)).max() < 0.02
    assert cc[0].sum(axis=1) == pytest.approx(1.0)


def test_size_and_brightness_dont_matter_but_the_tissues_depth_does():
    one = np.where(pairs_of([(0.4, 0.8)], size=128) > 0.05, np.float32(0.5), np.float32(0.0))
    found = profile_distances(one, whole(one), seed=1, names=["a"], patients=["a"])
    assert found["pairing"].tolist() == ["own"] and found["emd_as_is"][0] < 0.006
    dim = one * np.array([1.0, 0.5], np.float32)[:, None, None]
    assert profile_distances(dim, whole(dim), seed=1, names=["a"], patients=["a"])["emd"][0] < 0.006
    deep = one.copy()
    deep[0, 1, :, 64:] *= 0.2
    assert profile_distances(deep, whole(deep), seed=1, names=["a"], patients=["a"])["emd_as_is"][0] > 0.05


@pytest.mark.parametrize("angle", [-6, -2, 0, 4])
def test_columns_of_a_turned_breast_are_those_of_its_picture(angle):
    image = ndimage.gaussian_filter(np.random.default_rng(3).random((SIZE, SIZE)), 4) * breast(SIZE, 0.9, 0.45)
    corner = np.array([SIZE - 0.5 if angle > 0 else -0.5, -0.5])  # lower or upper left
    turn = np.radians(angle)
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    wide = ndimage.affine_transform(np.pad(image, ((SIZE, SIZE), (0, 0))), back, corner + [SIZE, 0] - back
                                    @ (corner + [SIZE, 0]), order=1)  # room for what is turned beyond top and bottom
    expected = wide.sum(axis=0)
    np.testing.assert_allclose(module._turn(angle) @ image.ravel(), expected, atol=0.02 * expected.max())


def test_views_without_a_mask_have_no_figure_and_are_nobodys_stranger():
    pairs = pairs_of([(0.4, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8)])
    black = np.concatenate([pairs, pairs[:2]])
    black[4, 0], black[5, 1] = 0.0, 0.0
    few, many = (profile_distances(views, pair_masks(views), seed=1, names=range(len(views)),
                                   patients=range(len(views))) for views in (pairs, black))
    lacking = many["cc_pair"].ge(4)
    assert set(many.loc[lacking, "pairing"]) == {"own"} and many.loc[lacking, "emd"].isna().all()
    pd.testing.assert_frame_equal(few, many[~lacking].reset_index(drop=True))
    assert set(few["pairing"]) == {"own", "shuffled", "like_area"}
    strangers = few[few["pairing"] != "own"]
    assert (strangers["cc_pair"] != strangers["mlo_pair"]).all() and (few["emd"] <= few["emd_as_is"]).all()


def rows(name, values, pairing="own", partner=0):
    """A row a pair whose three figures are alike, with the MLO of the patient `partner` further on."""
    patients = np.array([f"{name}{i}" for i in range(len(values))])
    frame = pd.DataFrame({"set": name, "pairing": pairing, "cc_patient": patients,
                          "mlo_patient": np.roll(patients, -partner)})
    for measure in ("emd", "jsd", "overlap"):
        frame[measure], frame[f"{measure}_as_is"] = values, 2 * np.array(values)
    return frame


def test_differences_to_real_are_in_percent_of_the_real_mean():
    table = pd.concat([rows("real", [0.01, 0.02, 0.03]), rows("real", [0.04, 0.04, 0.01], "shuffled", 1),
                       rows("sum", [0.03, 0.05, np.nan])])
    found = profile_table(table, Protocol(encodings=("sum",), n_bootstrap=500)).set_index(["set", "pairing", "measure"])
    real, sum_ = found.loc[("real", "own", "emd")], found.loc[("sum", "own", "emd")]
    assert (real["mean"], real["delta"], real["delta_low"], real["delta_high"]) == pytest.approx((0.02, 0, 0, 0))
    assert sum_["mean"] == pytest.approx(0.04) and sum_["delta"] == pytest.approx(100.0)
    assert (sum_["n"], sum_["n_nan"]) == (2, 1) and sum_["as_is"] == pytest.approx(0.08)
    assert found.loc[("real", "shuffled", "emd"), "delta"] == pytest.approx(50.0)
    assert (sum_["mean_low"], sum_["mean_high"]) == pytest.approx((0.03, 0.05))
    assert sum_["delta_low"] < 100.0 < sum_["delta_high"]


def test_intervals_draw_patients_and_weigh_strangers_by_both():
    rng = np.random.default_rng(5)
    own, other = rng.gamma(2, 0.01, 25), rng.gamma(2, 0.01, 25)
    table = pd.concat([rows("real", own), rows("real", other, "shuffled", 1)])
    found = profile_table(table, Protocol(encodings=("sum",), n_bootstrap=4000))
    found = found.set_index(["pairing", "measure"]).xs("jsd", level="measure")
    drawn = []
    for _ in range(3000):
        times = np.bincount(rng.integers(25, size=25), minlength=25)
        weight = times * np.roll(times, -1)
        drawn.append([(times * own).sum() / 25, (weight * other).sum() / weight.sum()])
    for pairing, values in zip(("own", "shuffled"), np.transpose(drawn), strict=True):
        bounds = found.loc[pairing, ["mean_low", "mean_high"]]
        assert bounds.tolist() == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist(), abs=0.0012)


def test_a_set_without_a_profile_is_counted_and_empty():
    table = pd.concat([rows("real", [0.01, 0.02]), rows("sum", [np.nan, np.nan])])
    found = profile_table(table, Protocol(encodings=("sum",), n_bootstrap=50)).set_index(["set", "measure"])
    assert found.loc[("sum", "emd"), "n_nan"] == 2
    assert found.loc[("sum", "emd"), ["mean", "mean_low", "delta", "delta_high"]].isna().all()
