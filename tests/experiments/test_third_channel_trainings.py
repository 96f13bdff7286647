"""Contrasts over trainings against scipy and by hand, and what the figure shows of each training."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import channel_runs, texts
from matplotlib.colors import to_hex
from scipy.stats import permutation_test, ttest_1samp

from mammorgb_utils.experiments.third_channel import figure, paired_contrast, run_contrasts, runs_per_encoding
from mammorgb_utils.output.style import COLOURS, QUIET

CHANNELS = ("sum", "absdiff", "zero", "copy")


def runs(n=3, **emd):
    rng = np.random.default_rng(0)
    draws = rng.normal(0, 0.002, (n, len(CHANNELS)))
    return pd.DataFrame([{"encoding": name, "seed": seed, "emd": emd.get(name, 0.05) + draws[seed, i],
                          "iou_median": 0.8 + draws[seed, i], "gain": 0.1 - draws[seed, i]}
                         for seed in range(n) for i, name in enumerate(CHANNELS)])


def test_contrast_is_that_of_scipy():
    values = np.array([0.03, 0.01, 0.05, -0.01])
    found, expected = paired_contrast(values), ttest_1samp(values, 0.0)
    interval = expected.confidence_interval(0.95)
    assert (found.estimate, found.low, found.high, found.p) == pytest.approx((0.02, *interval, expected.pvalue))
    exact = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.p_flip == pytest.approx(exact.pvalue)


def test_three_runs_can_not_go_below_their_floor():
    found = paired_contrast([0.1, 0.1001, 0.1002])
    assert found.p < 0.001 and found.p_flip == found.p_floor == 0.25


def test_runs_without_spread_or_with_few_left():
    assert paired_contrast([0.1, 0.1])[:4] == (0.1, 0.1, 0.1, 0.0)
    assert paired_contrast([0.0, 0.0]).p == 1.0
    one = paired_contrast([0.1, np.nan])
    assert one.estimate == 0.1 and np.isnan(one[1:]).all()
    assert np.isnan(paired_contrast([np.nan])).all()


def test_contrasts_are_paired_by_seed_and_point_to_the_nearer():
    table = run_contrasts(runs(sum=0.02).sample(frac=1.0, random_state=1), against=("copy",))
    assert list(zip(table["first"], table["second"], strict=True)) == [
        ("sum", "absdiff"), ("sum", "zero"), ("absdiff", "zero"), ("sum", "copy"), ("absdiff", "copy")]
    row = table.iloc[1]
    assert row["closer"] == pytest.approx(0.03, abs=0.005) and row["closer_low"] > 0 and row["n_runs"] == 3
    assert table["p_holm"].notna().tolist() == [True] * 3 + [False] * 2
    wide = runs(sum=0.02).pivot(index="seed", columns="encoding", values="emd")
    assert row["closer"] == pytest.approx((wide["zero"] - wide["sum"]).mean())
    assert row["median_difference"] == pytest.approx(-row["gain_difference"])


def test_encodings_without_runs_are_left_out():
    table = runs()
    assert len(run_contrasts(table[table["encoding"] == "sum"])) == 0
    assert len(run_contrasts(table[table["encoding"].isin(["sum", "zero"])])) == 1
    table.loc[(table["encoding"] == "zero") & (table["seed"] == 1), "emd"] = np.nan
    assert run_contrasts(table)["n_runs"].tolist() == [3, 2, 2]
    assert runs_per_encoding(table, ("sum", "zero")) == 2 and runs_per_encoding(table, ("sum", "noise")) == 0


def test_third_channels_show_a_dot_a_run_and_their_mean():
    table = channel_runs()
    first = figure(table, real={"iou_median": 0.84, "gain": 0.11}, floor=(0.005, 0.02)).axes[0]
    dots, means = first.collections[:2]
    np.testing.assert_allclose(dots.get_offsets()[:, 0], table["emd"])
    assert {to_hex(fill).upper() for fill in dots.get_facecolors()} == {
        *(COLOURS[name] for name in ("sum", "absdiff", "zero")), QUIET}
    shapes = {path.vertices.tobytes() for path in dots.get_paths()}
    assert len(shapes) == table["seed"].nunique(), "a shape a seed"
    expected = table.groupby("encoding", sort=False)["emd"].mean()
    np.testing.assert_allclose([bar[0, 0] for bar in means.get_segments()], expected)
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "Sum", "Absolute difference", "Zero", "Copy of CC", "Noise", "Another breast's CC"]
    assert {"seed 1", "seed 2", "seed 3", "Real"} <= set(texts(first.figure))
    table.loc[0, "emd"] = np.nan  # a diverged run has no dot
    missing = figure(table, real={}, floor=(0.005, 0.02)).axes[0]
    assert len(missing.collections[0].get_offsets()) == len(table) - 1


def test_what_models_say_of_held_out_pairs_has_a_panel_where_it_was_measured():
    table = channel_runs().assign(views_gain=0.02)
    drawn = figure(table, real={}, floor=(0.005, 0.02))
    assert [axes.get_xlabel() for axes in drawn.axes][-1] == "Loss lower beside own MLO" and len(drawn.axes) == 4
    assert len(figure(table.assign(views_gain=np.nan), real={}, floor=(0.005, 0.02)).axes) == 3
