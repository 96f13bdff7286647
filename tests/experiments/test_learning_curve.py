"""A tiny model's curve: from the base to its last step, computed once, computed anew for another model."""

import numpy as np
import pytest
from tiny_models import SIZE, blob_pairs, save_base

from mammorgb_utils.diffusion.training import train
from mammorgb_utils.experiments import learning_curve as curves
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run

PATIENTS = np.array([f"W{i // 2}" for i in range(12)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    protocol = Protocol.load("smoke", base_model=str(save_base(root / "base")), image_size=SIZE, batch_size=4,
                             epochs=4.0, checkpoint_every=4, precision="fp32", learning_rate=1e-2)
    run, pairs = Run(root, protocol, root / "manifest.csv"), blob_pairs(12)
    train(pairs, protocol, "sum", run.training("sum"), model_dir=run.model("sum"),
          milestones=curves.moments(protocol, len(pairs)), progress=False)
    return run


def test_a_curve_goes_from_the_base_to_the_last_step(run):
    curve = curves.learning_curve(run, "sum", blob_pairs(12, seed=3), PATIENTS, n=10)
    assert sorted(curve["step"].unique()) == [0, 2, 4, 6, 8, 10, 12] and (curve["n"] == 10).all()
    middle = curve[curve["timestep"].isin(curves.MIDDLE)]
    assert middle["top1"].between(0, 1).all() and middle["gain"].between(-1, 1).all()
    assert curve.loc[~curve["timestep"].isin(curves.MIDDLE), "top1"].isna().all()
    loss = curve.groupby("step")["loss"].mean()
    assert loss[12] < 0.9 * loss[0]


def test_it_is_computed_once_for_a_model(run, monkeypatch):
    first = curves.learning_curve(run, "sum", blob_pairs(12, seed=3), PATIENTS, n=10)
    monkeypatch.setattr(curves, "_measured", None)
    again = curves.learning_curve(run, "sum", blob_pairs(12, seed=3), PATIENTS, n=10)
    assert np.allclose(first["loss"], again["loss"])
    with pytest.raises(TypeError):  # another number of pairs is measured anew
        curves.learning_curve(run, "sum", blob_pairs(12, seed=3), PATIENTS, n=9)


def test_strangers_are_of_other_patients_and_of_like_area():
    areas, patients = np.array([10, 11, 30, 12, 31]), np.array(["a", "a", "b", "c", "d"])
    found = curves.strangers_of_like_area(areas, patients, 2)
    assert found.tolist() == [[0, 3, 2], [1, 3, 2], [2, 4, 3], [3, 1, 0], [4, 2, 3]]
