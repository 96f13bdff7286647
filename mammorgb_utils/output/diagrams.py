"""Figures of a study's course: who is in it, and how training went."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mammorgb_utils.output import style

_LINE, _PAD, _GAP = 3.3, 1.8, 4.5  # of the cohort flow, in mm on paper
_MAIN_X, _MAIN_WIDTH, _SIDE_X, _SIDE_WIDTH = 2.0, 72.0, 92.0, 89.0
_MAIN_CHARACTERS, _SIDE_CHARACTERS = 44, 56
_FAINT = 0.35  # opacity of single steps


@style.styled
def cohort_flow(flow: pd.DataFrame) -> Figure:
    """A flow diagram in the manner of CONSORT: what is left after each step, and why the rest is not.

    Args:
        flow: From `data.cohort_flow`; consecutive rows of one step share its boxes, the last says what is left.
    """
    steps = (flow["step"] != flow["step"].shift()).cumsum()
    stages = [(_left(rows.iloc[-1]), _excluded(rows)) for _, rows in flow.groupby(steps, sort=False)]
    heights = [max(map(_height, stage)) for stage in stages]
    whole = sum(heights) + _GAP * (len(stages) - 1) + 4.0
    figure = style.new_figure(style.DOUBLE_COLUMN, whole)
    figure.set_layout_engine("none")  # everything has its place in mm
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, style.DOUBLE_COLUMN), ylim=(whole, 0))
    axes.axis("off")
    top, above, centre = 2.0, None, _MAIN_X + _MAIN_WIDTH / 2
    for (left, excluded), height in zip(stages, heights, strict=True):
        middle = top + height / 2
        if above is not None:
            _arrow(axes, (centre, above), (centre, middle - _height(left) / 2))
        _box(axes, (_MAIN_X, middle, _MAIN_WIDTH), left, face="white", bold=len(left) - 1, align="center")
        if excluded:
            _box(axes, (_SIDE_X, middle, _SIDE_WIDTH), excluded, face="#F1F1F1", bold=0, align="left")
            _arrow(axes, (_MAIN_X + _MAIN_WIDTH, middle), (_SIDE_X, middle))
        top, above = top + height + _GAP, middle + _height(left) / 2
    return figure


def _left(last: pd.Series) -> list[str]:
    """The lines of the box that says what is left after a step."""
    pairs = "" if pd.isna(last["pairs_left"]) else f", {int(last['pairs_left']):,} pairs"
    lines = textwrap.wrap(str(last["step"])[:1].upper() + str(last["step"])[1:], _MAIN_CHARACTERS)
    return [*lines, f"{int(last['images_left']):,} images{pairs}"]


def _excluded(rows: pd.DataFrame) -> list[str]:
    """The lines of the box beside it; none where nothing was taken out."""
    met = rows[rows["images_excluded"].fillna(0) > 0]
    lines = [f"Excluded: {int(met['images_excluded'].sum()):,} images"] if len(met) else []
    for reason, number in zip(met["reason"], met["images_excluded"], strict=True):
        lines += textwrap.wrap(f"{int(number):,}  {reason}", _SIDE_CHARACTERS, initial_indent="   ",
                               subsequent_indent="        ")
    return lines


def _height(lines: list[str]) -> float:
    return len(lines) * _LINE + 2 * _PAD if lines else 0.0


def _box(axes: Axes, place: tuple[float, float, float], lines: list[str], *, face: str, bold: int, align: str) -> None:
    """A box of lines at (left edge, middle, width)."""
    x, middle, width = place
    y = middle - _height(lines) / 2
    axes.add_patch(Rectangle((x, y), width, _height(lines), facecolor=face, edgecolor=style.EDGE, linewidth=0.7))
    for number, line in enumerate(lines):
        axes.text(x + (width / 2 if align == "center" else _PAD), y + _PAD + (number + 0.5) * _LINE, line, ha=align,
                  va="center", fontweight="bold" if number == bold else "normal")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": style.EDGE, "linewidth": 0.8,
                                              "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6})


@style.styled
def training_curves(stats: Mapping[str, pd.DataFrame], *, max_grad_norm: float | None = None) -> Figure:
    """Loss and gradient norm over the training steps of each encoding.

    Args:
        stats: For each encoding its `stats.jsonl`: columns `step`, `loss`, `grad_norm`, one row a step.
        max_grad_norm: Where gradients are clipped, drawn as a line.
    """
    figure = style.new_figure(style.DOUBLE_COLUMN, 70.0)
    panels = figure.subplots(1, 2)
    shown = style.present_sets(stats)
    window = max((len(stats[name]) // 15 for name in shown), default=0) | 1
    labels = {"loss": "Loss (mean squared error)", "grad_norm": "Gradient norm before clipping"}
    for axes, (column, label) in zip(panels, labels.items(), strict=True):
        for name in shown:
            step, values = stats[name]["step"], stats[name][column]
            axes.plot(step, values, color=style.COLOURS[name], alpha=_FAINT, linewidth=0.5, zorder=1)
            axes.plot(step, values.rolling(window, center=True, min_periods=1).mean(), color=style.COLOURS[name],
                      linestyle=style.LINES[name], linewidth=1.6, label=style.LABELS[name], zorder=3)
        if column == "grad_norm" and max_grad_norm is not None:
            axes.axhline(max_grad_norm, color=style.QUIET, linestyle=(0, (1, 2)), linewidth=0.9, label="clipping")
        axes.set(xlabel="Training step", ylabel=label, xlim=(0, None), ylim=(0, None))
    handles, labels = panels[1].get_legend_handles_labels()
    handles.append(Line2D([], [], color=style.EDGE, alpha=_FAINT, linewidth=0.6))
    figure.legend(handles, [*labels, f"single steps (bold: running mean of {window})"], ncols=len(handles),
                  loc="outside lower center", handlelength=3.2)
    style.panel_letters(panels)
    return figure
