"""The figure of the reader study."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from mammorgb_utils.experiments.readers.questions import ARTEFACTS, SCALE
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

_DASHED = {"color": QUIET, "linewidth": 0.8, "linestyle": (0, (3, 2)), "zorder": 1}
_LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))  # one a reader, round and round


@styled
def reader_study(readings: pd.DataFrame, table: pd.DataFrame, rates: pd.DataFrame) -> Figure:
    """What readers could tell.

    Args:
        readings: From `read_results`; where any is simulated, the figure says so.
        table: From `score_readers`.
        rates: From `artefact_rates`.

    Returns:
        ROC curve of each reader's signed confidence; how often each set was called synthetic, with Wilson intervals;
        consistency ratings by set, all readers together; artefacts in real and in all synthetic pairs, a line a
        reader, with Wilson intervals.
    """
    figure = new_figure(DOUBLE_COLUMN, 145.0)
    grid = figure.subplots(2, 2, height_ratios=(1, 1.25))
    first = readings[readings["repeat_of"] == ""]
    sets, readers = present_sets(first["set"]), sorted(first["reader"].unique())
    _roc(grid[0, 0], first, table, readers)
    _called(grid[0, 1], table, sets, readers)
    _consistency(grid[1, 0], first, sets)
    _artefacts(grid[1, 1], rates, readers)
    handles = [Line2D([], [], linestyle="", marker=_marker(name)[0], color=_marker(name)[1], markeredgecolor=EDGE,
                      markeredgewidth=0.6, markersize=5, label=LABELS.get(name, "All synthetic"))
               for name in (*sets, "synthetic")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    if readings["simulated"].any():
        figure.suptitle("Simulated answers: no reader has seen these images", fontweight="bold")
    panel_letters(grid.flat)
    return figure


def _roc(axes: Axes, first: pd.DataFrame, table: pd.DataFrame, readers: list[str]) -> None:
    areas = table[(table["measure"] == "AUC") & (table["set"] == "")].set_index("reader")
    cuts = [*range(-SCALE[-1], 0), *range(1, SCALE[-1] + 2)]
    for number, reader in enumerate(readers):
        mine = first[first["reader"] == reader]
        real, fake = (mine.loc[mine["synthetic"] == which, "score"].to_numpy() for which in (False, True))
        curve = np.array([[(values >= cut).mean() if values.size else np.nan for cut in cuts]
                          for values in (real, fake)])
        label = reader
        if reader in areas.index:
            label = "{}: AUC {:.2f} ({:.2f} to {:.2f})".format(reader, *areas.loc[reader, ["estimate", "low", "high"]])
        axes.plot(*curve, marker="o", markersize=2.5, color=EDGE, linestyle=_LINES[number % len(_LINES)], label=label,
                  clip_on=False)
    axes.plot([0, 1], [0, 1], **_DASHED)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Real pairs called synthetic", ylabel="Synthetic pairs called synthetic")
    axes.legend(loc="lower right", handlelength=2.2)


def _called(axes: Axes, table: pd.DataFrame, sets: list[str], readers: list[str]) -> None:
    called = table[table["measure"] == "called synthetic"].set_index(["set", "reader"])
    for x, name in enumerate(sets):
        for number, reader in enumerate(readers):
            row = called.loc[(name, reader)]
            _dot(axes, x + _shift(number, len(readers), 0.5), row["estimate"], row, name, upright=True)
    axes.axhline(0.5, **_DASHED)
    axes.set_xticks(range(len(sets)), [LABELS[name].replace(" ", "\n") for name in sets])
    axes.set(xlim=(-0.5, len(sets) - 0.5), ylim=(0, 1), ylabel="Called synthetic")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _consistency(axes: Axes, first: pd.DataFrame, sets: list[str]) -> None:
    greys = colormaps["Greys"](np.linspace(0.1, 0.85, len(SCALE)))
    for y, name in enumerate(sets):
        ratings = first.loc[first["set"] == name, "consistency"]
        shares = ratings.value_counts(normalize=True).reindex(SCALE, fill_value=0)
        left = 0.0
        for point, share, colour in zip(SCALE, shares, greys, strict=True):
            axes.barh(y, share, left=left, height=0.62, color=colour, edgecolor=EDGE, linewidth=0.5,
                      label=str(point) if y == 0 else None)
            left += share
    axes.set_yticks(range(len(sets)), [LABELS[name].replace(" ", "\n") for name in sets])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="Ratings of consistency, 1 (surely not one breast) to 5 (surely one)")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(SCALE), handlelength=1.2, columnspacing=1.2)


def _artefacts(axes: Axes, rates: pd.DataFrame, readers: list[str]) -> None:
    kinds = [*ARTEFACTS, "any"]
    places = [(name, reader) for name in ("real", "synthetic") for reader in readers if name in set(rates["set"])]
    rates = rates.set_index(["set", "reader", "artefact"])
    for y, kind in enumerate(kinds):
        for number, (name, reader) in enumerate(places):
            row = rates.loc[(name, reader, kind)]
            _dot(axes, y + _shift(number, len(places), 0.85), row["rate"], row, name, upright=False)
    axes.set_yticks(range(len(kinds)), [*(label for label, _ in ARTEFACTS.values()), "Any"])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("Pairs in which it was seen")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _dot(axes: Axes, place: float, value: float, row: pd.Series, name: str, *, upright: bool) -> None:
    """An estimate with its interval, along either axis."""
    low, high = float(row["low"]), float(row["high"])
    line, dot = ([place] * 2, [low, high]), (place, value)
    if not upright:
        line, dot = line[::-1], dot[::-1]
    marker, colour = _marker(name)
    axes.plot(*line, color=EDGE if name == "synthetic" else colour, linewidth=1.1, zorder=3)
    axes.plot(*dot, marker=marker, markersize=4.5, color=colour, markeredgecolor=EDGE, markeredgewidth=0.6, zorder=5,
              clip_on=False)


def _marker(name: str) -> tuple[str, str]:
    """Marker and fill of a set; all synthetic sets together are open."""
    return (MARKERS[name], COLOURS[name]) if name in MARKERS else ("p", "white")


def _shift(number: int, count: int, room: float) -> float:
    return room * ((number + 0.5) / count - 0.5)
