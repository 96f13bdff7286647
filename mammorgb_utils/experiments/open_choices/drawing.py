"""Figure of the map of open choices."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mammorgb_utils.evaluation.masks.figures import METHOD_LABELS
from mammorgb_utils.experiments.open_choices.choices import FIELDS, NOT_RUN
from mammorgb_utils.output import style

_PANELS = {"real_median": "Real: median IoU", "shift": "Synthetic − real: IoU", "gain": "Paired − shuffled: IoU"}
_OFFSETS = {"real": -0.24, "sum": -0.08, "absdiff": 0.08, "zero": 0.24}
_REACH = 3.0  # equivalence margins to either side that the map shows


@style.styled
def figure(table: pd.DataFrame, *, margin: float) -> Figure:
    """How far each open choice of `open_choices` moves the main results, beside the equivalence margin of IoU.

    A row a field; in three panels the move of the real median, of the shift between synthetic and real, and of the
    gain of pairing. A mark a choice and set, the farthest one named; bars are the 95 % interval of the choice's own
    value, where the table has one; beyond `_REACH` margins stands an arrow with the value.
    """
    fields = list(dict.fromkeys(table["field"]))
    table = table.assign(place=table["field"].map(fields.index))
    moved = table[table["moved_by"].notna() & (table["choice"] != table["against"])]
    mark = moved["set"].mask(moved["field"] == "third_channel", moved["choice"])
    base = moved["value"] - moved["moved_by"]
    moved = moved.assign(mark=mark, y=moved["place"] + mark.map(_OFFSETS).fillna(0.0), move_low=moved["low"] - base,
                         move_high=moved["high"] - base)
    drawn = style.new_figure(style.DOUBLE_COLUMN, 22.0 + 6.4 * len(fields))
    panels = drawn.subplots(1, len(_PANELS), sharey=True)
    for axes, (result, title) in zip(panels, _PANELS.items(), strict=True):
        rows = moved[moved["result"] == result]
        axes.axvspan(-margin, margin, color=style.BAND, linewidth=0, zorder=0)
        axes.axvline(0.0, color=style.QUIET, linewidth=0.6, zorder=1)
        axes.hlines(rows["y"], rows["move_low"], rows["move_high"], color=style.EDGE, linewidth=0.6, zorder=3)
        for name, part in rows.groupby("mark"):
            axes.plot(part["moved_by"], part["y"], zorder=4, **_style(name))
        axes.set(title=title, xlabel="Moved by [IoU]")
        axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(fields)), [FIELDS.get(field, field) for field in fields])
    panels[0].set_ylim(len(fields) - 0.4, -0.6)
    # One scale for all panels, zero in the middle, so that moves can be compared across them.
    reach = min(max(abs(end) for axes in panels for end in axes.get_xlim()), _REACH * margin)
    for axes, result in zip(panels, _PANELS, strict=True):
        axes.set_xlim(-1.1 * reach, 1.1 * reach)
        for place, rows in moved[moved["result"] == result].groupby("place"):
            _name(axes, place, rows, reach)
    for place, rows in table.groupby("place"):
        _remark(panels, place, rows)
    if (stated := table.loc[~table["open"].astype(bool), "place"]).size:
        for axes in panels:
            axes.axhline(stated.min() - 0.5, color=style.EDGE, linewidth=0.6)
    _legend(drawn, table[table["moved_by"].notna()], margin)
    style.panel_letters(panels)
    return drawn


def _style(name: str) -> dict[str, object]:
    """Mark of a set, or of pairs drawn in an appendix."""
    own = {} if name in style.COLOURS else {"marker": "X", "color": style.QUIET}
    return style.mark(name if not own else "real", 3.8) | {"linestyle": "", "markeredgewidth": 0.4} | own


def _name(axes: Axes, place: int, rows: pd.DataFrame, reach: float) -> None:
    """Arrows at the edge for moves outside, so that one of them doesn't hide all others; the farthest choice's name
    below its mark, towards the middle, where there is room."""
    text = {"textcoords": "offset points", "va": "center", "fontsize": 5.5, "color": style.EDGE, "zorder": 5}
    for move in rows.loc[rows["moved_by"].abs() > reach, "moved_by"]:
        side = np.sign(move)
        axes.plot(side * reach, place, marker=">" if side > 0 else "<", markersize=4.0, color=style.EDGE, zorder=5)
        axes.annotate(f"{move:+.2f}", (side * reach, place), xytext=(-5 * side, 4),
                      ha="right" if side > 0 else "left", **text)
    far = rows.loc[rows["moved_by"].abs().idxmax()]
    side = np.sign(far["moved_by"]) or 1.0
    name = style.format_rate(float(far["choice"])) if far["field"] == "learning_rate" else str(far["choice"])
    axes.annotate(METHOD_LABELS.get(name, style.LABELS.get(name, name)),
                  (np.clip(far["moved_by"], -reach, reach), place), xytext=(2.5 * side, -9),
                  ha="right" if side > 0 else "left", **text)


def _remark(panels: np.ndarray, place: int, rows: pd.DataFrame) -> None:
    """What a row says in words: that nothing was run, or the p-values under each test."""
    if (rows["source"] == NOT_RUN).all():
        said = f"{NOT_RUN}: {rows['choice'].iloc[0]}"
        panels[1].text(0.5, place, said, transform=panels[1].get_yaxis_transform(), ha="center", va="center",
                       color=style.QUIET, fontstyle="italic", fontsize=6.0)
    tests = rows[(rows["result"] == "p") & rows["value"].notna()]
    for axes, (pair, part) in zip(panels, tests.groupby("set", sort=False), strict=False):  # three of each
        low, high = style.format_p(part["value"].min()), style.format_p(part["value"].max())
        shown = low if low == high else f"{low} to {high.removeprefix('p ').removeprefix('= ')}"
        names = " − ".join(style.LABELS[name] for name in pair.split(" − "))
        axes.text(0.5, place, f"{names}\n{shown}", transform=axes.get_yaxis_transform(), ha="center", va="center",
                  fontsize=5.0, color=style.EDGE, zorder=6)


def _legend(figure: Figure, shown: pd.DataFrame, margin: float) -> None:
    names = {name: style.LABELS[name] for name in style.present_sets(shown["set"])}
    names |= {"drawn": "Drawn pairs"} if (shown["set"] == "drawn").any() else {}
    handles = [*(Line2D([], [], label=label, **_style(name)) for name, label in names.items()),
               Patch(facecolor=style.BAND, label=f"Equivalence margin ±{margin:g}")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.0,
                  title="The choice that moves most is named. Below the line: what the paper states.",
                  title_fontproperties={"size": 6.0})
