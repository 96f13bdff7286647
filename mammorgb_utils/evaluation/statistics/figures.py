"""Figures of the results: what a distance is, distances beside their nulls, contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mammorgb_utils.evaluation.statistics.distances import emd, ks
from mammorgb_utils.output import style

MEASURES = {"iou": "IoU", "dsc": "DSC", "iou_no_muscle": "IoU without muscle", "dsc_no_muscle": "DSC without muscle"}
STATISTICS = {"emd": "Earth mover's distance to real (IoU or DSC)", "ks": "KS statistic against real (0 to 1)"}
_PAPER = {"marker": "*", "markersize": 8, "color": "white", "markeredgecolor": style.EDGE}
_FLOOR = {"color": style.EDGE, "linewidth": 1.0, "linestyle": (0, (1, 1))}


@style.styled
def distribution_functions(overlap: pd.DataFrame, name: str, *, measure: str = "iou") -> Figure:
    """What EMD and KS measure, on two sets: the area between their distribution functions, and the widest gap.

    Args:
        overlap: One row a pair of every set: `set` and the measure; NaN is left out.
        name: The set that is held against `real`.
        measure: A key of `MEASURES`.
    """
    sets = {key: overlap.loc[overlap["set"] == key, measure].dropna().to_numpy() for key in ("real", name)}
    grid = np.sort(np.concatenate(list(sets.values())))
    real, other = (np.searchsorted(np.sort(values), grid, side="right") / values.size for values in sets.values())
    widest = np.argmax(np.abs(real - other))
    figure = style.new_figure(style.DOUBLE_COLUMN, 70.0)
    axes = figure.subplots()
    axes.fill_between(grid, real, other, step="post", color=style.BAND, linewidth=0,
                      label=f"EMD {emd(*sets.values()):.3f}, the shaded area")
    for key, values in sets.items():
        sns.ecdfplot(x=values, ax=axes, color=style.COLOURS[key], linestyle=style.LINES[key],
                     label=f"{style.LABELS[key]}, n = {values.size}")
    axes.plot([grid[widest]] * 2, [real[widest], other[widest]], color="#B3261E", linewidth=2.0, marker="_",
              markersize=6, zorder=5, label=f"KS {ks(*sets.values()):.3f}, the widest gap")
    axes.set(xlabel=MEASURES[measure], ylabel="Share of pairs at or below", ylim=(0, 1))
    axes.legend(loc="upper left")
    return figure


@style.styled
def distances(table: pd.DataFrame, paper: Mapping[str, float] | None = None) -> Figure:
    """Distances of the synthetic sets to real, each beside what chance alone gives.

    Args:
        table: From `distance_table`.
        paper: The paper's figure for each statistic, drawn as an open marker in a row of its own.

    Returns:
        A panel a statistic, a row a measure and set.
    """
    shown = [name for name in STATISTICS if (table["statistic"] == name).any()]
    known = [name for name in MEASURES if (table["measure"] == name).any()]
    sets = style.present_sets(table["set"])
    rows = [(measure, name) for measure in known for name in sets]
    figure = style.new_figure(style.DOUBLE_COLUMN, 26.0 + 5.2 * (len(rows) + len(known)))
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    positions = {row: index + 0.7 * known.index(row[0]) + 1.2 for index, row in enumerate(rows)}
    for axes, statistic in zip(panels, shown, strict=True):
        for row in table[table["statistic"] == statistic].to_dict("records"):
            _distance(axes, row, positions[row["measure"], row["set"]])
        if paper and statistic in paper:
            axes.plot(paper[statistic], 0, zorder=6, **_PAPER)
            remark(axes, f"{paper[statistic]:.3f}", (paper[statistic], 0), (6, 0))
        axes.set_xlabel(STATISTICS[statistic])
        axes.margins(x=0.25)  # room for p
        axes.set_xlim(0, None)
        axes.tick_params(axis="y", length=0)
    labels = {y: f"{MEASURES[measure]} · {style.LABELS[name]}" for (measure, name), y in positions.items()}
    labels |= {0.0: "Paper (encoding not stated)"} if paper else {}
    panels[0].set_yticks(list(labels), list(labels.values()))
    panels[0].set_ylim(max(positions.values()) + 0.7, -0.7 if paper else 0.5)
    handles = [Line2D([], [], linestyle="", label=style.LABELS[name], **style.mark(name)) for name in sets]
    handles.append(Patch(facecolor=style.BAND, edgecolor=style.QUIET,
                         label="Null band and median (labels permuted; p unadjusted)"))
    if table["floor_median"].notna().any():
        handles.append(Line2D([], [], label="Real against real, median", **_FLOOR))
    if paper:
        handles.append(Line2D([], [], linestyle="", label="Paper", **_PAPER))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3))
    style.panel_letters(panels)
    return figure


def _distance(axes: Axes, row: Mapping[str, Any], y: float) -> None:
    note = row["note"] if isinstance(row.get("note"), str) else ""
    value, low, high = row["value"], row["band_low"], row["band_high"]
    if np.isnan(value):
        remark(axes, note or "not computed", (0, y))
        return
    axes.barh(y, high - low, left=low, height=0.62, color=style.BAND, edgecolor=style.QUIET, linewidth=0.4)
    axes.plot([row["band_median"]] * 2, [y - 0.31, y + 0.31], color=style.QUIET, linewidth=1.2)
    if not np.isnan(row["floor_median"]):
        axes.plot([row["floor_median"]] * 2, [y - 0.42, y + 0.42], **_FLOOR)
    axes.plot(value, y, zorder=5, **style.mark(row["set"]))
    remark(axes, ", ".join(filter(None, (style.format_p(row["p"]), note))), (np.nanmax([value, high]), y))


@style.styled
def contrasts(table: pd.DataFrame, *, measure: str = "iou") -> Figure:
    """Forest plot of the encodings against each other.

    Args:
        table: From `contrast_table`. A note that all rows share stands once, below.
        measure: What is compared, a key of `MEASURES`; of a table with a column `measure` these rows are drawn.

    Returns:
        Cliff's delta with interval; above 0 the first set tends to the larger values.
    """
    table = rows_of(table, measure, ("cliffs_delta", "low", "high", "p_holm", "note"))
    notes = [note if isinstance(note, str) else "" for note in table["note"]]
    shared = "" if len(set(notes)) > 1 else notes[0] if notes else "one encoding alone: nothing to compare"
    figure = style.new_figure(style.DOUBLE_COLUMN, 22.0 + 8.0 * len(table))
    axes = figure.subplots()
    axes.axvline(0, color=style.QUIET, linewidth=0.8, linestyle=(0, (1, 2)))
    for y, row in enumerate(table.itertuples()):
        axes.plot([row.low, row.high], [y, y], color=style.EDGE, linewidth=1.1, solid_capstyle="butt")
        axes.plot(row.cliffs_delta, y, marker="o", markersize=5, color=style.EDGE, zorder=5)
        text = ("not computed" if np.isnan(row.cliffs_delta) else f"{row.cliffs_delta:+.2f} [{row.low:+.2f}, "
                f"{row.high:+.2f}]   {style.format_p(row.p_holm)}".replace("-", "−"))
        remark(axes, text + ("" if shared or not notes[y] else f"\n{notes[y]}"), (1.0, y), (4, 0), fontsize=6.5,
               xycoords=("axes fraction", "data"))
    labels = [f"{style.LABELS[row.first]} against {style.LABELS[row.second].lower()}" for row in table.itertuples()]
    axes.set_yticks(range(len(table)), labels)
    axes.set(xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1), ylim=(len(table) - 0.4, -0.6), xlabel="Cliff's delta of "
             f"{MEASURES[measure]} (below 0: the second has the larger values · above 0: the first)")
    axes.tick_params(axis="y", length=0)
    remark(axes, "δ [interval]   p after Holm", (1, 1), (4, 3), fontsize=6.5, xycoords="axes fraction",
           color=style.QUIET, va="baseline")
    if shared:
        figure.supxlabel(shared, fontsize=6.5, color=style.QUIET)
    return figure


def rows_of(table: pd.DataFrame, measure: str, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of one measure; columns that no row could fill are there, empty."""
    rows = table[table["measure"] == measure] if "measure" in table else table
    return rows.reindex(columns=list(dict.fromkeys([*rows.columns, *columns])))


def remark(axes: Axes, text: str, point: tuple[float, float], offset: tuple[float, float] = (5, 0),
           **options: Any) -> None:
    """Small text beside a point, `offset` in points."""
    axes.annotate(text, point, **{"xytext": offset, "textcoords": "offset points", "va": "center", "fontsize": 6,
                                  **options})
