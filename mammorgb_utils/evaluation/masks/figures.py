"""Figure of the mask methods: their contours, and how well they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mammorgb_utils.output.style import (
    COLOURS,
    DOUBLE_COLUMN,
    EDGE,
    LABELS,
    MARKERS,
    QUIET,
    bare,
    new_figure,
    panel_letters,
    present_sets,
    styled,
)

METHOD_LABELS = {"background": "Background", "otsu": "Otsu", "triangle": "Triangle", "watershed": "Watershed"}
_CONTOURS = {"background": ("#FFFFFF", "-"), "otsu": ("#E69F00", "--"), "triangle": ("#56B4E9", ":"),
             "watershed": ("#D55E00", "-")}
_MARK = {"linestyle": "", "markersize": 4.0, "markeredgecolor": EDGE, "markeredgewidth": 0.5}


@styled
def mask_agreement(table: pd.DataFrame, examples: Sequence[tuple[str, np.ndarray, Mapping[str, np.ndarray]]], *,
                   method: str) -> Figure:
    """Contours of every mask method on example pairs, and how well the methods agree.

    Args:
        table: From `mask_agreement`.
        examples: What `mask_examples` chose: title, `(2, H, W)` views, and method to `(2, H, W)` bool.
        method: The study's own, which the others are held against.

    Returns:
        Above the views; below the median IoU of each method with the study's own in CC and MLO views, by set, and, for
        phantoms, with the truth. Bars cover 95 %.
    """
    figure = new_figure(DOUBLE_COLUMN, 104.0)
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.65))
    tops = above.subplots(1, 2 * len(examples), squeeze=False)[0]
    for number, (title, views, masks) in enumerate(examples):
        for axes, view, column in zip(tops[2 * number:2 * number + 2], ("CC", "MLO"), (0, 1), strict=True):
            _contours(axes, views[column], {name: drawn[column] for name, drawn in masks.items()})
            axes.set_title(f"{title}\n{view}" if column == 0 else f"\n{view}", pad=3)
    truth = (table[["first", "second"]] == "truth").any(axis=1)
    panels = below.subplots(1, 3 if truth.any() else 2, sharey=True)
    for axes, view in zip(panels, ("CC", "MLO"), strict=False):
        _agreement(axes, _against(table[(table["view"] == view) & ~truth], method), "set", COLOURS)
        axes.set_title(f"{view}, with the {METHOD_LABELS[method].lower()} mask")
    if truth.any():
        _agreement(panels[2], _against(table[truth], "truth"), "view", {"CC": EDGE, "MLO": COLOURS["absdiff"]})
        panels[2].set_title("With the phantoms' truth")
    panels[0].set_ylabel("IoU of two masks of one view")
    _agreement_legend(below, table["set"], list(examples[0][2]), truth.any())
    panel_letters([tops[0], *panels], pad=3)
    return figure


def _contours(axes: Axes, view: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
    axes.imshow(np.sqrt(view), vmin=0.0, vmax=1.0)  # the root lifts the dim skin line
    for method, mask in masks.items():
        colour, line = _CONTOURS[method]
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[colour], linestyles=[line], linewidths=0.8)
    bare(axes)


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
        axes.vlines(x, part["iou_low"], part["iou_high"], color=EDGE, linewidth=0.8)
        axes.plot(x, part["iou_median"], marker=MARKERS.get(group, "o" if group == "CC" else "v"),
                  color=colours[group], **_MARK)
    axes.set_xticks(range(len(methods)), [METHOD_LABELS[name] for name in methods])
    axes.set_xlim(-0.5, len(methods) - 0.5)
    axes.axhline(1.0, color=QUIET, linewidth=0.5)


def _agreement_legend(figure: Figure, names: pd.Series, methods: Sequence[str], with_truth: bool) -> None:
    marks = [Line2D([], [], marker=MARKERS[name], color=COLOURS[name], label=LABELS[name], **_MARK)
             for name in present_sets(names)]
    marks += [Line2D([], [], marker=marker, color=colour, label=f"{view} to truth", **_MARK)
              for view, marker, colour in (("CC", "o", EDGE), ("MLO", "v", COLOURS["absdiff"])) if with_truth]
    lines = [Line2D([], [], color=EDGE if name == "background" else _CONTOURS[name][0], linestyle=_CONTOURS[name][1],
                    label=METHOD_LABELS[name] + (" (white)" if name == "background" else "")) for name in methods]
    figure.legend(handles=[*marks, *lines], loc="outside lower center", ncols=(len(marks) + len(lines) + 1) // 2,
                  columnspacing=1.2, handletextpad=0.5)
