"""Figure of cross-view consistency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mammorgb_utils.evaluation.statistics.figures import MEASURES, rows_of
from mammorgb_utils.output.style import (
    COLOURS,
    DOUBLE_COLUMN,
    EDGE,
    LABELS,
    MARKERS,
    QUIET,
    new_figure,
    panel_letters,
    present_sets,
    styled,
)


@styled
def consistency(table: pd.DataFrame, *, references: Sequence[float] = (0.7, 1.0), measure: str = "iou") -> Figure:
    """Whether the two views of a pair belong together, beyond what any two views share.

    Args:
        table: One row a set: `set`, `paired_median`, `shuffled_median`, `score`, `score_low`, `score_high`
            (paired − shuffled, synthetic over real; NaN for real, whose score is 1 by definition).
        measure: Whose medians these are, a key of `MEASURES`; of a table with a column `measure` these rows are
            drawn.
        references: Scores marked by a vertical line: the target, and 1 = as consistent as real.

    Returns:
        Paired beside shuffled medians, and the score with its interval.
    """
    table = rows_of(table, measure, ("paired_median", "shuffled_median", "score", "score_low", "score_high"))
    table = table.set_index("set").loc[present_sets(table["set"])]
    figure = new_figure(DOUBLE_COLUMN, 24.0 + 7.5 * len(table))
    panels = figure.subplots(1, 2, sharey=True)
    for y, (name, row) in enumerate(table.iterrows()):
        _dumbbell(panels[0], row, str(name), y)
        _score(panels[1], row, str(name), y)
    for reference in references:
        panels[1].axvline(reference, color=QUIET, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        panels[1].annotate(f"{reference:g}", (reference, 1), xycoords=("data", "axes fraction"), ha="center",
                           va="bottom", fontsize=6.5, color=QUIET)
    panels[0].set_yticks(range(len(table)), [LABELS[name] for name in table.index])
    panels[0].set(xlabel=f"Median {MEASURES[measure]} of CC and MLO mask", ylim=(len(table) - 0.4, -0.6))
    panels[1].set_xlabel("Consistency score: (paired − shuffled), synthetic over real")
    panels[0].margins(x=0.2)
    for axes in panels:
        axes.tick_params(axis="y", length=0)
    handles = [Line2D([], [], linestyle="", marker="o", color=EDGE, markersize=4.5, label="paired"),
               Line2D([], [], linestyle="", marker="o", color="white", markeredgecolor=EDGE, markersize=4.5,
                      label="shuffled")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    panel_letters(panels)
    return figure


def _dumbbell(axes: Axes, row: pd.Series, name: str, y: int) -> None:
    if row[["paired_median", "shuffled_median"]].isna().any():
        return
    axes.plot([row["shuffled_median"], row["paired_median"]], [y, y], color=QUIET, linewidth=0.9, zorder=1)
    style = {"marker": MARKERS[name], "markersize": 5, "markeredgewidth": 0.8}
    axes.plot(row["shuffled_median"], y, color="white", markeredgecolor=EDGE, **style)
    axes.plot(row["paired_median"], y, color=COLOURS[name], markeredgecolor=EDGE, **style)
    outward = 1 if row["paired_median"] >= row["shuffled_median"] else -1
    for column, side in (("shuffled_median", -outward), ("paired_median", outward)):
        axes.annotate(f"{row[column]:.3f}", (row[column], y), xytext=(6 * side, 0), textcoords="offset points",
                      ha="left" if side > 0 else "right", va="center", fontsize=6)


def _score(axes: Axes, row: pd.Series, name: str, y: int) -> None:
    if np.isnan(row["score"]):
        return
    axes.plot([row["score_low"], row["score_high"]], [y, y], color=EDGE, linewidth=1.1, solid_capstyle="butt")
    axes.plot(row["score"], y, marker=MARKERS[name], markersize=5, color=COLOURS[name], markeredgecolor=EDGE,
              markeredgewidth=0.8, zorder=5)
    axes.annotate(f"{row['score']:.2f}", (row["score"], y), xytext=(0, 5), textcoords="offset points", ha="center",
                  fontsize=6)
