"""What the figures of the preprocessing variants show of the data they are given."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import texts
from matplotlib.colors import to_hex

from mammorgb_utils.experiments.preprocessing import effects as variant_effects
from mammorgb_utils.experiments.preprocessing import variants
from mammorgb_utils.experiments.preprocessing.variants import variants_of
from mammorgb_utils.protocol import Protocol

NAMES = [variant.name for variant in variants_of(Protocol())]


def effects():
    n = len(NAMES)
    shift, score = np.linspace(-0.08, 0.02, n), np.linspace(0.2, 1.2, n)
    return pd.DataFrame({
        "variant": NAMES, "real_median": 0.85, "real_gain": 0.1, "synthetic_median": 0.82, "shift": shift,
        "shift_low": shift - 0.02, "shift_high": shift + 0.02, "score": score, "score_low": score - 0.3,
        "score_high": score + 9.0, "artefact_rate": 0.1, "artefact_low": 0.05, "artefact_high": 0.2,
        "real_artefact_rate": 0.02})


def test_every_variant_has_a_label():
    every = {variant.name for scope in ("none", "image", "foreground") for mirror in (True, False)
             for variant in variants_of(Protocol(match_scope=scope, mirror=mirror))}
    assert every == set(variants.LABELS)


def test_effects_show_values_intervals_and_the_gain():
    table = effects()
    figure = variant_effects.figure(table, margin=0.05)
    overlap, shift, score, artefacts = figure.axes
    assert [label.get_text() for label in overlap.get_yticklabels()] == [variants.LABELS[name] for name in NAMES]
    gains, bounds = ([segment[:, 0] for segment in axes.collections[0].get_segments()] for axes in (overlap, shift))
    np.testing.assert_allclose(gains, [[0.75, 0.85]] * len(NAMES))
    np.testing.assert_allclose(bounds, table[["shift_low", "shift_high"]])
    np.testing.assert_allclose(shift.lines[0].get_xdata(), table["shift"])
    assert {line.get_xdata()[0] for line in shift.lines if line.get_linestyle() == "--"} == {-0.05, 0.05}
    assert score.get_xlim()[1] < 3.2 and artefacts.get_xlim() == (-0.03, 1.03)
    assert {"One training a row", "Real, shuffled", "Equivalence margin"} <= set(texts(figure))


def test_a_score_without_interval_is_hollow_and_a_variant_without_pairs_has_no_marks():
    table = effects()
    table.loc[0, ["score_low", "score_high"]] = np.nan
    drawn = ["synthetic_median", "shift", "shift_low", "shift_high", "score", "score_low", "score_high",
             "artefact_rate", "artefact_low", "artefact_high"]
    table.loc[1, drawn] = np.nan
    scores = variant_effects.figure(table, margin=0.05).axes[2].lines
    hollow = [line for line in scores if to_hex(line.get_color()) == "#ffffff"]
    assert len(hollow) == 1 and hollow[0].get_xdata()[0] == table.loc[0, "score"]
    shown = np.concatenate([line.get_xdata() for line in scores[:2]])
    assert np.isfinite(shown).sum() == len(table) - 1


def test_pairs_stand_below_their_variant_and_a_missing_one_leaves_its_place():
    views = {name: np.full((2, 16, 16), i / 10, np.float32) for i, name in enumerate(NAMES)}
    drawn = {name: pair for name, pair in views.items() if name != "match-image"}
    figure = variants.figure(views, drawn)
    grid = np.reshape(figure.axes, (4, len(NAMES)))
    assert [axes.get_title() for axes in grid[0]] == [variants.LABELS[name] for name in NAMES]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["Real CC", "Real MLO", "Drawn CC", "Drawn MLO"]
    shown = [[axes.images[0].get_array()[0, 0] if axes.images else None for axes in row] for row in grid]
    assert shown[3][NAMES.index("match-image")] is None and shown[0][2] == pytest.approx(0.2)
    assert all(axes.images[0].get_clim() == (0, 1) for axes in grid[:2].ravel())
