"""Figures of anatomy: agreement of the two views beyond their silhouettes, and the match test."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mammorgb_utils.output import style

MEASURE_LABELS = {"area": "Breast area", "nipple_line": "Nipple line", "centroid": "Depth of density centroid",
                  "profile": "Depth profile", "dense": "Dense-area share", "mass_depth": "Depth of brightest blob",
                  "third_sum": "Third channel: sum", "third_absdiff": "Third channel: abs. difference",
                  "third_zero": "Third channel: zero"}
NULL_LABELS = {"global": "against any stranger", "strata": "against strangers of like area and density"}
_SCORE_RANGE = (-0.75, 2.0)  # scores and intervals beyond it are cut, with an arrow


@style.styled
def anatomy_consistency(table: pd.DataFrame) -> Figure:
    """What pairing adds in every measure of anatomy, and the share of the real gain that synthetic pairs reach.

    Args:
        table: From `anatomy_table`. Measures whose `valid` is `no` are drawn pale and marked.

    Returns:
        Disagreement of a pair's own views over that of strangers' (1: no better than strangers), and for each null the
        score with its interval.
    """
    measures = [name for name in MEASURE_LABELS if name in set(table["measure"])]
    names = style.present_sets(table["set"])
    figure = style.new_figure(style.DOUBLE_COLUMN, 34.0 + 11.0 * len(measures))
    panels = figure.subplots(1, 3, sharey=True)
    for _, row in table[table["measure"].isin(measures)].iterrows():
        y = measures.index(row["measure"]) + 0.19 * (names.index(row["set"]) - (len(names) - 1) / 2)
        if row["null"] == "global":
            _ratio(panels[0], row, y)
        _score(panels[1 + (row["null"] == "strata")], row, y)
    invalid = set(table.loc[table["valid"] == "no", "measure"])
    panels[0].set_yticks(range(len(measures)), [MEASURE_LABELS[m] + (" †" if m in invalid else "") for m in measures])
    panels[0].set(ylim=(len(measures) - 0.4, -0.6), xlim=(-0.06, None), xlabel="Own over strangers' disagreement")
    for axes, null in zip(panels[1:], NULL_LABELS, strict=True):
        axes.set(xlim=_SCORE_RANGE, xlabel="Score (real = 1)\n" + NULL_LABELS[null].replace(" of ", "\nof "))
        axes.axvline(0.0, color=style.QUIET, linewidth=0.5, zorder=0)
    for axes in panels:
        axes.axvline(1.0, color=style.QUIET, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        axes.tick_params(axis="y", length=0)
        for y in range(len(measures) - 1):
            axes.axhline(y + 0.5, color=style.QUIET, linewidth=0.2, zorder=0)
    handles = [_marker(name) for name in names]
    if invalid:
        handles.append(Line2D([], [], linestyle="", label="† pale: doesn't agree with the phantoms' truth"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    style.panel_letters(panels)
    return figure


@style.styled
def match_test(table: pd.DataFrame) -> Figure:
    """How often a CC's own MLO is picked among K, from `match_table`.

    Returns:
        A panel a null: accuracy by K with its interval, by anatomy (filled) and by area alone (open), and chance.
    """
    names, ks = style.present_sets(table["set"]), sorted(table["k"].dropna().astype(int).unique())
    figure = style.new_figure(style.DOUBLE_COLUMN, 76.0)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, null in zip(panels, NULL_LABELS, strict=True):
        for (name, features), rows in table[table["null"] == null].groupby(["set", "features"], sort=False):
            if name in names:
                _accuracy(axes, rows, name, features == "anatomy", ks, names.index(name) - (len(names) - 1) / 2)
        axes.plot(range(len(ks)), [1 / k for k in ks], color=style.QUIET, linestyle=(0, (1, 2)), linewidth=0.9)
        axes.set_xticks(range(len(ks)), ks)
        axes.set(xlabel=f"Candidates K, {NULL_LABELS[null].removeprefix('against ')}", ylim=(0, 1))
    panels[0].set_ylabel("Own MLO picked (share of CC views)")
    handles = [*map(_marker, names), Line2D([], [], linestyle="", marker="o", color="white", markeredgecolor=style.EDGE,
                                            markersize=4, label="Open: by area alone"),
               Line2D([], [], color=style.QUIET, linestyle=(0, (1, 2)), label="Chance")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    style.panel_letters(panels)
    return figure


def _marker(name: str) -> Line2D:
    return Line2D([], [], linestyle="", label=style.LABELS[name], **style.mark(name))


def _pale(row: pd.Series) -> float:
    return 0.3 if row["valid"] == "no" else 1.0


def _ratio(axes: Axes, row: pd.Series, y: float) -> None:
    if row["shuffled"] > 0:
        axes.plot(row["paired"] / row["shuffled"], y, alpha=_pale(row), **style.mark(row["set"], 4))


def _score(axes: Axes, row: pd.Series, y: float) -> None:
    """A score with its interval; without a bound there is none, as real pairing adds nothing that is sure."""
    if not np.isfinite(row["score"]) or not np.isfinite(row["score_low"]):
        return
    low, high = np.clip([row["score_low"], row["score_high"]], *_SCORE_RANGE)
    axes.plot([low, high], [y, y], color=style.EDGE, linewidth=1.0, solid_capstyle="butt", alpha=_pale(row), zorder=2)
    for bound, cut, arrow in ((_SCORE_RANGE[0], row["score_low"] < low, "<"),
                              (_SCORE_RANGE[1], row["score_high"] > high, ">")):
        if cut:
            axes.plot(bound, y, marker=arrow, color=style.EDGE, markersize=3, alpha=_pale(row), clip_on=False)
    if _SCORE_RANGE[0] <= row["score"] <= _SCORE_RANGE[1]:
        axes.plot(row["score"], y, alpha=_pale(row), zorder=3, **style.mark(row["set"], 4))


def _accuracy(axes: Axes, rows: pd.DataFrame, name: str, filled: bool, ks: list[int], place: float) -> None:
    rows = rows.sort_values("k")
    x = np.array([ks.index(int(k)) for k in rows["k"]]) + 0.09 * place
    colour = style.COLOURS[name]
    if filled:
        axes.plot(x, rows["accuracy"], color=colour, linestyle=style.LINES[name], linewidth=1.0, zorder=1)
        axes.vlines(x, rows["low"], rows["high"], color=style.EDGE, linewidth=0.9, zorder=2)
    axes.plot(x, rows["accuracy"], linestyle="", marker=style.MARKERS[name], markersize=4.5 if filled else 3.5,
              color=colour if filled else "white", markeredgecolor=style.EDGE if filled else colour, zorder=3)
