"""Which samplers are safe, by hand, and what the figure shows of them."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import sampler_rows, texts
from matplotlib.colors import to_hex
from scipy.ndimage import gaussian_filter
from tiny_models import blob_pairs

from mammorgb_utils.evaluation.fidelity import kid, texture_features
from mammorgb_utils.evaluation.fidelity.metrics import standardised
from mammorgb_utils.evaluation.overlap import pair_metrics
from mammorgb_utils.evaluation.sets import StudySets
from mammorgb_utils.evaluation.statistics import emd
from mammorgb_utils.experiments import samplers
from mammorgb_utils.experiments.samplers import draw_with, figure, safe_from, sampler_table
from mammorgb_utils.protocol import Protocol

PROTOCOL = Protocol(n_permutations=99, equivalence_margin=0.05)
REFERENCE, REAL = blob_pairs(16, size=32), blob_pairs(40, size=32, seed=3)


def apart(pairs):
    """The MLO half as bright and moved down by a quarter, which changes masks."""
    moved = pairs.copy()
    moved[:, 1] = np.roll(moved[:, 1], 8, axis=1)
    return moved


def test_an_equal_sampler_is_safe_and_a_wrong_one_is_not():
    drawn = {("ddim", 8): apart(REFERENCE), ("ddim", 50): blob_pairs(16, size=32, seed=2), ("ddim", 1000): REFERENCE}
    table = sampler_table(drawn, REFERENCE, REAL, PROTOCOL).set_index("steps")
    assert table["safe"].tolist() == [False, True, True]
    assert table.loc[1000, ["emd", "pixel_difference", "hodges_lehmann"]].tolist() == [0, 0, 0]
    a, b = (pair_metrics(pairs)["iou"] for pairs in (drawn[("ddim", 8)], REFERENCE))
    assert table.loc[8, "emd"] == pytest.approx(emd(a, b)) and table.loc[8, "equivalence"] == "beyond margin"
    assert table.loc[8, "emd"] > table.loc[8, "band_high"] and (table["margin"] == 0.05).all()
    assert table.loc[8, "pixel_difference"] == pytest.approx(np.abs(apart(REFERENCE) - REFERENCE).mean())
    assert table["n"].tolist() == [16] * 3


def test_nothing_is_safe_that_can_not_be_measured():
    few = REFERENCE.copy()
    few[:2] = 0.0
    table = sampler_table({("ddim", 8): few, ("ddim", 50): REFERENCE}, REFERENCE, REAL, PROTOCOL)
    assert table["n_nan"].tolist() == [2, 0] and table["safe"].tolist() == [False, True]
    table = sampler_table({("ddim", 8): np.zeros_like(REFERENCE)}, REFERENCE, REAL, PROTOCOL)
    assert table.loc[0, ["n", "n_nan", "equivalence", "safe"]].tolist() == [0, 16, "", False]
    with pytest.raises(ValueError, match="draw equal numbers"):
        sampler_table({("ddim", 8): REFERENCE[:3]}, REFERENCE, REAL, PROTOCOL)


def test_texture_is_held_against_as_many_real_pairs_as_were_drawn():
    smooth = np.stack([[gaussian_filter(view, 3) for view in pair] for pair in REFERENCE])
    table = sampler_table({("ddim", 8): smooth, ("ddim", 50): REFERENCE}, REFERENCE, REAL, PROTOCOL)
    rows = StudySets.of({"real": REAL[:16], "drawn": REFERENCE}, PROTOCOL).rows(texture_features)
    parts = {name: rows[rows["set"] == name] for name in ("real", "drawn")}
    real, drawn = (standardised(part, parts["real"])[0] for part in parts.values())
    assert table["kid_reference"].tolist() == pytest.approx([kid(real, drawn)] * 2)
    assert table["kid"][1] == table["kid_reference"][1] < table["kid"][0]


def test_safe_means_this_count_and_all_above_it():
    rows = [("ddim", 8, True), ("ddim", 15, False), ("ddim", 25, True), ("ddim", 50, True), ("dpmsolver++", 8, True),
            ("dpmsolver++", 15, False)]
    found = safe_from(pd.DataFrame(rows, columns=["sampler", "steps", "safe"])).set_index("sampler")["safe_from"]
    assert found["ddim"] == 25 and found.isna().tolist() == [False, True]


def test_every_choice_has_a_folder_and_the_protocols_noise(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(samplers, "sample_study", lambda *a, **k: asked.append(a))
    draw_with(tmp_path / "model", PROTOCOL, tmp_path, "ddpm", 1000, 64)
    _, protocol, out = asked[0]
    assert (protocol.sampler, protocol.sampling_steps, protocol.n_synthetic) == ("ddpm", 1000, 64)
    assert protocol.seed == PROTOCOL.seed and out == tmp_path / "ddpm-1000" / "pairs.npy"
    draw_with(tmp_path / "model", PROTOCOL, tmp_path, "dpmsolver++ trailing", 8, 64)
    assert (asked[1][1].sampler, asked[1][1].sampling_spacing) == ("dpmsolver++", "trailing")
    with pytest.raises(ValueError, match="sampler"):
        draw_with(tmp_path / "model", PROTOCOL, tmp_path, "euler", 8, 64)


def test_samplers_that_are_not_safe_are_open():
    drawn = figure(sampler_rows())
    first, second = drawn.axes[:2]
    dots = [marks for marks in first.collections if len(marks.get_offsets()) > 1]
    fills = [[to_hex(fill) for fill in marks.get_facecolors()] for marks in dots]
    assert [row.count("#ffffff") for row in fills] == [2, 2] and [len(row) for row in fills] == [5, 5]
    assert [label.get_text() for label in second.get_xticklabels()] == ["8", "15", "25", "50", "100"]
    margins = [line.get_ydata()[0] for line in second.lines if line.get_linestyle() == "--"]
    assert sorted(margins) == [-0.05, 0.05] and {"DDIM", "DPM-Solver++"} <= set(texts(drawn))
