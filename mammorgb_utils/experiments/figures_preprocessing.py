"""Figures of the preprocessing variants: what they do to a pair, and what follows for drawn pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mammorgb_utils.output.style import (
    COLOURS,
    DOUBLE_COLUMN,
    EDGE,
    QUIET,
    bare,
    new_figure,
    panel_letters,
    styled,
)

VARIANT_LABELS = {
    "study": "As in\nthe study", "mirror-off": "Not\nmirrored", "mirror-on": "Mirrored", "match-none": "Not\nmatched",
    "match-image": "Whole image\nmatched", "match-foreground": "Breast\nmatched", "reference-dark": "Darker\nreference",
    "reference-bright": "Brighter\nreference", "reference-gamma": "Film-like\nreference",
}
_REAL = {"color": COLOURS["real"], "marker": "o", "markersize": 4.5, "markeredgecolor": EDGE, "markeredgewidth": 0.6}
_DRAWN = {"color": COLOURS["sum"], "marker": "s", "markersize": 4.5, "markeredgecolor": EDGE, "markeredgewidth": 0.6}
_STRANGERS = _REAL | {"color": "white"}
_DASHED = {"color": QUIET, "linewidth": 0.8, "linestyle": (0, (3, 2)), "zorder": 1}
_APART = 0.16  # of a row, between its real and its drawn marks
_SCORES = (-1.0, 3.0)  # intervals beyond are cut at the panel's edge


@styled
def preprocessing_variants(real: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray]) -> Figure:
    """One real breast, and the first drawn pair, under every preprocessing.

    Args:
        real: Variant name to the same real pair, `(2, H, W)` in [0, 1], CC first.
        drawn: The same of pairs drawn from one seed; a variant without any has an empty place.

    Returns:
        A column a variant; above the real pair, below the drawn one.
    """
    figure = new_figure(DOUBLE_COLUMN, 9.0 + 4 * (DOUBLE_COLUMN - 12.0) / len(real))
    grid = figure.subplots(4, len(real), squeeze=False)
    for column, name in zip(grid.T, real, strict=True):
        views = [*real[name], *(drawn[name] if name in drawn else (None, None))]
        for axes, view in zip(column, views, strict=True):
            if view is not None:
                axes.imshow(view, vmin=0, vmax=1)
            bare(axes, frame=QUIET)
            axes.set_box_aspect(1)
        column[0].set_title(VARIANT_LABELS[name], pad=3)
    for axes, label in zip(grid[:, 0], ("Real CC", "Real MLO", "Drawn CC", "Drawn MLO"), strict=True):
        axes.set_ylabel(label)
    return figure


@styled
def preprocessing_effects(effects: pd.DataFrame, *, margin: float) -> Figure:
    """Overlap, consistency and artefacts under every preprocessing.

    Args:
        effects: One row a variant: `variant`; `real_median`, `real_gain`, `synthetic_median`; `shift`, `score` and
            `artefact_rate`, each with its interval; `real_artefact_rate`.
        margin: Equivalence margin of the shift.

    Returns:
        A row a variant. A line in the first panel spans the gain: from shuffled to own real pairs. A hollow score has
        no interval, as real pairs gain too little.
    """
    names = effects["variant"].tolist()
    figure = new_figure(DOUBLE_COLUMN, 30.0 + 10.0 * len(names))
    panels = figure.subplots(1, 4, sharey=True)
    for y, row in enumerate(effects.to_dict("records")):
        _overlap(panels[0], y, row)
        for axes, stem, value in zip(panels[1:], ("shift", "score", "artefact"), ("shift", "score", "artefact_rate"),
                                     strict=True):
            _interval(axes, y, row[value], row[f"{stem}_low"], row[f"{stem}_high"])
        panels[3].plot(row["real_artefact_rate"], y - _APART, linestyle="", zorder=5, clip_on=False, **_REAL)
    labels = ("Median IoU", "Shift of IoU, drawn − real", "Consistency score", "Pairs with an artefact")
    for axes, label in zip(panels, labels, strict=True):
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
    _limits(panels, effects, margin)
    panels[0].set_yticks(range(len(names)), [VARIANT_LABELS[name] for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(handles=_handles(), loc="outside lower center", ncols=5)
    panel_letters(panels)
    return figure


def _overlap(axes: Axes, y: int, row: Mapping[str, float]) -> None:
    """Real pairs and strangers, joined by the gain, and the drawn pairs below."""
    strangers = row["real_median"] - row["real_gain"]
    axes.plot([strangers, row["real_median"]], [y - _APART] * 2, color=EDGE, linewidth=0.8, zorder=3)
    axes.plot(strangers, y - _APART, linestyle="", zorder=4, **_STRANGERS)
    axes.plot(row["real_median"], y - _APART, linestyle="", zorder=5, **_REAL)
    axes.plot(row["synthetic_median"], y + _APART, linestyle="", zorder=5, **_DRAWN)


def _interval(axes: Axes, y: int, value: float, low: float, high: float) -> None:
    known = np.isfinite([low, high]).all()
    if known:
        axes.plot([low, high], [y + _APART] * 2, color=_DRAWN["color"], linewidth=1.4, zorder=4)
    axes.plot(value, y + _APART, linestyle="", zorder=5, **(_DRAWN if known else _DRAWN | {"color": "white"}))


def _limits(panels: np.ndarray, effects: pd.DataFrame, margin: float) -> None:
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    for x in (-margin, margin):
        panels[1].axvline(x, **_DASHED)
    for axes, x in ((panels[1], 0.0), (panels[2], 0.0), (panels[2], 1.0)):
        axes.axvline(x, **_DASHED | {"linestyle": "-", "linewidth": 0.5})
    bounds = effects[["score_low", "score_high"]].clip(*_SCORES).to_numpy(float)
    reach = [-0.1, 1.1, *bounds[np.isfinite(bounds)], *effects["score"].dropna()]
    panels[2].set_xlim(min(reach) - 0.05 * np.ptp(reach), max(reach) + 0.05 * np.ptp(reach))
    panels[0].margins(x=0.1)
    panels[3].set_xlim(-0.03, 1.03)
    panels[3].xaxis.set_major_formatter(PercentFormatter(1.0))


def _handles() -> list[Line2D]:
    return [Line2D([], [], linestyle="", label="Real pairs", **_REAL),
            Line2D([], [], linestyle="", label="Real, shuffled", **_STRANGERS),
            Line2D([], [], label="Drawn pairs, 95 % interval", linewidth=1.4, **_DRAWN),
            Line2D([], [], label="Equivalence margin", **_DASHED),
            Line2D([], [], linestyle="", label="One training a row")]
