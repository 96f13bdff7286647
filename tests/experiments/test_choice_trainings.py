"""Trainings that differ in one open choice: what is planned, what comes of it, and where the map puts it."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import texts
from tiny_models import SIZE, blob_pairs, save_base

from mammorgb_utils.evaluation.sets import StudySets, overlap_table
from mammorgb_utils.evaluation.statistics import hodges_lehmann
from mammorgb_utils.experiments.open_choices import open_choices
from mammorgb_utils.experiments.open_choices.trainings import OTHERWISE, SEED, STUDY, figure, plan, run_plan
from mammorgb_utils.protocol import Protocol


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    base = save_base(tmp_path_factory.mktemp("base") / "v")
    return Protocol(base_model=str(base), image_size=SIZE, batch_size=4, epochs=1.0, n_synthetic=6, sampling_steps=3,
                    sampling_batch=6, precision="fp32", n_derangements=3, n_bootstrap=50)


def test_every_training_differs_from_the_study_in_one_field():
    protocol = Protocol.load("workstation")
    rows = plan(protocol, "sum")
    assert rows["field"].tolist() == [STUDY, SEED, *OTHERWISE]
    own = protocol.model_dump()
    for field, changes in zip(rows["field"][1:], rows["changes"][1:], strict=True):
        other = protocol.changed(**changes).model_dump()
        assert {name for name, value in other.items() if value != own[name]} == {field}
    adopted = plan(protocol.changed(lr_schedule="constant"), "sum").set_index("field")
    assert adopted.loc["lr_schedule", "choice"] == "cosine"


def test_some_choices_are_trained_when_some_are_asked_for():
    rows = plan(Protocol.load("workstation"), "sum", ["ema_decay", "sum_scale"])
    assert rows["field"].tolist() == [STUDY, SEED, "ema_decay", "sum_scale"]
    with pytest.raises(ValueError, match="'ema' is no choice that is trained here; use sum_scale"):
        plan(Protocol(), "sum", ["ema"])


def test_what_decides_nothing_is_not_trained():
    paper = Protocol.load("paper")
    assert not {"sampling_spacing", "sum_scale"} & set(plan(paper, "zero")["field"])
    weights = {"ema_decay", "sampling_weights"} & set(plan(paper, "zero")["field"])
    assert weights == ({"ema_decay", "sampling_weights"} if paper.sampling_weights == "ema" else set())


def test_each_is_trained_drawn_and_measured_once(tmp_path, tiny):
    pairs = blob_pairs(8)
    real = overlap_table(StudySets.of({"real": pairs}, tiny))
    asked = plan(tiny, "sum").query("field in ['study', 'seed', 'sampling_spacing']")
    table = run_plan(asked, pairs, real, tiny, "sum", tmp_path, progress=False)
    assert table["field"].tolist() == ["study", "seed", "sampling_spacing"] and (table["n"] == 6).all()
    assert table["choice"].tolist() == ["as in the study", "another seed", "trailing"]
    drawn = pd.read_csv(tmp_path / "study" / "overlap.csv")["iou"].dropna()
    if len(drawn):
        assert table.loc[0, "shift"] == pytest.approx(hodges_lehmann(drawn, real["iou"].dropna()).estimate)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("trial.json")}
    pd.testing.assert_frame_equal(run_plan(asked, pairs, real, tiny, "sum", tmp_path, progress=False), table)
    assert before == {file: file.stat().st_mtime_ns for file in tmp_path.rglob("trial.json")}


def found():
    rows = plan(Protocol(), "sum").drop(columns="changes")
    shift = np.linspace(0.01, 0.05, len(rows))
    return rows.assign(shift=shift, shift_low=shift - 0.01, shift_high=shift + 0.01, gain=0.1 - shift, emd=shift)


def test_the_map_shows_how_far_each_choice_moves_the_results():
    summary = pd.DataFrame({"set": ["real"], "iou_median": 0.85})
    table = open_choices({"trained_choices": found()}, summary, Protocol())
    trained = table[table["source"] == "trained_choices"]
    assert set(trained["field"]) == set(OTHERWISE)
    row = trained[(trained["field"] == "lr_schedule") & (trained["result"] == "shift")].set_index("choice")
    assert row.loc["constant", "moved_by"] == 0.0  # the study's own, in this protocol
    assert row.loc["cosine", "moved_by"] == pytest.approx(found().set_index("field").loc["lr_schedule", "shift"] - 0.01)


def test_the_figure_names_every_choice_and_the_luck_of_a_seed():
    drawn = figure(found(), margin=0.05)
    assert {"as in the study", "another seed", "Learning-rate schedule: cosine"} <= set(texts(drawn))
