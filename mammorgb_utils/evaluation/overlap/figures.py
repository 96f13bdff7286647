"""The figure of mask overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mammorgb_utils.output import style

_SHORT = {**style.LABELS, "absdiff": "Abs. diff."}


@style.styled
def mask_overlap(pair: np.ndarray, cc: np.ndarray, mlo: np.ndarray) -> Figure:
    """One pair, the masks of its views, and what the two masks share.

    Args:
        pair: `(2, H, W)` in [0, 1], CC first.
        cc, mlo: `(H, W)` bool.

    Returns:
        Both views with the outline of their mask; the masks over one another, the intersection dark, what else belongs
        to the union pale.
    """
    figure = style.new_figure(style.DOUBLE_COLUMN, 62.0)
    panels = figure.subplots(1, 3)
    for axes, view, mask, title in zip(panels, pair, (cc, mlo), ("CC", "MLO"), strict=False):
        axes.imshow(view, vmin=0.0, vmax=1.0)
        axes.contour(mask, levels=[0.5], colors=[style.COLOURS["zero"]], linewidths=1.2)
        axes.set_title(title)
    parts = {"Intersection": (cc & mlo, style.COLOURS["sum"]), "CC alone": (cc & ~mlo, style.BAND),
             "MLO alone": (mlo & ~cc, style.QUIET)}
    image = np.ones((*cc.shape, 3))
    for mask, colour in parts.values():
        image[mask] = to_rgb(colour)
    panels[2].imshow(image)
    panels[2].set_title("One over the other")
    for axes in panels:
        style.bare(axes, frame=style.QUIET)
    figure.legend(handles=[Patch(facecolor=colour, label=f"{label}, {np.count_nonzero(mask):,} px")
                           for label, (mask, colour) in parts.items()], loc="outside lower center", ncols=3)
    return figure


@style.styled
def overlap_distributions(overlap: pd.DataFrame, shuffled: pd.DataFrame | None = None) -> Figure:
    """How much the CC and the MLO mask of a pair overlap, real beside synthetic.

    Args:
        overlap: From `overlap_table`. A pair without a mask, whose overlap is NaN, is left out and counted.
        shuffled: From `shuffled_table`; the DSC of strangers follows from their IoU.

    Returns:
        A row with the pectoral muscle, one without; columns: IoU, DSC (violin with quartiles and median; shuffled
        pairs as the grey half), and the cumulative distribution of IoU.
    """
    suffixes = {"": "whole breast mask"}
    if "iou_no_muscle" in overlap and overlap["iou_no_muscle"].notna().any():
        suffixes["_no_muscle"] = "without pectoral muscle"
    figure = style.new_figure(style.DOUBLE_COLUMN, 62.0 * len(suffixes))
    grid = figure.subplots(len(suffixes), 3, squeeze=False)
    names = style.present_sets(overlap["set"])
    for row, (suffix, title) in zip(grid, suffixes.items(), strict=True):
        for axes, measure, label in zip(row, ("iou", "dsc"), ("IoU", "DSC"), strict=False):
            _violins(axes, _values(overlap, shuffled, measure + suffix), names)
            axes.set(xlabel="", ylabel=f"{label} of CC and MLO mask")
        _ecdf(row[2], _values(overlap, shuffled, f"iou{suffix}"), names)
        for axes in row:
            axes.set_title(title, pad=11)
    _legend(figure, names, shuffled is not None)
    style.panel_letters(grid.flat, pad=11)
    return figure


def _values(overlap: pd.DataFrame, shuffled: pd.DataFrame | None, column: str) -> pd.DataFrame:
    """`set`, `kind` (shuffled | own) and `value` of every pair; of shuffled ones DSC is 2·IoU/(1 + IoU)."""
    tables = [overlap.assign(kind="own", value=overlap[column])]
    iou = column.replace("dsc", "iou")
    if shuffled is not None and iou in shuffled:
        value = shuffled[iou] if iou == column else 2 * shuffled[iou] / (1 + shuffled[iou])
        tables.insert(0, shuffled.assign(kind="shuffled", value=value))
    return pd.concat([table[["set", "kind", "value"]] for table in tables], ignore_index=True)


def _violins(axes: Axes, values: pd.DataFrame, names: Sequence[str]) -> None:
    kinds, labels = list(values["kind"].unique()), []
    for position, name in enumerate(names):
        rows = values[values["set"] == name]
        own = rows.loc[rows["kind"] == "own", "value"]
        empty = f"\n({own.isna().sum()} empty)" if own.isna().any() else ""
        labels.append(f"{_SHORT[name]}\nn = {own.count():,}{empty}")
        rows = rows[rows.groupby("kind")["value"].transform("nunique") > 2]  # of fewer no density can be estimated
        if len(rows):
            sns.violinplot(rows.dropna(), x="set", y="value", order=names, hue="kind", hue_order=kinds, legend=False,
                           split=len(kinds) > 1, palette={"shuffled": style.BAND, "own": style.COLOURS[name]},
                           saturation=1.0, inner=None, cut=0, density_norm="width", width=0.85, linewidth=0.5,
                           linecolor=style.EDGE, ax=axes)
        if "own" in set(rows["kind"]):
            axes.collections[-1].set(**_hatch(name))
        if own.count():
            low, median, high = own.quantile((0.25, 0.5, 0.75))
            for colour, wide in (("white", 3.2), (style.EDGE, 1.8)):
                axes.plot([position] * 2, [low, high], color=colour, linewidth=wide, solid_capstyle="butt", zorder=4)
            axes.plot(position, median, marker="o", markersize=4, color="white", markeredgecolor=style.EDGE, zorder=6)
            axes.annotate(f"{median:.3f}", (position, 1.0), xycoords=("data", "axes fraction"), ha="center",
                          va="bottom", fontsize=6)
    axes.set_xticks(range(len(names)), labels)
    axes.set_xlim(-0.6, len(names) - 0.4)


def _hatch(name: str) -> dict[str, str]:
    """White on the dark fill, dark on the light ones."""
    return {"hatch": style.HATCHES[name], "hatchcolor": "white" if name == "sum" else style.EDGE}


def _ecdf(axes: Axes, values: pd.DataFrame, names: Sequence[str]) -> None:
    own, null = (values[values["kind"] == kind] for kind in ("own", "shuffled"))
    for name in names:
        sns.ecdfplot(own[own["set"] == name].dropna(), x="value", ax=axes, color=style.COLOURS[name],
                     linestyle=style.LINES[name], linewidth=1.5)
    strangers = null.loc[null["set"] == "real", "value"].dropna()
    if len(strangers):
        sns.ecdfplot(x=strangers, ax=axes, color=style.QUIET, linewidth=0.7)
        axes.annotate("real,\nshuffled", (np.quantile(strangers, 0.6), 0.6), xytext=(-6, 4), ha="right",
                      textcoords="offset points", color=style.QUIET, fontsize=6)
    axes.set(xlabel="IoU of CC and MLO mask", ylabel="Share of pairs at or below", ylim=(0, 1.01))


def _legend(figure: Figure, names: Sequence[str], shuffled: bool) -> None:
    handles = [Patch(facecolor=style.COLOURS[name], edgecolor=style.EDGE, label=style.LABELS[name], **_hatch(name))
               for name in names]
    if shuffled:
        handles.append(Patch(facecolor=style.BAND, edgecolor=style.EDGE, label="Shuffled, same set"))
    handles.append(Line2D([], [], color=style.EDGE, linewidth=1.8, marker="o", markersize=4, markerfacecolor="white",
                          label="Median (above: its value), quartiles"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.4)
