"""Figure of cross-view consistency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mammorgb_utils.evaluation.consistency.profiles import LIKE_AREA, OWN, SHUFFLED
from mammorgb_utils.evaluation.statistics.figures import MEASURES, remark, rows_of
from mammorgb_utils.output import style

_PAIRING_MARKERS = {OWN: "o", SHUFFLED: "v", LIKE_AREA: "d"}
_DELTA_MARKERS = {"emd": "o", "jsd": "s"}

@style.styled
def consistency(table: pd.DataFrame, *, references: Sequence[float] = (0.7, 1.0), measure: str = "iou") -> Figure:
    """Whether the two views of a pair belong together, beyond what any two views share.

    Args:
        table: From `consistency_table`.
        measure: Whose medians these are, a key of `MEASURES`; of a table with a column `measure` these rows are
            drawn.
        references: Scores marked by a vertical line: the target, and 1 = as consistent as real.

    Returns:
        Paired beside shuffled medians, and the score with its interval.
    """
    table = rows_of(table, measure, ("paired_median", "shuffled_median", "score", "score_low", "score_high"))
    table = table.set_index("set").loc[style.present_sets(table["set"])]
    figure = style.new_figure(style.DOUBLE_COLUMN, 24.0 + 7.5 * len(table))
    medians, scores = panels = figure.subplots(1, 2, sharey=True)
    for y, (name, row) in enumerate(table.iterrows()):
        mark = style.mark(name, 5) | {"markeredgewidth": 0.8}
        if row[["paired_median", "shuffled_median"]].notna().all():
            _dumbbell(medians, row["paired_median"], row["shuffled_median"], y, mark)
        if not np.isnan(row["score"]):
            scores.plot([row["score_low"], row["score_high"]], [y, y], color=style.EDGE, linewidth=1.1,
                        solid_capstyle="butt")
            scores.plot(row["score"], y, zorder=5, **mark)
            remark(scores, f"{row['score']:.2f}", (row["score"], y), (0, 5), ha="center", va="baseline")
    for reference in references:
        scores.axvline(reference, color=style.QUIET, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        remark(scores, f"{reference:g}", (reference, 1), (0, 0), xycoords=("data", "axes fraction"), ha="center",
               va="bottom", fontsize=6.5, color=style.QUIET)
    medians.set_yticks(range(len(table)), [style.LABELS[name] for name in table.index])
    medians.set(xlabel=f"Median {MEASURES[measure]} of CC and MLO mask", ylim=(len(table) - 0.4, -0.6))
    medians.margins(x=0.2)
    scores.set_xlabel("Consistency score: (paired − shuffled), synthetic over real")
    for axes in panels:
        axes.tick_params(axis="y", length=0)
    handles = [Line2D([], [], linestyle="", marker="o", color=colour, markeredgecolor=style.EDGE, markersize=4.5,
                      label=label) for label, colour in (("paired", style.EDGE), ("shuffled", "white"))]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    style.panel_letters(panels)
    return figure


@style.styled
def profile_distances(table: pd.DataFrame) -> Figure:
    """MammoFlow's profile distance of own and of strangers' views, and by how much own pairs differ from real ones.

    Args:
        table: From `profile_table`.
    """
    sets = style.present_sets(table["set"])
    figure = style.new_figure(style.DOUBLE_COLUMN, 28.0 + 11.0 * len(sets))
    means, deltas = panels = figure.subplots(1, 2, sharey=True)
    by = table.set_index(["set", "pairing", "measure"])
    for y, name in enumerate(sets):
        for number, (pairing, marker) in enumerate(_PAIRING_MARKERS.items()):
            if (name, pairing, "emd") in by.index:
                _profile_mark(means, by.loc[(name, pairing, "emd")], y + 0.25 * (number - 1), marker, name)
        for number, (measure, marker) in enumerate(_DELTA_MARKERS.items()):
            row, place = by.loc[(name, OWN, measure)], y + 0.25 * (number - 0.5)
            deltas.plot([row["delta_low"], row["delta_high"]], [place] * 2, color=style.EDGE, linewidth=0.8)
            deltas.plot(row["delta"], place, **style.mark(name) | {"marker": marker})
    deltas.axvline(0.0, **style.DASHED)
    means.set_yticks(range(len(sets)), [style.LABELS[name] for name in sets])
    means.set(xlabel="Profile EMD (share of the depth), mean with 95 % interval", ylim=(len(sets) - 0.4, -0.6))
    means.set_xlim(0, None)
    deltas.set_xlabel("Own pairs: difference to real (%), with 95 % interval")
    for axes in panels:
        axes.tick_params(axis="y", length=0)
    shown = [("o", style.QUIET, "own pairs, EMD"), ("v", style.QUIET, "strangers"),
             ("d", style.QUIET, "strangers of like area"), ("o", style.BAND, "pale: without alignment"),
             ("s", style.QUIET, "own pairs, divergence")]
    figure.legend(handles=[Line2D([], [], linestyle="", marker=marker, color=colour, markersize=4, label=label)
                           for marker, colour, label in shown], loc="outside lower center", ncols=len(shown))
    style.panel_letters(panels)
    return figure


def _profile_mark(axes: Axes, row: pd.Series, y: float, marker: str, name: str) -> None:
    axes.plot([row["mean_low"], row["mean_high"]], [y, y], color=style.EDGE, linewidth=0.8)
    axes.plot(row["as_is"], y, marker=marker, color=style.BAND, markersize=4, zorder=1)
    axes.plot(row["mean"], y, **style.mark(name) | {"marker": marker})


def _dumbbell(axes: Axes, paired: float, shuffled: float, y: int, mark: dict) -> None:
    axes.plot([shuffled, paired], [y, y], color=style.QUIET, linewidth=0.9, zorder=1)
    axes.plot(shuffled, y, **{**mark, "color": "white"})
    axes.plot(paired, y, **mark)
    outward = 1 if paired >= shuffled else -1
    for value, side in ((shuffled, -outward), (paired, outward)):
        remark(axes, f"{value:.3f}", (value, y), (6 * side, 0), ha="left" if side > 0 else "right")
