"""Trials of a tiny model: measured like the study, loaded when finished, continued when killed."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import SIZE, blob_pairs, save_base

from mammorgb_utils.diffusion.engine.loop import STATS
from mammorgb_utils.diffusion.engine.state import Diverged
from mammorgb_utils.evaluation.overlap import pair_metrics, plausible
from mammorgb_utils.evaluation.sets import StudySets, overlap_table, shuffled_table
from mammorgb_utils.evaluation.statistics import emd
from mammorgb_utils.experiments import trial as trials
from mammorgb_utils.experiments.trial import (
    TrialError,
    quality,
    real_floor,
    run_trial,
)
from mammorgb_utils.protocol import Protocol

PAIRS, REAL = blob_pairs(12), blob_pairs(20, seed=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def protocol(tmp_path_factory):
    """Six steps of four pairs."""
    base = save_base(tmp_path_factory.mktemp("base") / "v")
    return Protocol.load("smoke", base_model=str(base), image_size=SIZE, batch_size=4, epochs=2.0, checkpoint_every=1,
                         n_synthetic=5, sampling_batch=2, sampling_steps=3, precision="fp32", learning_rate=1e-3)


@pytest.fixture(scope="module")
def real(protocol):
    index = pd.DataFrame({"pair": [f"P{i}" for i in range(20)], "patient": [f"W{i // 2}" for i in range(20)]})
    return overlap_table(StudySets.of({"real": (REAL, index)}, protocol))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, protocol, real):
    """Folder and rows of a trial with two milestones."""
    folder = tmp_path_factory.mktemp("trial") / "sum-1"
    return folder, run_trial(PAIRS, real, protocol, "sum", folder, milestones=2, progress=False)


def test_a_trial_is_measured_at_each_milestone_and_leaves_no_models(finished):
    folder, rows = finished
    assert rows["step"].tolist() == [3, 6] and rows["epoch"].tolist() == [1.0, 2.0]
    assert (rows["n"] == 5).all() and not rows["diverged"].any() and (rows["training_seconds"] > 0).all()
    assert {path.name for path in folder.iterdir()} == {"trial.json", "overlap.csv", "training", ".lock"}
    overlap = pd.read_csv(folder / "overlap.csv")
    assert list(overlap) == [*pair_metrics(PAIRS[:1]), "plausible", "step"]
    assert overlap.groupby("step").size().to_dict() == {3: 5, 6: 5}
    medians = overlap.groupby("step")["iou"].median()
    np.testing.assert_allclose(rows.set_index("step")["iou_median"], medians)
    assert len((folder / "training" / STATS).read_text().splitlines()) == 6


def test_a_finished_trial_is_loaded_and_another_one_refused(finished, protocol, real, monkeypatch):
    folder, rows = finished
    monkeypatch.setattr(trials, "train", None)  # would raise when called
    again = run_trial(PAIRS, real, protocol, "sum", folder, milestones=2, progress=False)
    pd.testing.assert_frame_equal(again, rows)
    record = json.loads((folder / "trial.json").read_text())
    older = record | {"identity": {name: value for name, value in record["identity"].items() if name != "condition"}}
    (folder / "trial.json").write_text(json.dumps(older))  # from before the field
    pd.testing.assert_frame_equal(run_trial(PAIRS, real, protocol, "sum", folder, milestones=2), rows)
    longer = protocol.model_copy(update={"epochs": 3.0})
    with pytest.raises(TrialError, match=r"sum-1 was begun as another trial \(epochs: 2.0 recorded, 3.0 asked for"):
        run_trial(PAIRS, real, longer, "sum", folder, milestones=2)
    with pytest.raises(TrialError, match="pairs_sha256"):
        run_trial(PAIRS[:8], real, protocol, "sum", folder, milestones=2)
    with pytest.raises(ValueError, match="milestones: 7 of a training of 6 steps"):
        run_trial(PAIRS, real, protocol, "sum", folder, milestones=7)


def test_a_killed_trial_continues_to_the_same_result(tmp_path, finished, protocol, real, monkeypatch):
    """Stopped within the training, within the drawing, and before the record was written."""
    class Killed(BaseException):
        pass

    def killed(*arguments, **options):
        raise Killed

    for name in ("mammorgb_utils.diffusion.training.write_model", "mammorgb_utils.experiments.trial.quality",
                 "mammorgb_utils.experiments.trial.write_csv"):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(name, killed)
            run_trial(PAIRS, real, protocol, "sum", tmp_path / "t", milestones=2, progress=False)
        assert "rows" not in json.loads((tmp_path / "t" / "trial.json").read_text())
    rows = run_trial(PAIRS, real, protocol, "sum", tmp_path / "t", milestones=2, progress=False)
    pd.testing.assert_frame_equal(rows.drop(columns="training_seconds"), finished[1].drop(columns="training_seconds"))


def test_models_stay_where_they_are_asked_for_and_controls_are_trials(tmp_path, protocol, real):
    rows = run_trial(PAIRS, real, protocol, "other", tmp_path / "t", keep_models=True, progress=False)
    assert rows["encoding"].tolist() == ["other"] and len(trials.CHANNELS) == 6
    assert (tmp_path / "t" / "model" / "model_index.json").is_file()


def test_what_a_model_says_of_held_out_pairs_is_kept_with_its_trial(tmp_path, protocol, real, monkeypatch):
    pairs = np.concatenate([REAL, REAL])
    index = pd.DataFrame({"pair": [f"P{i}" for i in range(40)], "patient": [f"W{i}" for i in range(40)]})
    rows = run_trial(PAIRS, real, protocol, "noise", tmp_path / "t", heldout=(pairs, index), milestones=2,
                     progress=False)
    assert rows[list(trials.PAIRING)].notna().all(axis=1).tolist() == [False, True]
    last = rows.iloc[-1]
    assert last["views_gain_low"] <= last["views_gain"] <= last["views_gain_high"]
    assert 0 <= last["views_top1_relative"] <= 1
    monkeypatch.setattr(trials, "train", None)
    again = run_trial(PAIRS, real, protocol, "noise", tmp_path / "t", heldout=(pairs, index), milestones=2)
    pd.testing.assert_frame_equal(again, rows)
    few = run_trial(PAIRS, real, protocol, "noise", tmp_path / "t", milestones=2)
    assert not set(trials.PAIRING) & set(few), "only where it is asked for"


def test_a_diverged_training_is_a_result(tmp_path, protocol, real, monkeypatch):
    """Milestones that were reached are measured; the others have no pairs."""
    honest = trials.train

    def diverging(*arguments, **options):
        honest(*arguments, **options)
        (tmp_path / "t" / "model").rename(tmp_path / "lost")
        raise Diverged("loss is nan")

    monkeypatch.setattr(trials, "train", diverging)
    rows = run_trial(PAIRS, real, protocol, "sum", tmp_path / "t", milestones=2, progress=False)
    assert rows["diverged"].all() and rows["n"].tolist() == [5, 0] and np.isnan(rows["emd"].iloc[-1])
    again = run_trial(PAIRS, real, protocol, "sum", tmp_path / "t", milestones=2, progress=False)
    pd.testing.assert_frame_equal(again, rows)


def test_quality_is_that_of_the_study(real, protocol):
    sets = StudySets.of({"drawn": blob_pairs(9, seed=4), "blank": np.zeros_like(REAL[:4])}, protocol)
    drawn, shuffled = dict(list(overlap_table(sets).groupby("set"))), shuffled_table(sets)
    assert set(shuffled["set"]) == {"drawn"}, "blank views leave nothing to shuffle"
    shuffled = {"drawn": shuffled, "blank": shuffled[:0]}
    found = quality(drawn["drawn"], shuffled["drawn"], real)
    assert found["gain"] == pytest.approx(drawn["drawn"]["iou"].median() - shuffled["drawn"]["iou"].median())
    assert found["emd"] == emd(drawn["drawn"]["iou"], real["iou"])
    assert found["plausible"] == plausible(drawn["drawn"], real).mean()
    assert np.isnan(quality(drawn["blank"], shuffled["blank"], real)["emd"])


def test_floor_divides_real_patients(real, protocol):
    found = real_floor(real, 100, protocol)
    assert found.n == 5 and 0.0 < found.low < found.median < found.high
