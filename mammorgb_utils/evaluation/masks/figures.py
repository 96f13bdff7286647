"""Figure of the mask methods: their contours, and how well they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mammorgb_utils.output import style

METHOD_LABELS = {"background": "Background", "otsu": "Otsu", "triangle": "Triangle", "watershed": "Watershed"}
_CONTOURS = {"background": ("#FFFFFF", "-"), "otsu": ("#E69F00", "--"), "triangle": ("#56B4E9", ":"),
             "watershed": ("#D55E00", "-")}
_VIEW_COLOURS = {"CC": style.EDGE, "MLO": style.COLOURS["absdiff"]}
_MARKERS = style.MARKERS | {"CC": "o", "MLO": "v"}
_MARK = {"linestyle": "", "markersize": 4.0, "markeredgecolor": style.EDGE, "markeredgewidth": 0.5}


@style.styled
def mask_agreement(table: pd.DataFrame, examples: Sequence[tuple[str, np.ndarray, Mapping[str, np.ndarray]]], *,
                   method: str) -> Figure:
    """Contours of every mask method on example pairs, and how well the methods agree.

    Args:
        table: From `mask_agreement`.
        examples: From `mask_examples`.
        method: The study's own, which the others are held against.

    Returns:
        Above the views; below the median IoU of each method with the study's own in CC and MLO views, by set, and, for
        phantoms, with the truth. Bars cover 95 %.
    """
    figure = style.new_figure(style.DOUBLE_COLUMN, 104.0)
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.65))
    tops = above.subplots(1, 2 * len(examples), squeeze=False)[0]
    for number, (title, views, masks) in enumerate(examples):
        for axes, view, column in zip(tops[2 * number:2 * number + 2], ("CC", "MLO"), (0, 1), strict=True):
            _contours(axes, views[column], {name: drawn[column] for name, drawn in masks.items()})
            axes.set_title(f"{title}\n{view}" if column == 0 else f"\n{view}", pad=3)
    truth = (table[["first", "second"]] == "truth").any(axis=1)
    panels = below.subplots(1, 3 if truth.any() else 2, sharey=True)
    for axes, view in zip(panels, ("CC", "MLO"), strict=False):
        _agreement(axes, _against(table[(table["view"] == view) & ~truth], method), "set", style.COLOURS)
        axes.set_title(f"{view}, with the {METHOD_LABELS[method].lower()} mask")
    if truth.any():
        _agreement(panels[2], _against(table[truth], "truth"), "view", _VIEW_COLOURS)
        panels[2].set_title("With the phantoms' truth")
    panels[0].set_ylabel("IoU of two masks of one view")
    _agreement_legend(below, table["set"], list(examples[0][2]), truth.any())
    style.panel_letters([tops[0], *panels], pad=3)
    return figure


@style.styled
def outlined_pairs(pairs: np.ndarray, masks: np.ndarray, titles: Sequence[str], *, method: str) -> Figure:
    """Pairs with the outline of their masks, one a column, CC above MLO.

    Args:
        pairs: `(N, 2, H, W)` in [0, 1], CC first.
        masks: `(N, 2, H, W)` bool, by `method`.
    """
    figure = style.new_figure(style.DOUBLE_COLUMN, 2 * style.DOUBLE_COLUMN / len(pairs) + 8.0)
    grid = figure.subplots(2, len(pairs), squeeze=False)
    for column, title in enumerate(titles):
        for row, view in enumerate(("CC", "MLO")):
            _contours(grid[row, column], pairs[column, row], {method: masks[column, row]})
            grid[row, column].set_title(f"{title} {view}")
    return figure


def _contours(axes: Axes, view: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
    axes.imshow(np.sqrt(view), vmin=0.0, vmax=1.0)  # the root lifts the dim skin line
    for method, mask in masks.items():
        colour, line = _CONTOURS[method]
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[colour], linestyles=[line], linewidths=0.8)
    style.bare(axes)


def _against(table: pd.DataFrame, other: str) -> pd.DataFrame:
    """The rows in which one of the two is `other`, with the remaining one as `method`."""
    rows = table[(table[["first", "second"]] == other).any(axis=1)]
    return rows.assign(method=rows["first"].where(rows["first"] != other, rows["second"]))


def _agreement(axes: Axes, rows: pd.DataFrame, by: str, colours: Mapping[str, str]) -> None:
    methods = [name for name in METHOD_LABELS if name in set(rows["method"])]
    groups = [name for name in colours if name in set(rows[by])]
    for number, group in enumerate(groups):
        part = rows[rows[by] == group].set_index("method").reindex(methods)
        x = np.arange(len(methods)) + 0.13 * (number - (len(groups) - 1) / 2.0)
        axes.vlines(x, part["iou_low"], part["iou_high"], color=style.EDGE, linewidth=0.8)
        axes.plot(x, part["iou_median"], marker=_MARKERS[group], color=colours[group], **_MARK)
    axes.set_xticks(range(len(methods)), [METHOD_LABELS[name] for name in methods])
    axes.set_xlim(-0.5, len(methods) - 0.5)
    axes.axhline(1.0, color=style.QUIET, linewidth=0.5)


def _agreement_legend(figure: Figure, names: pd.Series, methods: Sequence[str], with_truth: bool) -> None:
    shown = {name: (style.LABELS[name], style.COLOURS[name]) for name in style.present_sets(names)}
    shown |= {view: (f"{view} to truth", colour) for view, colour in _VIEW_COLOURS.items() if with_truth}
    handles = [Line2D([], [], marker=_MARKERS[name], color=colour, label=label, **_MARK)
               for name, (label, colour) in shown.items()]
    for name in methods:
        colour, line = _CONTOURS[name]
        white = {"color": style.EDGE, "label": METHOD_LABELS[name] + " (white)"} if colour == "#FFFFFF" else {}
        handles.append(Line2D([], [], **{"color": colour, "linestyle": line, "label": METHOD_LABELS[name]} | white))
    figure.legend(handles=handles, loc="outside lower center", ncols=(len(handles) + 1) // 2, columnspacing=1.2,
                  handletextpad=0.5)
