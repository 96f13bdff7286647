"""Pairing gain by hand: groups, what chance is, who is at it, and what the figure shows."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import texts
from tiny_models import SIZE, blob_pairs, save_base

from mammorgb_utils.data.pairs import load_pairs
from mammorgb_utils.diffusion.encoding import control_channel
from mammorgb_utils.diffusion.engine.base import load_base
from mammorgb_utils.diffusion.pairing import pairing_losses
from mammorgb_utils.diffusion.training import train
from mammorgb_utils.experiments import pairing_gain as gains
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, write_array, write_csv

PROTOCOL = Protocol(n_bootstrap=200)


def test_groups_are_of_different_patients_and_of_like_area():
    pairs = blob_pairs(60)
    pairs[7] = 0.0  # no breast
    patients = np.array([f"W{i // 2}" for i in range(60)])
    groups = gains.groups_of_like_area(pairs, patients, 4, 3, PROTOCOL)
    assert groups.shape == (3, 4) and 7 not in groups
    assert len(set(patients[groups.ravel()])) == 12, "one breast a patient"
    areas = (pairs > 0).sum(axis=(1, 2, 3))[groups]
    assert (np.diff(areas.mean(axis=1)) > 0).all() and np.ptp(areas, axis=1).max() < np.ptp(areas)
    assert gains.groups_of_like_area(pairs[:3], patients[:3], 4, 3, PROTOCOL).shape == (0, 4)
    assert gains.groups_of_like_area(pairs[:0], patients[:0], 4, 3, PROTOCOL).shape == (0, 4)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_base(str(save_base(tmp_path_factory.mktemp("base") / "v")), SIZE)


def test_each_cc_meets_each_mlo_of_its_group_under_the_ccs_noise(base):
    pairs, groups = blob_pairs(8), np.array([[3, 1, 6], [0, 2, 5]])
    found = gains.group_losses(base, pairs, groups, "sum", PROTOCOL, (100, 500))
    assert found.shape == (2, 3, 3, 2)
    flat = pairs[groups.ravel()]
    alone = pairing_losses(base, flat, np.array([[i, (i + 1) % 6] for i in range(6)]), "sum", seed=PROTOCOL.seed,
                           timesteps=(100, 500))
    np.testing.assert_allclose(found[1, 0, 0], alone[3, 0], rtol=1e-4)
    np.testing.assert_allclose(found[1, 0, 1], alone[3, 1], rtol=1e-4)


def test_a_control_s_third_channel_stays_the_ccs(base):
    pairs, order = blob_pairs(4), np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
    for control in ("copy", "noise", "other"):
        losses = pairing_losses(base, pairs, order, control, seed=0, timesteps=(400,))
        assert losses.shape == (4, 2, 1) and np.isfinite(losses).all()
        assert control_channel(pairs, control, np.arange(4), 0).shape == (4, SIZE, SIZE)


def test_gain_and_top_one_by_hand():
    losses = np.array([[[1.0, 2.0], [3.0, 4.0]]])  # the second CC prefers the first MLO, which is easy for both
    row = gains.gain_row(losses, PROTOCOL)
    assert (row["k"], row["chance"], row["n"]) == (2, 0.5, 2) and row["top1"] == 0.5
    assert row["own"] == 2.5 and row["strangers"] == 2.5 and row["gain"] == 0.0
    better = gains.gain_row(np.array([[[1.0, 2.0], [3.0, 2.5]]]), PROTOCOL)
    assert better["top1"] == better["top1_relative"] == 1.0 and better["gain"] == pytest.approx(1 - 1.75 / 2.5)
    assert better["top1_low"] < 1.0, "Wilson's where every CC is right"


def test_a_model_that_cannot_tell_is_exactly_at_chance():
    """Easy and hard MLOs, the same for every CC: each group picks one own MLO in K, whatever the losses are."""
    rng = np.random.default_rng(0)
    blind = np.repeat(rng.random((30, 1, 8)), 8, axis=1)
    row = gains.gain_row(blind, PROTOCOL)
    assert row["top1"] == row["chance"] == 0.125 and row["gain"] == pytest.approx(0.0)
    assert row["top1_relative"] == pytest.approx(0.125), "all tied"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    protocol = Protocol.load("smoke", base_model=str(save_base(root / "base")), image_size=SIZE, batch_size=4,
                             epochs=1.0, precision="fp32", encodings=("sum",), n_bootstrap=100)
    run = Run(root, protocol, root / "manifest.csv")
    write_array(run.pairs, blob_pairs(40))
    index = pd.DataFrame({"pair": [f"P{i}" for i in range(40)], "patient": [f"W{i}" for i in range(40)]})
    write_csv(run.pairs_index, index.assign(split=["train"] * 12 + ["heldout"] * 28))
    train(load_pairs(run, "train")[0], protocol, "sum", run.training("sum"), model_dir=run.model("sum"), progress=False)
    return run


def test_models_are_measured_once_and_the_table_has_a_row_a_timestep(run, monkeypatch):
    losses, names = gains.model_losses(run, progress=False)
    assert list(losses) == ["base", "sum"] and losses["sum"].shape == (1, 8, 8, 4) and names.is_unique
    table = gains.gain_table(losses, run.protocol)
    assert table.loc[table["set"] == "sum", "timestep"].tolist() == ["300", "450", "600", "750", "middle"]
    assert (table["n"] == 8).all() and (table["top1_low"] <= table["top1"]).all()
    monkeypatch.setattr(gains, "group_losses", None)
    again, _ = gains.model_losses(run, progress=False)
    np.testing.assert_array_equal(again["sum"], losses["sum"])
    monkeypatch.setattr(gains, "TIMESTEPS", (100,))
    with pytest.raises(TypeError):
        gains.model_losses(run, progress=False)


def test_a_study_of_few_patients_has_no_groups_and_an_empty_table(run, tmp_path):
    few = Run(tmp_path, run.protocol, run.manifest)
    write_array(few.pairs, blob_pairs(18))
    index = pd.DataFrame({"pair": [f"P{i}" for i in range(18)], "patient": [f"W{i}" for i in range(18)]})
    write_csv(few.pairs_index, index.assign(split=["train"] * 12 + ["heldout"] * 6))
    train(blob_pairs(18)[:12], few.protocol, "sum", few.training("sum"), model_dir=few.model("sum"), progress=False)
    losses, names = gains.model_losses(few, progress=False)
    assert losses["sum"].shape == (0, 8, 8, 4) and len(names) == 0
    losses["anatomy"] = gains.anatomy_losses(anatomy(72, 0.2), names)
    table = gains.gain_table(losses, few.protocol)
    assert len(table) == 0 and "top1_relative_high" in table and gains.figure(table).axes


def anatomy(n, noise):
    """Features that both views share but for noise; the first 40 pairs are to learn from."""
    from mammorgb_utils.evaluation.anatomy.matching import FEATURES
    from mammorgb_utils.evaluation.anatomy.measure import PROFILES

    rng = np.random.default_rng(1)
    names = [*FEATURES["anatomy"], *(name.removeprefix("cc_") for name in PROFILES["cc"])]
    shared = rng.normal(size=(n, len(names)))
    columns = {f"{view}_{name}": shared[:, i] + noise * rng.normal(size=n) for view in ("cc", "mlo")
               for i, name in enumerate(names)}
    return pd.DataFrame(columns | {"pair": [f"P{i}" for i in range(n)], "set": ["train"] * 40 + ["real"] * (n - 40)})


def test_measured_anatomy_is_the_ceiling_and_groups_without_it_are_left_out():
    measured = anatomy(72, 0.2)
    names = pd.Series([f"P{i}" for i in range(40, 72)])
    table = gains.gain_table({gains.ANATOMY: gains.anatomy_losses(measured, names)}, PROTOCOL)
    row = table.iloc[0]
    assert len(table) == 1 and row["n"] == 32 and row["top1"] > 0.9 and np.isnan(row["gain"])
    assert len(gains.anatomy_losses(measured[measured["pair"] != "P41"], names)) == 3
    assert len(gains.anatomy_losses(measured[measured["set"] == "real"], names)) == 0, "nothing to learn from"


def test_the_figure_shows_every_set_beside_chance():
    rng = np.random.default_rng(2)
    losses = {name: 1 + rng.random((4, 8, 8, 4)) for name in ("base", "sum", "absdiff")} | {
        "anatomy": rng.random((4, 8, 8, 1))}
    table = gains.gain_table(losses, PROTOCOL)
    drawn = gains.figure(table)
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == [
        "Base", "Sum", "Absolute\ndifference", "Measured\nanatomy,\nreal"]
    marks = [line for line in drawn.axes[0].lines if line.get_marker() not in ("None", None)]
    middle = table[table["timestep"] == "middle"].set_index("set")
    assert [line.get_ydata()[0] for line in marks[::2]] == middle["top1"].tolist()
    assert len([line for line in drawn.axes[1].lines if len(line.get_xdata()) == 4]) == 3 and "Chance" in texts(drawn)
    assert gains.figure(gains.gain_table({}, PROTOCOL)).axes, "no held-out pairs"
