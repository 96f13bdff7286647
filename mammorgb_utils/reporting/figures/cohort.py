"""Figures of who is in the study: cohort flow and galleries of pairs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mammorgb_utils.output.style import DOUBLE_COLUMN, EDGE, QUIET, bare, new_figure, styled

# cohort flow, in mm on paper
_LINE, _PAD, _GAP = 3.3, 1.8, 4.5
_MAIN_X, _MAIN_WIDTH, _SIDE_X, _SIDE_WIDTH = 2.0, 72.0, 92.0, 89.0
_MAIN_CHARACTERS, _SIDE_CHARACTERS = 44, 56


@dataclass
class _Stage:
    """A box of what is left and, beside it, a box of what was taken out to get there."""

    left: list[str]
    excluded: list[str] = field(default_factory=list)

    @property
    def height(self) -> float:
        return max(_height(self.left), _height(self.excluded) if self.excluded else 0.0)


@styled
def cohort_flow(flow: pd.DataFrame) -> Figure:
    """A flow diagram in the manner of CONSORT: what is left after each step, and why the rest is not.

    Args:
        flow: One row a reason, in order: `step`, `reason` (empty when nothing was taken out),
            `images_excluded`, `images_left`, `pairs_left` (NA before images are paired). Consecutive rows
            of one step share its boxes; the last of them says what is left.

    Returns:
        Boxes from top to bottom, exclusions on the right with their counts; reasons nobody met are left out.
    """
    stages = [_stage(step, rows) for step, rows in _by_step(flow)]
    height = sum(stage.height for stage in stages) + _GAP * (len(stages) - 1) + 4.0
    figure = new_figure(DOUBLE_COLUMN, height)
    figure.set_layout_engine("none")  # everything has its place in mm
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, DOUBLE_COLUMN), ylim=(height, 0))
    axes.axis("off")
    top, bottom = 2.0, None
    for stage in stages:
        bottom = _draw_stage(axes, stage, top, bottom)
        top += stage.height + _GAP
    return figure


def _by_step(flow: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    runs = (flow["step"] != flow["step"].shift()).cumsum()
    return [(str(rows["step"].iloc[0]), rows) for _, rows in flow.groupby(runs, sort=False)]


def _stage(step: str, rows: pd.DataFrame) -> _Stage:
    last = rows.iloc[-1]
    count = f"{int(last['images_left']):,} images"
    if not pd.isna(last["pairs_left"]):
        count += f", {int(last['pairs_left']):,} pairs"
    left = textwrap.wrap(step[:1].upper() + step[1:], _MAIN_CHARACTERS) + [count]
    met = rows[rows["images_excluded"].fillna(0) > 0]
    if met.empty:
        return _Stage(left)
    excluded = [f"Excluded: {int(met['images_excluded'].sum()):,} images"]
    for reason, number in zip(met["reason"], met["images_excluded"], strict=True):
        excluded += textwrap.wrap(f"{int(number):,}  {reason}", _SIDE_CHARACTERS, initial_indent="   ",
                                  subsequent_indent="        ")
    return _Stage(left, excluded)


def _height(lines: list[str]) -> float:
    return len(lines) * _LINE + 2 * _PAD


def _draw_stage(axes: Axes, stage: _Stage, top: float, above: float | None) -> float:
    """Draw one stage below `above`, the lower edge of the box before; return this box's lower edge."""
    height = _height(stage.left)
    y = top + (stage.height - height) / 2
    centre = _MAIN_X + _MAIN_WIDTH / 2
    _box(axes, _MAIN_X, y, _MAIN_WIDTH, stage.left, face="white", bold=len(stage.left) - 1, centred=True)
    if above is not None:
        _arrow(axes, (centre, above), (centre, y))
    if stage.excluded:
        side = _height(stage.excluded)
        side_y = top + (stage.height - side) / 2
        _box(axes, _SIDE_X, side_y, _SIDE_WIDTH, stage.excluded, face="#F1F1F1", bold=0, centred=False)
        _arrow(axes, (_MAIN_X + _MAIN_WIDTH, y + height / 2), (_SIDE_X, y + height / 2))
    return y + height


def _box(axes: Axes, x: float, y: float, width: float, lines: list[str], *, face: str, bold: int,
         centred: bool) -> None:
    axes.add_patch(Rectangle((x, y), width, _height(lines), facecolor=face, edgecolor=EDGE, linewidth=0.7))
    for number, line in enumerate(lines):
        axes.text(x + (width / 2 if centred else _PAD), y + _PAD + (number + 0.5) * _LINE, line, va="center",
                  ha="center" if centred else "left", fontweight="bold" if number == bold else "normal")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": EDGE, "linewidth": 0.8,
                                              "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6})


@styled
def gallery(pairs: np.ndarray, captions: Sequence[str] | None = None, *, title: str = "", columns: int = 4,
            frame: str = QUIET) -> Figure:
    """Pairs side by side, CC on the left of each frame and MLO on the right.

    Args:
        pairs: `(n, 2, H, W)` in [0, 1], real or synthetic; all of them are shown.
        captions: A short line below each pair.
        columns: Pairs a row.
        frame: Colour of the fine line around each pair, e.g. the set's in `style.COLOURS`.

    Raises:
        ValueError: There is no pair, or captions don't match the pairs one to one.
    """
    if len(pairs) == 0:
        raise ValueError("a gallery needs at least one pair")
    if captions is not None and len(captions) != len(pairs):
        raise ValueError(f"{len(captions)} captions for {len(pairs)} pairs")
    rows = -(-len(pairs) // columns)
    cell = (DOUBLE_COLUMN / columns - 1.2) / 2 * pairs.shape[2] / pairs.shape[3]
    figure = new_figure(DOUBLE_COLUMN, rows * (cell + (4.6 if captions is not None else 1.4)) + (8 if title else 4))
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    grid = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index >= len(pairs):
            axes.axis("off")
            continue
        _pair(axes, pairs[index], frame, head=index < columns)
        if captions is not None:
            axes.set_xlabel(captions[index], fontsize=6)
    if title:
        figure.suptitle(title, fontweight="bold")
    return figure


def _pair(axes: Axes, pair: np.ndarray, frame: str, *, head: bool) -> None:
    width = pair.shape[2]
    axes.imshow(np.concatenate(list(pair), axis=1), vmin=0, vmax=1)
    axes.axvline(width - 0.5, color=frame, linewidth=0.6)
    bare(axes, frame=frame)
    if head:
        for x, view in ((0.25, "CC"), (0.75, "MLO")):
            axes.text(x, 1.02, view, transform=axes.transAxes, ha="center", va="bottom", color=QUIET, fontsize=6.5)
