"""Figure of the matching and mask audit."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mammorgb_utils.output.style import BAND, COLOURS, DOUBLE_COLUMN, EDGE, new_figure, panel_letters, styled

_SCOPES = {"none": "before\nmatching", "image": "whole\nimage", "foreground": "breast\nonly"}
_ASPECTS = {"squash": "squashed", "pad": "padded"}
_METHODS = {"background": "Background", "otsu": "Otsu"}


@styled
def matching_audit(audit: pd.DataFrame, shuffled: pd.DataFrame) -> Figure:
    """How histogram matching and framing move the overlap and the areas of the same real breasts' masks.

    Args:
        audit: One row a cell and pair: `match_scope`, `aspect`, `mask_method`, `iou`, `cc_area`, `mlo_area`
            (fractions of the image) and `excluded` (empty where both views were read). A pair without IoU is
            left out, and counted.
        shuffled: One row a cell and shuffled pair: the cell's three columns and `iou`.

    Returns:
        A column a mask method and framing; above, the IoU of pairs (right half of a violin) and of shuffled pairs
        (left half) with the difference of their medians, below, the areas of all masks with their SD.
    """
    kept = audit[audit["excluded"] == ""]
    columns = [(method, aspect) for method in _METHODS for aspect in _ASPECTS]
    figure = new_figure(DOUBLE_COLUMN, 116.0)
    grid = figure.subplots(2, len(columns), sharey="row")
    for (top, bottom), (method, aspect) in zip(grid.T, columns, strict=True):
        tables = [table[(table["mask_method"] == method) & (table["aspect"] == aspect)] for table in (kept, shuffled)]
        _overlap(top, *tables)
        _areas(bottom, tables[0])
        top.set_title(f"{_METHODS[method]} mask,\n{_ASPECTS[aspect]}", pad=4)
    grid[0, 0].set(ylabel="IoU of CC and MLO mask", ylim=(0, 1.02))
    grid[1, 0].set(ylabel="Mask area (% of the image)", ylim=(0, 102))
    n_read, n_all = kept["pair"].nunique(), audit["pair"].nunique()
    _legend(figure, f"n = {n_read:,} pairs" + (f" ({n_all - n_read} excluded)" if n_all > n_read else ""))
    panel_letters(grid.flat, pad=4)
    return figure


def _overlap(axes: Axes, paired: pd.DataFrame, shuffled: pd.DataFrame) -> None:
    labels = []
    for position, (scope, label) in enumerate(_SCOPES.items()):
        own, others = (table.loc[table["match_scope"] == scope, "iou"].to_numpy(float) for table in (paired, shuffled))
        empty = int(np.isnan(own).sum())
        own, others = own[~np.isnan(own)], others[~np.isnan(others)]
        _half(axes, others, position, BAND, "low")
        _half(axes, own, position, COLOURS["real"], "high")
        if own.size and others.size:
            label += f"\n{np.median(own) - np.median(others):+.2f}".replace("-", "−")
        labels.append(label + (f"\n({empty} empty)" if empty else ""))
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.55, len(labels) - 0.45)


def _areas(axes: Axes, paired: pd.DataFrame) -> None:
    labels = []
    for position, (scope, label) in enumerate(_SCOPES.items()):
        areas = 100.0 * paired.loc[paired["match_scope"] == scope, ["cc_area", "mlo_area"]].to_numpy(float).ravel()
        areas = areas[areas > 0.0]
        _half(axes, areas, position, "white", "both")
        if areas.size > 1:
            label += f"\nSD {areas.std(ddof=1):.1f}"
        labels.append(label)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.55, len(labels) - 0.45)


def _half(axes: Axes, values: np.ndarray, position: int, colour: str, side: str) -> None:
    """A violin, or half of one, with its quartiles and median; without spread only those."""
    if values.size == 0:
        return
    if np.unique(values).size > 2:
        body, = axes.violinplot(values, [position], widths=0.85, showextrema=False, side=side)["bodies"]
        body.set(facecolor=colour, edgecolor=EDGE, linewidth=0.5, alpha=1.0)
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    x = position + {"low": -0.09, "high": 0.09, "both": 0.0}[side]
    axes.plot([x, x], [low, high], color="white", linewidth=2.8, solid_capstyle="butt", zorder=4)
    axes.plot([x, x], [low, high], color=EDGE, linewidth=1.4, solid_capstyle="butt", zorder=5)
    axes.plot(x, median, marker="o", markersize=3.2, color="white", markeredgecolor=EDGE, markeredgewidth=0.7, zorder=6)


def _legend(figure: Figure, count: str) -> None:
    handles = [Patch(facecolor=BAND, edgecolor=EDGE, label="Shuffled pairs"),
               Patch(facecolor=COLOURS["real"], edgecolor=EDGE, label="Pairs"),
               Line2D([], [], color=EDGE, linewidth=1.4, marker="o", markersize=3.2, markerfacecolor="white",
                      label="Median, quartiles"),
               Line2D([], [], linestyle="", label="Below the axes: gain in median IoU; SD of the areas"),
               Line2D([], [], linestyle="", label=count)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2, labelcolor=EDGE)
