"""Figures of training and of mask overlap."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mammorgb_utils.output.style import (
    BAND,
    COLOURS,
    DOUBLE_COLUMN,
    EDGE,
    HATCHES,
    LABELS,
    LINES,
    QUIET,
    new_figure,
    panel_letters,
    present_sets,
    styled,
)

_SHORT = {**LABELS, "absdiff": "Abs. diff."}
_FAINT = 0.35


@styled
def training_curves(stats: Mapping[str, pd.DataFrame], *, max_grad_norm: float | None = None) -> Figure:
    """Loss and gradient norm over the training steps of each encoding.

    Args:
        stats: For each encoding its `stats.jsonl`: columns `step`, `loss`, `grad_norm`, one row a step.
        max_grad_norm: Where gradients are clipped, drawn as a line.

    Returns:
        Two panels: every step faint, its centred running mean bold.
    """
    figure = new_figure(DOUBLE_COLUMN, 70.0)
    panels = figure.subplots(1, 2)
    shown = present_sets(stats)
    window = max((len(stats[name]) // 15 for name in shown), default=0) | 1
    for axes, column in zip(panels, ("loss", "grad_norm"), strict=True):
        for name in shown:
            _curve(axes, stats[name]["step"], stats[name][column], name, window)
        axes.set(xlabel="Training step", xlim=(0, None))
        axes.set_ylim(0, None)
    panels[0].set_ylabel("Loss (mean squared error)")
    panels[1].set_ylabel("Gradient norm before clipping")
    if max_grad_norm is not None:
        panels[1].axhline(max_grad_norm, color=QUIET, linestyle=(0, (1, 2)), linewidth=0.9, label="clipping")
    handles, labels = panels[1].get_legend_handles_labels()
    handles.append(Line2D([], [], color=EDGE, alpha=_FAINT, linewidth=0.6))
    figure.legend(handles, [*labels, f"single steps (bold: running mean of {window})"], ncols=len(handles),
                  loc="outside lower center", handlelength=3.2)
    panel_letters(panels)
    return figure


def _curve(axes: Axes, step: pd.Series, values: pd.Series, name: str, window: int) -> None:
    axes.plot(step, values, color=COLOURS[name], alpha=_FAINT, linewidth=0.5)
    smooth = values.rolling(window, center=True, min_periods=1).mean()
    axes.plot(step, smooth, color=COLOURS[name], linestyle=LINES[name], linewidth=1.6, label=LABELS[name])


@styled
def overlap_distributions(overlap: pd.DataFrame, shuffled: pd.DataFrame | None = None) -> Figure:
    """How much the CC and the MLO mask of a pair overlap, real beside synthetic.

    Args:
        overlap: One row a pair: `set`, `iou`, `dsc` and, where the muscle was found, `iou_no_muscle` and
            `dsc_no_muscle`. NaN marks a pair without a mask: it is left out, and counted under its set.
        shuffled: One row a shuffled pair (CC of one breast, MLO of another): `set`, `iou` and, if there is one,
            `iou_no_muscle`. Its DSC follows from the IoU.

    Returns:
        A row with the pectoral muscle, one without; columns: IoU, DSC (violin with quartiles and median; shuffled
        pairs as the grey half), and the cumulative distribution of IoU.
    """
    suffixes = {"": "whole breast mask"}
    if "iou_no_muscle" in overlap and overlap["iou_no_muscle"].notna().any():
        suffixes["_no_muscle"] = "without pectoral muscle"
    figure = new_figure(DOUBLE_COLUMN, 62.0 * len(suffixes))
    grid = figure.subplots(len(suffixes), 3, squeeze=False)
    for row, (suffix, title) in zip(grid, suffixes.items(), strict=True):
        null = shuffled if shuffled is not None and f"iou{suffix}" in shuffled else None
        for axes, measure in zip(row, ("iou", "dsc"), strict=False):
            _violins(axes, overlap, null, measure, suffix)
            axes.set_ylabel(f"{measure.upper().replace('IOU', 'IoU')} of CC and MLO mask")
        _ecdf(row[2], overlap, null, f"iou{suffix}")
        for axes in row:
            axes.set_title(title, pad=11)
    _legend(figure, present_sets(overlap["set"]), shuffled is not None)
    panel_letters(grid.flat, pad=11)
    return figure


def _values(frame: pd.DataFrame, name: str, column: str) -> np.ndarray:
    """One set's values of a column; a shuffled table holds no DSC, which 2·IoU/(1 + IoU) gives."""
    rows = frame[frame["set"] == name]
    if column not in rows and column.startswith("dsc"):
        iou = rows[column.replace("dsc", "iou")].to_numpy(float)
        return 2 * iou / (1 + iou)
    return rows[column].to_numpy(float)


def _violins(axes: Axes, overlap: pd.DataFrame, shuffled: pd.DataFrame | None, measure: str, suffix: str) -> None:
    names, labels = present_sets(overlap["set"]), []
    for position, name in enumerate(names):
        values = _values(overlap, name, measure + suffix)
        empty, values = int(np.isnan(values).sum()), values[~np.isnan(values)]
        labels.append(f"{_SHORT[name]}\nn = {values.size:,}" + (f"\n({empty} empty)" if empty else ""))
        if shuffled is not None:
            null = _values(shuffled, name, measure + suffix)
            _violin(axes, null[~np.isnan(null)], position, BAND, "", side="low")
        _violin(axes, values, position, COLOURS[name], HATCHES[name], side="both" if shuffled is None else "high")
        _quartiles(axes, values, position)
    axes.set_xticks(range(len(names)), labels)
    axes.set_xlim(-0.6, len(names) - 0.4)


def _violin(axes: Axes, values: np.ndarray, position: int, colour: str, hatch: str, *, side: str) -> None:
    if np.unique(values).size < 3:  # no density can be estimated; the quartiles still stand
        return
    body, = axes.violinplot(values, [position], widths=0.85, showextrema=False, side=side)["bodies"]
    body.set(facecolor=colour, edgecolor=EDGE, linewidth=0.5, alpha=1.0, hatch=hatch)
    # white hatching on the dark fills, dark on the light ones
    body.set_hatchcolor("white" if colour in (COLOURS["sum"],) else EDGE)


def _quartiles(axes: Axes, values: np.ndarray, position: int) -> None:
    if values.size == 0:
        return
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    axes.plot([position, position], [low, high], color="white", linewidth=3.2, solid_capstyle="butt", zorder=4)
    axes.plot([position, position], [low, high], color=EDGE, linewidth=1.8, solid_capstyle="butt", zorder=5)
    axes.plot(position, median, marker="o", markersize=4, color="white", markeredgecolor=EDGE, zorder=6)
    axes.annotate(f"{median:.3f}", (position, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom",
                  fontsize=6)


def _ecdf(axes: Axes, overlap: pd.DataFrame, shuffled: pd.DataFrame | None, column: str) -> None:
    for name in present_sets(overlap["set"]):
        values = _values(overlap, name, column)
        sns.ecdfplot(x=values[~np.isnan(values)], ax=axes, color=COLOURS[name], linestyle=LINES[name], linewidth=1.5)
    if shuffled is not None and (shuffled["set"] == "real").any():
        values = _values(shuffled, "real", column)
        sns.ecdfplot(x=values[~np.isnan(values)], ax=axes, color=QUIET, linewidth=0.7)
        axes.annotate("real,\nshuffled", (np.nanquantile(values, 0.6), 0.6), xytext=(-6, 4), ha="right",
                      textcoords="offset points", color=QUIET, fontsize=6)
    axes.set(xlabel="IoU of CC and MLO mask", ylabel="Share of pairs at or below", ylim=(0, 1.01))


def _legend(figure: Figure, names: list[str], shuffled: bool) -> None:
    handles = [Patch(facecolor=COLOURS[name], edgecolor=EDGE, label=LABELS[name], hatch=HATCHES[name],
                     hatchcolor="white" if name == "sum" else EDGE) for name in names]
    if shuffled:
        handles.append(Patch(facecolor=BAND, edgecolor=EDGE, label="Shuffled, same set"))
    handles.append(Line2D([], [], color=EDGE, linewidth=1.8, marker="o", markersize=4, markerfacecolor="white",
                          label="Median (above: its value), quartiles"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.4)
