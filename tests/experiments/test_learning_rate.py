"""Trainings at several rates: stability by hand, a row a training, and what the figure shows of them."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import rate_tables, texts

from mammorgb_utils.experiments.learning_rate import figure, read_steps, stability, table
from mammorgb_utils.output.style import format_rate

REAL = {"iou_median": 0.84, "plausible": 0.95}


def test_stability_by_hand():
    stats = pd.DataFrame({"loss": [5.0, 1, 1, 1, 1, 1, 1, 1, 3, 3], "grad_norm": [2.0] * 3 + [0.5] * 6 + [1.0]})
    found = stability(stats, max_grad_norm=1.0)
    assert (found["steps"], found["loss_first"], found["loss_last"]) == (10, 3.0, 3.0)
    assert found["loss_spread"] == pytest.approx(np.std([1, 1, 1, 3, 3], ddof=1))
    nothing = stability(pd.DataFrame(), max_grad_norm=1.0)
    assert nothing["steps"] == 0 and np.isnan(nothing["clipped"])
    assert (found["clipped"], found["grad_norm_median"], found["grad_norm_max"]) == (0.3, 0.5, 2.0)


def test_a_row_a_training_also_where_one_stopped_at_its_first_step(tmp_path):
    folders = {(1e-4, 1): tmp_path / "fast", (1e-5, 1): tmp_path / "slow"}
    lines = pd.DataFrame({"step": [1, 2], "loss": [4.0, 2.0], "grad_norm": [2.0, 0.5]})
    for folder, logged in zip(folders.values(), (lines.head(0), lines), strict=True):
        (folder / "training").mkdir(parents=True)
        logged.to_json(folder / "training" / "stats.jsonl", orient="records", lines=True)
    looks = pd.DataFrame({"encoding": "sum", "learning_rate": [1e-4, 1e-4, 1e-5, 1e-5], "seed": 1,
                          "step": [1, 2] * 2, "n": [0, 0, 4, 5]})
    steps = read_steps(folders)
    assert steps.groupby("learning_rate").size().to_dict() == {1e-5: 2}
    rows = table(steps, looks, max_grad_norm=1.0)
    assert rows["learning_rate"].tolist() == [1e-4, 1e-5] and rows["steps"].tolist() == [0, 2]
    assert rows["n"].tolist() == [0, 5] and rows["clipped"].iloc[1] == 0.5 and "encoding" not in rows


def test_rates_show_each_run_their_mean_and_clipped_steps():
    steps, looks = rate_tables()
    drawn = figure(steps, looks, max_grad_norm=1.0, real=REAL, floor=(0.005, 0.02))
    loss, norms, clipped, emd, median, _ = drawn.axes
    assert len(loss.lines) == 9, "two runs and a mean each"
    slow = steps[steps["learning_rate"] == 1e-5].pivot(index="step", columns="seed", values="loss")
    np.testing.assert_allclose(loss.lines[-1].get_ydata(), slow.rolling(3, min_periods=1).mean().mean(axis=1))
    shares = (steps["grad_norm"] > 1.0).groupby([steps["learning_rate"], steps["seed"]]).mean()
    np.testing.assert_allclose(sorted(clipped.collections[0].get_offsets().tolist()), sorted(
        [["1e-4", "5e-5", "1e-5"].index(format_rate(rate)), share] for (rate, _), share in shares.items()))
    assert [label.get_text() for label in clipped.get_xticklabels()] == ["1e-4", "5e-5", "1e-5"]
    assert norms.lines[-1].get_ydata()[0] == 1.0 and median.lines[-1].get_ydata()[0] == 0.84
    first = emd.lines[6].get_ydata()  # the mean of the rate of which a run diverged: its last point is the other run's
    assert first[-1] == looks["emd"].iloc[7] and {"1e-4", "5e-5", "1e-5", "Real against real"} <= set(texts(drawn))


def test_one_seed_has_no_thin_lines():
    steps, looks = rate_tables()
    drawn = figure(steps[steps["seed"] == 1], looks[looks["seed"] == 1], max_grad_norm=1.0, real=REAL,
                                    floor=(0.005, 0.02))
    assert len(drawn.axes[0].lines) == 3


def test_more_rates_than_markers_are_drawn():
    steps, looks = rate_tables()
    rates = [1e-4 * 2**-i for i in range(8)]
    steps, looks = (pd.concat([part[part["learning_rate"] == 1e-4].assign(learning_rate=rate) for rate in rates],
                              ignore_index=True) for part in (steps, looks))
    assert {format_rate(rate) for rate in rates} <= set(texts(figure(steps, looks, max_grad_norm=1.0, real=REAL,
                                                                     floor=(0.005, 0.02))))


@pytest.mark.parametrize("rate, text", [(1e-4, "1e-4"), (5e-5, "5e-5"), (2.5e-4, "2.5e-4"), (0.1, "1e-1")])
def test_rates_are_written_as_in_papers(rate, text):
    assert format_rate(rate) == text
