"""Each detector on drawn views: it flags its own artefact, and nothing on a plain pair, whatever the image size."""

import numpy as np
import pandas as pd
import pytest
from drawn_views import breast, mlo_breast, wedge
from scipy import ndimage
from scipy.stats import binomtest

from mammorgb_utils.evaluation.artefacts import (
    ANY,
    DETECTORS,
    THRESHOLDS,
    artefact_flags,
    artefact_rates,
    artefact_scores,
    flags_from_scores,
)
from mammorgb_utils.evaluation.overlap import pair_masks
from mammorgb_utils.evaluation.statistics import rate, rate_row, wilson
from mammorgb_utils.runs import PROJECT_ROOT

SIZES = (64, 256)
RESULTS = PROJECT_ROOT / "benchmarks" / "results"


def smooth(mask, tissue=0.5):
    return np.where(mask, tissue, 0.0).astype(np.float32)


def plain(size):
    """CC a half ellipse; MLO wider at the upper edge, with a muscle's wedge in its corner."""
    mlo = mlo_breast(size) & (np.arange(size)[:, None] < 0.92 * size)
    return np.stack([smooth(breast(size, 0.66, 0.42)), np.where(wedge(size, 0.35, 0.6) & mlo, 0.75, smooth(mlo))])


def found(pair):
    flags = artefact_flags(pair[None], pair_masks(pair[None])).iloc[0]
    return {name for name in DETECTORS if flags[name] is True or flags[name] is np.True_}


@pytest.mark.parametrize("size", SIZES)
def test_a_plain_pair_carries_nothing(size):
    assert found(plain(size)) == set()


@pytest.mark.parametrize("size", SIZES)
def test_grey_air_is_an_offset(size):
    pair = plain(size)
    pair[1] = np.maximum(pair[1], 0.1)
    assert found(pair) == {"background_offset"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("turned", [False, True])
def test_a_straight_line_through_the_air_is_an_edge(size, turned):
    pair, at = plain(size), round(0.9 * size)
    line = np.s_[0, :, at:at + size // 64] if turned else np.s_[0, at:at + size // 64]
    pair[line] = 0.4
    assert found(pair) == {"edge_line"}


@pytest.mark.parametrize("size", SIZES)
def test_a_dark_line_through_the_breast_is_an_edge(size):
    pair = plain(size)
    pair[0, size // 2:size // 2 + size // 32] *= 0.6
    assert "edge_line" in found(pair)


@pytest.mark.parametrize("size", SIZES)
def test_a_bright_bar_in_air_is_a_label(size):
    pair = plain(size)
    pair[0, round(0.06 * size):round(0.12 * size), round(0.75 * size):round(0.9 * size)] = 0.9
    assert found(pair) == {"label_remnant"}


@pytest.mark.parametrize("size", SIZES)
def test_a_breast_beyond_the_lower_edge_is_cut_and_a_sliver_is_collapsed(size):
    pair = plain(size)
    low, sliver = pair.copy(), pair.copy()
    low[0] = np.pad(pair[0], ((round(0.4 * size), 0), (0, 0)))[:size]
    sliver[0] = np.where(np.arange(size) < size // 60, pair[0], 0.0)
    assert "cut_breast" in found(low) and "cut_breast" in found(sliver)


@pytest.mark.parametrize("size", SIZES)
def test_swapped_views_and_unlike_areas_are_a_mismatch(size):
    pair = plain(size)
    assert "view_mismatch" in found(pair[::-1])
    assert "view_mismatch" in found(np.stack([smooth(breast(size, 0.2)), pair[1]]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("period", [2, 4])
def test_a_pattern_of_the_upsampling_grid_is_a_checkerboard(size, period):
    pair = plain(size)
    bright = np.arange(size) % period < period // 2
    pair[1] = np.where(pair[1] > 0, pair[1] - 0.15 * np.outer(bright, bright), 0.0)
    assert "checkerboard" in found(pair)


def test_noise_is_no_artefact_and_empty_views_are_collapsed():
    pair = plain(64)
    noisy = np.clip(pair + 0.01 * np.random.default_rng(1).standard_normal(pair.shape), 0, 1).astype(np.float32)
    assert found(noisy) == set()
    assert found(np.zeros((2, 64, 64), np.float32)) == {"cut_breast"}


def test_masks_of_other_pairs_and_values_that_are_not_finite_are_refused():
    pairs = plain(64)[None]
    with pytest.raises(ValueError, match="masks: made for pairs of shape"):
        artefact_scores(np.concatenate([pairs, pairs]), pair_masks(pairs))
    masks, broken = pair_masks(pairs), pairs.copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        artefact_scores(broken, masks)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("which", "depth"), [(0, 0.025), (1, 0.2), (1, -0.25)])  # in air, in tissue, dark in tissue
def test_the_other_views_outline_is_seen_where_it_was_drawn(size, which, depth):
    pair, grain = plain(size), size // 64
    if which == 1:
        pair[0] = smooth(breast(size, 0.45, 0.3))
    other = pair[1 - which] > 0.05
    line = other & ~ndimage.minimum_filter(other, 2 * grain + 1, mode="nearest")
    assert "other_contour" not in found(pair)
    pair[which] = np.clip(pair[which] + depth * line, 0.0, 1.0).astype(np.float32)
    assert "other_contour" in found(pair)
    away = plain(size)
    away[which] = np.clip(away[which] + depth * np.roll(line, -6 * grain, axis=1), 0.0, 1.0)
    assert "other_contour" not in found(away), "a line elsewhere is another artefact"


def test_of_two_views_with_one_outline_nothing_is_said():
    pair = np.stack([smooth(breast(64, 0.6)), smooth(breast(64, 0.62))])[None]
    assert np.isnan(artefact_scores(pair, pair_masks(pair))["other_contour"][0])


def test_flags_are_scores_beyond_thresholds(monkeypatch):
    pairs = plain(64)[None]
    scores = artefact_scores(pairs, pair_masks(pairs))
    for name in THRESHOLDS:
        monkeypatch.setitem(THRESHOLDS, name, scores[name].iloc[0])
    assert not flags_from_scores(scores)[ANY].any()
    assert flags_from_scores(scores + 1e-6).all(axis=None)


def flag_rows(rows):
    table = pd.DataFrame(rows, columns=["set", "patient", "cut_breast"])
    return table.assign(**{name: False for name in DETECTORS if name != "cut_breast"}, **{ANY: table["cut_breast"]})


def test_rates_take_a_patient_once():
    table = artefact_rates(flag_rows([("sum", "a", True), ("sum", "b", False), ("real", "p", True),
                                      ("real", "p", False), ("real", "q", False), ("train", "t", False)]))
    assert table["set"].unique().tolist() == ["real", "sum", "train"]
    assert table["artefact"].unique().tolist() == [*DETECTORS, ANY]
    cut = table[table["artefact"] == "cut_breast"].set_index("set")
    assert cut["n"].to_dict() == {"real": 2, "sum": 2, "train": 1}
    assert cut["count"].to_dict() == {"real": 0.5, "sum": 1.0, "train": 0.0} and cut.loc["real", "rate"] == 0.25
    assert cut.loc["real", ["rate", "low", "high"]].tolist() == list(rate([1, 0, 0], groups=["p", "p", "q"]))
    with pytest.raises(ValueError, match="columns patient are missing"):
        artefact_rates(flag_rows([("sum", "a", True)]).drop(columns="patient"))


@pytest.mark.parametrize("count, n", [(0, 7), (3, 40), (40, 40)])
def test_whole_counts_have_the_usual_wilson_interval(count, n):
    ours, theirs = rate_row(np.arange(n) < count), binomtest(count, n).proportion_ci(method="wilson")
    assert ours["low"] == pytest.approx(theirs.low, abs=1e-12) and ours["high"] == pytest.approx(theirs.high, abs=1e-12)
    assert list(ours.values()) == [n, count, *wilson(count, n)]
    assert np.isnan(rate_row([])["rate"])


def test_thresholds_are_those_that_the_benchmark_found():
    measured = pd.read_csv(RESULTS / "artefact_detectors.csv")
    assert measured.groupby("artefact")["threshold"].unique().map(list).to_dict() == {
        name: [threshold] for name, threshold in THRESHOLDS.items()}


def test_thresholds_follow_the_rule_from_the_fitted_cohorts_scores():
    scores = pd.read_csv(RESULTS / "artefact_scores.csv", keep_default_na=False, na_values=dict.fromkeys(DETECTORS, ""))
    fit = scores[scores["cohort"] == "fit"]
    for name, threshold in THRESHOLDS.items():
        clean = fit.loc[fit["origin"] == "clean", name].quantile(0.99)
        planted = fit.loc[fit["artefact"] == name, name].quantile(0.10)
        expected = (clean + planted) / 2 if planted > clean else clean
        assert threshold == float(f"{expected:.2g}")


def test_planted_artefacts_of_the_other_cohort_are_found_more_often_than_clean_pairs_are_flagged():
    measured = pd.read_csv(RESULTS / "artefact_detectors.csv")
    other = measured[(measured["cohort"] == "scored") & (measured["variant"] == "all")]
    for name in DETECTORS:
        rows = other[other["artefact"] == name].set_index(["origin", "image_size"])
        for size in SIZES:
            assert rows.loc[("planted", size), "low"] > rows.loc[("clean", size), "high"]
