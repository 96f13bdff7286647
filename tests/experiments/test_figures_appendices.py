"""What the figures of the appendices show of the data they are given."""

import numpy as np
import pytest
from drawn_figures import channel_runs, rate_tables, sampler_rows, texts
from matplotlib.colors import to_hex

from mammorgb_utils.output.style import COLOURS, QUIET, format_rate
from mammorgb_utils.reporting import figures

REAL = {"iou_median": 0.84, "plausible": 0.95, "gain": 0.11}


def test_rates_show_each_run_their_mean_and_clipped_steps():
    steps, looks = rate_tables()
    figure = figures.learning_rates(steps, looks, max_grad_norm=1.0, real=REAL, floor=(0.005, 0.02))
    loss, norms, clipped, emd, median, _ = figure.axes
    assert len(loss.lines) == 9, "two runs and a mean each"
    slow = steps[steps["learning_rate"] == 1e-5].pivot(index="step", columns="seed", values="loss")
    np.testing.assert_allclose(loss.lines[-1].get_ydata(), slow.rolling(3, min_periods=1).mean().mean(axis=1))
    shares = (steps["grad_norm"] > 1.0).groupby([steps["learning_rate"], steps["seed"]]).mean()
    np.testing.assert_allclose(clipped.lines[0].get_ydata(), shares.loc[1e-4])
    assert [label.get_text() for label in clipped.get_xticklabels()] == ["1e-4", "5e-5", "1e-5"]
    assert norms.lines[-1].get_ydata()[0] == 1.0 and median.lines[-1].get_ydata()[0] == 0.84
    first = emd.lines[2].get_ydata()  # the mean of the rate of which a run diverged: its last point is the other run's
    assert first[-1] == looks["emd"].iloc[7] and {"1e-4", "5e-5", "1e-5", "Real against real"} <= set(texts(figure))


def test_one_seed_has_no_thin_lines():
    steps, looks = rate_tables()
    figure = figures.learning_rates(steps[steps["seed"] == 1], looks[looks["seed"] == 1], max_grad_norm=1.0, real=REAL,
                                    floor=(0.005, 0.02))
    assert len(figure.axes[0].lines) == 3


def test_third_channels_show_a_dot_a_run_and_their_mean():
    runs = channel_runs()
    figure = figures.third_channel(runs, real=REAL, floor=(0.005, 0.02))
    first = figure.axes[0]
    dots = [line for line in first.lines if line.get_marker() in ("o", "s", "^")]
    np.testing.assert_allclose(np.ravel([dot.get_xdata() for dot in dots]), runs["emd"])
    fills = {to_hex(dot.get_color()).upper() for dot in dots}
    assert fills == {*(COLOURS[name] for name in ("sum", "absdiff", "zero")), QUIET}
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "Sum", "Absolute difference", "Zero", "Copy of CC", "Noise", "Another breast's CC"]
    assert {"seed 1", "seed 2", "seed 3", "Real"} <= set(texts(figure))
    runs.loc[0, "emd"] = np.nan  # a diverged run has no dot
    missing = figures.third_channel(runs, real=REAL, floor=(0.005, 0.02)).axes[0]
    assert len(missing.lines) == len(first.lines) - 1


def test_samplers_that_are_not_safe_are_open():
    table = sampler_rows()
    figure = figures.samplers(table)
    white = [line for line in figure.axes[0].lines if to_hex(line.get_color()) == "#ffffff"]
    assert [len(line.get_xdata()) for line in white] == [2, 2]
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["8", "15", "25", "50", "100"]
    margins = [line.get_ydata()[0] for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert sorted(margins) == [-0.05, 0.05] and {"DDIM", "DPM-Solver++"} <= set(texts(figure))


@pytest.mark.parametrize("rate, text", [(1e-4, "1e-4"), (5e-5, "5e-5"), (2.5e-4, "2.5e-4"), (0.1, "1e-1")])
def test_rates_are_written_as_in_papers(rate, text):
    assert format_rate(rate) == text
