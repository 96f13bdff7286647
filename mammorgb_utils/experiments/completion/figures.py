"""Pictures of completed breasts, ranks of the truth among them, and how often each set points to the right breast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.stats import binom

from mammorgb_utils.experiments.completion.tables import ANATOMY, MEASURES, Seen, known_values, ranks
from mammorgb_utils.experiments.completion.views import (
    ANEW,
    COMPLETED,
    GIVEN,
    MEAN,
    MIRRORED,
    NEAREST,
    UNCONDITIONAL,
    Asked,
)
from mammorgb_utils.output import style
from mammorgb_utils.protocol import VIEWS, Protocol

NAMES = {ANEW: "Same phantom, exposed anew", ANATOMY: "Measured anatomy of the given view",
         "loss": "Model's own loss, without sampling", COMPLETED: "Completed", NEAREST: "Nearest training breasts",
         GIVEN: "Given view itself", MIRRORED: "Given view, turned over", UNCONDITIONAL: "Drawn beside nothing",
         MEAN: "Mean training view"}
_TITLES = {"area": "Area", "nipple_line": "Nipple line", "centroid": "Depth of density", "dense": "Dense share",
           "mass_depth": "Brightest spot"}
_LOOKS = (("o", "sum"), ("s", "absdiff"))  # of the two directions: marker, and the set whose colour it has
_SHOWN = 5  # breasts in the gallery
_DRAWS = 4  # completed views of each


@style.styled
def gallery(directions: Sequence[Asked], first: int = 0) -> Figure:
    """Given view, true other view, and the first views that were drawn beside it, of some breasts, not chosen.

    Args:
        directions: Of the same breasts.
        first: Which of them is shown first.
    """
    rows = min(_SHOWN, len(directions[0].rows) - first)
    draws = min(_DRAWS, directions[0].views[COMPLETED].shape[1])
    figure = style.new_figure(style.DOUBLE_COLUMN, 4.0 + 15.3 * max(rows, 1))
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    halves = figure.subfigures(1, len(directions), wspace=0.03)
    for half, asked in zip(np.atleast_1d(halves), directions, strict=True):
        grid, place = half.subplots(max(rows, 1), 2 + draws, squeeze=False), VIEWS.index(asked.given)
        for row, line in enumerate(grid):
            for column, axes in enumerate(line):
                style.bare(axes, frame=style.QUIET if column < 2 else style.COLOURS["absdiff"])
                if row < rows:
                    axes.imshow(asked.true[first + row, (place, 1 - place)[column]] if column < 2
                                else asked.views[COMPLETED][first + row, column - 2], vmin=0, vmax=1)
        for axes, title in zip(grid[0], [f"given {asked.given}", f"true {asked.asked}", "completed"], strict=False):
            axes.set_title(title, fontsize=6)
    return figure


@style.styled
def rank_histograms(directions: Sequence[Seen], protocol: Protocol) -> Figure:
    """Rank of the true value among those of a breast's drawn views; even where they say as much as they may.

    A row a direction, a column a measure: bars of completed views, a line of phantoms exposed anew, which should be
    even, and the band in which 95 % of even histograms have a bar.
    """
    figure = style.new_figure(style.DOUBLE_COLUMN, 34.0 * len(directions) + 8.0)
    grid = figure.subplots(len(directions), len(MEASURES), sharex=True, sharey="row", squeeze=False)
    for line, seen in zip(grid, directions, strict=True):
        for axes, measure in zip(line, MEASURES, strict=True):
            _ranks(axes, seen, measure, protocol)
        line[0].set_ylabel(f"{seen.asked.direction}\nbreasts")
    for axes, measure in zip(grid[0], MEASURES, strict=True):
        axes.set_title(_TITLES[measure])
    grid[-1][len(MEASURES) // 2].set_xlabel("Drawn views below the truth")
    figure.legend(handles=[Patch(color=style.COLOURS["absdiff"], label="Completed"),
                           Line2D([], [], color=style.EDGE, label=NAMES[ANEW]),
                           Patch(color=style.BAND, label="95 % of even ranks")], loc="outside lower center", ncols=3)
    return figure


def _ranks(axes: Axes, seen: Seen, measure: str, protocol: Protocol) -> None:
    for name in (COMPLETED, ANEW):
        true, values = known_values(seen.true(measure), seen.sets[name].values(measure))
        draws = values.shape[1]
        if not len(true):
            continue
        counts = np.bincount(ranks(true, values, protocol.seed), minlength=draws + 1)
        if name == COMPLETED:
            low, high = binom.interval(0.95, len(true), 1.0 / (draws + 1))
            axes.axhspan(low, high, color=style.BAND, linewidth=0, zorder=0)
            axes.bar(np.arange(draws + 1), counts, width=0.8, color=style.COLOURS["absdiff"], zorder=2)
        else:
            axes.stairs(counts, np.arange(draws + 2) - 0.5, color=style.EDGE, linewidth=0.9, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


@style.styled
def retrieval(table: pd.DataFrame, loss: pd.Series | None = None) -> Figure:
    """How often each set's views point to the true one among strangers', and how far masks agree with the true one.

    Args:
        table: Of `retrieval_table`, both directions.
        loss: The row of `pairing_gain` that says how often the model's own loss picks the own MLO among as many.
    """
    figure = style.new_figure(style.DOUBLE_COLUMN, 76.0)
    picks, overlaps = figure.subplots(1, 2, sharey=True)
    names = [name for name in NAMES if name in set(table["set"]) or (name == "loss" and loss is not None)]
    directions = list(dict.fromkeys(table["direction"]))
    for number, direction in enumerate(directions):
        rows = table[table["direction"] == direction].set_index("set")
        for axes, columns in ((picks, ("accuracy", "low", "high")), (overlaps, ("iou_median", "iou_low", "iou_high"))):
            for place, name in enumerate(names):
                if name in rows.index:
                    _interval(axes, place + 0.28 * (number - (len(directions) - 1) / 2),
                              rows.loc[name, list(columns)], number)
    if loss is not None and pd.notna(loss["top1_relative"]):
        _interval(picks, names.index("loss"), loss[["top1_relative", "top1_relative_low", "top1_relative_high"]], 0,
                  fill="white")
    picks.axvline(float(table["chance"].mean()), **style.DASHED)
    picks.set_yticks(range(len(names)), [NAMES[name] for name in names])
    picks.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, None),
              xlabel=f"Own view picked among {table['k'].max():.0f} of like area and density")
    overlaps.set(xlabel="IoU of the mask with the true view's, median")
    for axes in (picks, overlaps):
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.06)
    picks.xaxis.set_major_formatter(PercentFormatter(1.0))
    handles = [Line2D([], [], linestyle="", label=direction, **_mark(number))
               for number, direction in enumerate(directions)]
    figure.legend(handles=[*handles, Line2D([], [], label="Chance", **style.DASHED)], loc="outside lower center",
                  ncols=len(handles) + 1)
    style.panel_letters((picks, overlaps))
    return figure


def _interval(axes: Axes, place: float, values: pd.Series, number: int, **more) -> None:
    middle, low, high = (float(value) for value in values)
    if np.isfinite(middle):
        axes.hlines(place, low, high, color=style.EDGE, linewidth=0.9, zorder=2)
        look = _mark(number) | ({"color": more["fill"]} if more else {})
        axes.plot(middle, place, linestyle="", zorder=3, clip_on=False, **look)


def _mark(number: int) -> dict[str, object]:
    marker, colour = _LOOKS[number]
    return style.mark(colour) | {"marker": marker}
