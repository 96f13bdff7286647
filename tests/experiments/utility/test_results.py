"""Tables, equivalents, verdicts and figures from scores whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import texts
from matplotlib.colors import to_hex
from utility_study import N, scores_of_area, utility_study

from mammorgb_utils.experiments import utility
from mammorgb_utils.experiments.utility import drawing
from mammorgb_utils.experiments.utility.arms import asked_items
from mammorgb_utils.experiments.utility.estimates import Estimate
from mammorgb_utils.experiments.utility.results import _lead, _verdict
from mammorgb_utils.output.style import COLOURS

MARGIN = 0.02
SEEDS = (1, 2, 3)


def experiment(root, areas, label="none"):
    """Tables of a study whose cells have these areas by arm; real: 0.6 with 8 patients, 0.8 with all."""
    run = utility_study(root)
    pool = utility.study_pool(run)
    tasks, _ = utility.study_tasks(run, pool, label)
    cells = utility.plan(pool, tasks, [8], seeds=SEEDS, added=1.0)
    rng, shared, scores = np.random.default_rng(0), {}, {}
    for cell in cells:
        task = next((task for task in tasks if task.name == cell.task), tasks[0])
        scores[cell] = {}
        for name, items in asked_items(pool, task, cell).items():
            n = int(items.label.sum())
            luck = shared.setdefault((cell.task, name), scores_of_area(0.5, n, len(items.label) - n, rng))
            area = areas.get(cell.arm, {"real": 0.6 if cell.n == 8 else 0.8, "more real": 0.7}.get(cell.arm, 0.6))
            shift = scores_of_area(area, 1, 0, np.random.default_rng(9))[0] - scores_of_area(
                0.5, 1, 0, np.random.default_rng(9))[0]
            order = np.argsort(~items.label, kind="stable")
            scores[cell][name] = np.empty(len(items.label), np.float32)
            scores[cell][name][order] = luck + shift * (np.arange(len(order)) < n) + 0.01 * rng.normal(size=len(order))
    found = utility.measured_areas(pool, tasks, scores, run.protocol)
    table = utility.area_table(found, cells, run.protocol)
    contrasts = utility.contrast_table(found, cells, run.protocol, margin=MARGIN)
    return run, pool, tasks, cells, scores, table, contrasts


@pytest.fixture(scope="module")
def gained(tmp_path_factory):
    return experiment(tmp_path_factory.mktemp("gain"), {"synthetic": 0.7, "shuffled": 0.6}, label="density")


def one(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def test_a_gain_is_seen_under_holm_and_worth_what_the_curve_says(gained):
    *_, table, contrasts = gained
    where = {"task": "pairing", "learner": "cnn", "arm": "synthetic", "set": "sum", "n": 8}
    row, area = one(contrasts, **where), one(table, **where)
    assert row["difference"] == pytest.approx(0.1, abs=0.06) and row["difference_low"] > 0
    assert row["verdict"] == "gain" and row["tests"] == 4 and row["p_holm"] >= row["p"] and np.isnan(row["p_bh"])
    assert 8 < area["equivalent"] < N and area["worth"] == pytest.approx((area["equivalent"] - 8) / 8)
    assert area["equivalent_low"] <= area["equivalent"] <= area["equivalent_high"]
    more = one(table, **where | {"arm": "more real", "set": ""})
    assert more["equivalent"] == pytest.approx(16, abs=0.5), "on the curve by its own number"
    repeated = one(contrasts, **where | {"arm": "duplicated", "set": ""})
    assert repeated["family"] == "exploratory" and np.isnan(repeated["p_holm"]) and repeated["control"] == ""
    assert set(contrasts[contrasts["family"] == "primary"].groupby(["task", "learner", "arm"]).groups) == {
        ("pairing", "cnn", "synthetic")}, "one question"


def test_arms_that_do_the_same_are_equivalent(gained):
    *_, contrasts = gained
    row = one(contrasts, task="pairing", learner="cnn", arm="shuffled", set="zero", n=8)
    assert row["verdict"] == "equivalent" and abs(row["difference"]) < MARGIN


def test_the_ends_of_the_curve_are_bounds_and_a_flat_one_says_so(gained, tmp_path):
    *_, table, _ = gained
    end = one(table, task="pairing", learner="cnn", arm="real", n=N)
    assert (end["equivalent"], end["note"]) == (pytest.approx(N), "at least")
    assert table["equivalent"].between(7.999, N + 0.001).all()
    *_, flat, _ = experiment(tmp_path, {"real": 0.6, "more real": 0.62})
    assert flat["note"].eq("the curve of real pairs doesn't surely rise").all() and flat["worth"].isna().all()


@pytest.mark.parametrize(("inner", "p", "difference", "power", "verdict"), [
    ((-0.01, 0.015), 0.001, 0.005, 0.9, "equivalent"), ((0.001, 0.08), 0.01, 0.04, 0.2, "gain"),
    ((-0.09, -0.03), 0.01, -0.06, 0.2, "loss"), ((-0.03, 0.05), 0.3, 0.01, 0.79, "underpowered"),
    ((-0.03, 0.05), 0.3, 0.01, 0.8, "inconclusive"), ((np.nan, np.nan), np.nan, 0.01, np.nan, "underpowered")])
def test_a_verdict_in_words(inner, p, difference, power, verdict):
    from mammorgb_utils.evaluation.statistics import Effect

    row = {"inner": Effect(difference, *inner), "p_holm": p, "p_bh": np.nan, "difference": difference, "power": power,
           "most": np.nan}
    assert _verdict(row, MARGIN, 0.05) == verdict
    matched = verdict if verdict in ("equivalent", "gain", "loss") else "matched"
    assert _verdict(row | {"most": 0.019}, MARGIN, 0.05) == matched, "a control does surely as well"


def test_a_gain_is_no_surer_than_the_lead_over_each_control():
    real, none, some = (Estimate(value, 0.01, 0.01, 200, 5) for value in (0.1, -0.001, 0.01))
    doubtful = _lead(real, {"duplicated": real, "shuffled": some}, 0.05)
    assert (doubtful["control"], doubtful["lead"], doubtful["p"]) == ("shuffled", 0.01, some.p())
    assert _lead(real, {"duplicated": none, "shuffled": some}, 0.05)["p"] == 1.0, "behind a control"
    assert _lead(real, {"duplicated": real, "shuffled": real}, 0.05)["p"] == real.p()
    loss = Estimate(-0.1, 0.01, 0.01, 200, 5)
    assert _lead(loss, {"duplicated": loss}, 0.05)["p"] == loss.p(), "a loss needs no lead"
    assert "p" not in _lead(real, {}, 0.05), "of other arms"


def test_what_repeated_pairs_give_too_is_no_gain(tmp_path):
    *_, contrasts = experiment(tmp_path, {"synthetic": 0.7, "shuffled": 0.6, "duplicated": 0.7})
    row = one(contrasts, task="pairing", learner="cnn", arm="synthetic", set="sum", n=8)
    assert row["difference_low"] > 0 and row["control"] == "duplicated" and row["verdict"] == "matched"


def test_the_plan_says_what_would_be_needed(gained):
    *_, contrasts = gained
    table = utility.plan_table(contrasts, margin=MARGIN, alpha=0.05, seed=1)
    assert sorted(table["seeds"].unique()) == [3, 5, 10, 20] and table["power_gain"].between(0, 1).all()
    part = table[(table["task"] == "pairing") & (table["learner"] == "cnn") & (table["n"] == 8)]
    assert part["power_gain"].iloc[-1] >= part["power_gain"].iloc[0] - 0.02, "but for the luck of a simulation"
    known = table.dropna(subset=["patients_needed"])
    assert (known["patients_needed"] >= known["patients"]).all()


def test_the_source_is_told_and_errors_follow_it_only_where_they_do(gained, tmp_path):
    run, pool, tasks, _, scores, *_ = gained
    table = utility.source_table(pool, tasks, scores, run.protocol)
    assert len(table) == 4 and (table["n_synthetic"] == 5).all()
    shifted = {cell: dict(found) for cell, found in scores.items()}
    for cell, found in shifted.items():
        if cell.arm == "source":
            items = asked_items(pool, tasks[0], cell)["heldout"]
            found["heldout"] = items.label.astype(np.float32)
        if cell.arm == "synthetic" and cell.task == "pairing":
            found[cell.set] = found[cell.set] + 20.0
    after = utility.source_table(pool, tasks, shifted, run.protocol)
    assert (after[["told", "source_effect"]] == 1.0).all(axis=None) and set(after["errors_follow"]) == {"yes"}
    pd.testing.assert_series_equal(after["pairing_mixed"], table["pairing_mixed"])
    bounds = table[[name for name in table if name.endswith(("_low", "_high"))]]
    assert bounds.to_numpy().min() >= 0.0 and bounds.to_numpy().max() <= 1.0, "of an area"


def test_learning_curves_have_a_line_an_arm_and_a_panel_a_task_and_learner(gained):
    *_, table, _ = gained
    drawn = drawing.learning_curves(table)
    assert len(drawn.axes) == 4
    part = table[(table["task"] == "pairing") & (table["learner"] == "cnn")]
    lines = [line for line in drawn.axes[0].lines if line.get_marker() not in ("None", "", None)]
    assert len(lines) == part.groupby(["arm", "set"]).ngroups
    blue = next(line for line in lines if line.get_color() == COLOURS["sum"] and line.get_linestyle() == "-")
    np.testing.assert_allclose(blue.get_ydata(), part[(part["arm"] == "synthetic") & (part["set"] == "sum")]["auc"])
    assert {"Real alone", "Sum pairs added", "Zero, views shuffled", "More real", "Chance"} <= set(texts(drawn))


def test_the_forest_shows_every_arm_s_difference_beside_the_margin(gained):
    *_, contrasts = gained
    drawn = drawing.differences(contrasts, margin=MARGIN)
    assert len(drawn.axes) == 4
    marks = [line for line in drawn.axes[0].lines if line.get_marker() in ("o", "<", ">")]
    part = contrasts[(contrasts["task"] == "pairing") & (contrasts["n"] == 8)]
    assert len(marks) == len(part)
    shown = sorted(float(line.get_xdata()[0]) for line in marks)
    reach = drawing._reach(contrasts, MARGIN)
    np.testing.assert_allclose(shown, sorted(part["difference"].clip(-reach, reach)))
    filled = {to_hex(line.get_color()) for line, row in zip(marks, part.itertuples(), strict=True)
              if row.learner == "logistic"}
    assert filled == {"#ffffff"}


def test_one_cc_stands_beside_its_own_and_four_strangers(gained):
    _, pool, tasks, _, scores, *_ = gained
    found = texts(drawing.one_cc(pool, tasks[0], scores, 3))
    assert sum("own:" in text for text in found) == 1 and sum("stranger:" in text for text in found) == 4
