"""A tiny model's curve: from the base to its last step, computed once, computed anew for another model."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import texts
from tiny_models import SIZE, blob_pairs, save_base

from mammorgb_utils.diffusion.training import train
from mammorgb_utils.experiments import learning_curve as curves
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, write_array, write_csv


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Twelve pairs to learn from, and 24 that are held out, two breasts a patient."""
    root = tmp_path_factory.mktemp("run")
    protocol = Protocol.load("smoke", base_model=str(save_base(root / "base")), image_size=SIZE, batch_size=4,
                             epochs=4.0, checkpoint_every=4, precision="fp32", learning_rate=1e-2, n_bootstrap=100)
    run, pairs = Run(root, protocol, root / "manifest.csv"), blob_pairs(36)
    index = pd.DataFrame({"pair": [f"P{i}" for i in range(36)], "patient": [f"W{i // 2}" for i in range(36)],
                          "split": ["train"] * 12 + ["heldout"] * 24})
    write_array(run.pairs, pairs)
    write_csv(run.pairs_index, index)
    train(pairs[:12], protocol, "sum", run.training("sum"), model_dir=run.model("sum"),
          milestones=curves.moments(protocol, 12), progress=False)
    return run


def test_a_curve_goes_from_the_base_to_the_last_step(run):
    curve = curves.learning_curve(run, "sum", progress=False)
    assert sorted(curve["step"].unique()) == [0, 2, 4, 6, 8, 10, 12] and (curve["n"] == 2).all()
    middle = curve[curve["timestep"] == "middle"].set_index("step")
    single = curve[curve["timestep"].isin(map(str, curves.pairing_gain.MIDDLE))].groupby("step")["loss"].mean()
    np.testing.assert_allclose(middle["loss"], single)
    assert middle["loss"][12] < 0.9 * middle["loss"][0] and curve["gain"].between(-1, 1).all()
    assert middle["fall"][12] == pytest.approx(1 - middle["loss"][12] / middle["loss"][10])
    assert (curve["note"] == curves.STILL).sum() == (middle["fall"][12] > curves.FALL)


def test_it_is_computed_once_for_a_model(run, monkeypatch):
    first = curves.learning_curve(run, "sum", progress=False)
    monkeypatch.setattr(curves.pairing_gain, "group_losses", None)
    pd.testing.assert_frame_equal(curves.learning_curve(run, "sum", progress=False), first)
    monkeypatch.setattr(curves, "TIMESTEPS", (50, *curves.pairing_gain.MIDDLE))
    with pytest.raises(TypeError):  # other timesteps are measured anew
        curves.learning_curve(run, "sum", progress=False)


def test_a_training_without_held_out_pairs_has_no_curve(run, tmp_path):
    other = Run(tmp_path, run.protocol, run.manifest)
    write_array(other.pairs, blob_pairs(12))
    write_csv(other.pairs_index, pd.DataFrame({"pair": [f"P{i}" for i in range(12)], "patient": "W", "split": "train"}))
    train(blob_pairs(12), run.protocol, "sum", other.training("sum"), model_dir=other.model("sum"), progress=False)
    assert len(curves.learning_curve(other, "sum", progress=False)) == 0


def curve_rows(encoding, losses, note=""):
    rows = [{"encoding": encoding, "step": 10 * i, "timestep": t, "n": 8, "loss": loss, "gain": 0.01 * i,
             "gain_low": 0.0, "gain_high": 0.02 * i, "fall": np.nan, "note": ""}
            for i, loss in enumerate(losses) for t in (*map(str, curves.TIMESTEPS), "middle")]
    rows[-1]["note"] = note
    return pd.DataFrame(rows)


def test_the_rule_is_more_than_a_hundredth_of_the_loss_over_the_last_moment():
    for before, last, note in ((5, 0.0991, ""), (5, 0.0989, curves.STILL), (3, 0.0991, curves.UNKNOWN)):
        rows = [{"step": step, "timestep": t, "loss": loss, "n": 2, "gain": 0.0, "gain_low": 0.0, "gain_high": 0.0}
                for step, loss in ((0, 0.2), (before, 0.1), (6, last)) for t in ("300", "middle")]
        found = curves._with_falls(rows, "sum")
        assert found["note"].tolist() == [""] * 5 + [note] and found["fall"].iloc[2] == pytest.approx(0.5)


def test_the_figure_shows_every_moment_and_an_open_end_where_it_still_falls():
    table = pd.concat([curve_rows("sum", (0.2, 0.1, 0.05), curves.STILL), curve_rows("zero", (0.1, 0.05, 0.05))])
    drawn = curves.figure(table)
    loss, others, gain = drawn.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[0.2, 0.1, 0.05], [0.1, 0.05, 0.05]]
    fills = [np.allclose(dots.get_facecolors()[-1][:3], 1.0) for dots in loss.collections]
    assert fills == [True, False] and len(others.lines) == 4 and others.lines[0].get_ydata()[0] == 1.0
    assert gain.lines[0].get_ydata().tolist() == [0.0, 0.01, 0.02] and "Open end: not seen to be flat" in texts(drawn)
