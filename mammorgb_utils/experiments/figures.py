"""Figures of the appendices: learning rates, third channels, samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter

from mammorgb_utils.output.style import (
    BAND,
    COLOURS,
    DOUBLE_COLUMN,
    EDGE,
    NAMES,
    QUIET,
    format_rate,
    new_figure,
    panel_letters,
    styled,
)

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one a seed or a rate, round and round
_CHANNELS = ("sum", "absdiff", "zero", "copy", "noise", "other")
_QUALITY = {"emd": "EMD of IoU to real", "iou_median": "Median IoU", "plausible": "Plausible pairs"}
_SAMPLERS = {"ddim": ("#1B4F93", "s", 0.95), "dpmsolver++": ("#D5622B", "^", 1.05)}  # colour, marker, shift beside
_DASHED = {"color": QUIET, "linewidth": 0.8, "linestyle": (0, (3, 2)), "zorder": 1}


@styled
def learning_rates(stats: pd.DataFrame, quality: pd.DataFrame, *, max_grad_norm: float, real: Mapping[str, float],
                   floor: tuple[float, float]) -> Figure:
    """Stability of trainings at several rates, and the quality of what they draw on the way.

    Args:
        stats: One row a run and step: `learning_rate`, `seed`, `step`, `loss`, `grad_norm`.
        quality: One row a run and milestone: `learning_rate`, `seed`, `epoch`, `emd`, `iou_median`, `plausible`.
        max_grad_norm: Norm beyond which gradients were clipped.
        real: The real set's `iou_median` and `plausible`.
        floor: Band of the EMD of real to real.

    Returns:
        Above loss, gradient norm and clipped steps; below the three measures of quality over epochs. Thin lines are
        runs, thick ones their mean.
    """
    rates = sorted(stats["learning_rate"].unique(), reverse=True)
    figure = new_figure(DOUBLE_COLUMN, 112.0)
    grid = figure.subplots(2, 3)
    for rate, colour, marker in zip(rates, _ramp(len(rates)), _MARKERS * len(rates), strict=False):
        runs = stats[stats["learning_rate"] == rate].pivot(index="step", columns="seed", values=["loss", "grad_norm"])
        window = max(1, len(runs) // 12)
        for axes, name in zip(grid[0], ("loss", "grad_norm"), strict=False):
            _lines(axes, runs[name].rolling(window, min_periods=1).mean(), colour)
        clipped = (runs["grad_norm"] > max_grad_norm).sum() / runs["grad_norm"].notna().sum()
        grid[0, 2].plot([rates.index(rate)] * len(clipped), clipped, linestyle="", marker=marker, markersize=5,
                        color=colour, markeredgecolor=EDGE, markeredgewidth=0.6, clip_on=False, zorder=5)
        for axes, name in zip(grid[1], _QUALITY, strict=True):
            rows = quality[quality["learning_rate"] == rate]
            _lines(axes, rows.pivot(index="epoch", columns="seed", values=name).astype(float), colour, marker)
    _stability_axes(grid[0], max_grad_norm, rates)
    _quality_axes(grid[1], real, floor)
    handles = [Line2D([], [], color=colour, marker=marker, markersize=4.5, markeredgecolor=EDGE,
                      label=format_rate(rate))
               for rate, colour, marker in zip(rates, _ramp(len(rates)), _MARKERS, strict=False)]
    figure.legend(handles=[*handles, _floor_patch(), Line2D([], [], **_DASHED, label="Real, or clipping norm")],
                  loc="outside lower center", ncols=len(handles) + 2)
    panel_letters(grid.flat)
    return figure


def _ramp(n: int) -> list[tuple[float, ...]]:
    """Colours from dark to light, so that grey print keeps the order of the rates."""
    return [colormaps["viridis"](x) for x in np.linspace(0.1, 0.82, n)]


def _lines(axes: Axes, runs: pd.DataFrame, colour: tuple[float, ...], marker: str = "") -> None:
    for seed in runs if runs.shape[1] > 1 else ():
        axes.plot(runs.index, runs[seed], color=colour, linewidth=0.5, alpha=0.7)
    axes.plot(runs.index, runs.mean(axis=1), color=colour, linewidth=1.6, marker=marker, markersize=4.5,
              markeredgecolor=EDGE, markeredgewidth=0.6)


def _stability_axes(panels: Sequence[Axes], max_grad_norm: float, rates: Sequence[float]) -> None:
    panels[0].set(xlabel="Step", ylabel="Loss, running mean", yscale="log")
    panels[1].set(xlabel="Step", ylabel="Gradient norm, running mean", yscale="log")
    panels[1].axhline(max_grad_norm, **_DASHED)
    for axes in panels[:2]:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    panels[2].set(xlabel="Learning rate", ylabel="Steps with clipped gradient", xlim=(-0.5, len(rates) - 0.5),
                  ylim=(-0.02, 1.04))
    panels[2].set_xticks(range(len(rates)), [format_rate(rate) for rate in rates])
    panels[2].yaxis.set_major_formatter(PercentFormatter(1.0))


def _quality_axes(panels: Sequence[Axes], real: Mapping[str, float], floor: tuple[float, float]) -> None:
    for axes, (name, label) in zip(panels, _QUALITY.items(), strict=True):
        axes.set(xlabel="Epoch", ylabel=label)
        axes.yaxis.set_major_locator(_ticks())
        if name in real:
            axes.axhline(real[name], **_DASHED)
    panels[0].axhspan(*floor, color=BAND, linewidth=0, zorder=0)
    panels[0].set_ylim(0, None)
    panels[2].set_ylim(-0.02, 1.04)
    panels[2].yaxis.set_major_formatter(PercentFormatter(1.0))


def _ticks() -> MaxNLocator:
    """Ticks that don't follow the font of whoever shows the figure, as the layout is fixed before."""
    return MaxNLocator(5, steps=[1, 2, 5, 10])


def _floor_patch() -> Patch:
    return Patch(facecolor=BAND, label="Real against real")


@styled
def third_channel(runs: pd.DataFrame, *, real: Mapping[str, float], floor: tuple[float, float]) -> Figure:
    """Training runs with different third channels: what they have to say lies between runs, not images.

    Args:
        runs: One row a run: `encoding`, `seed`, `emd`, `iou_median`, `gain`.
        real: The real set's `iou_median` and `gain`.
        floor: Band of the EMD of real to real.

    Returns:
        A panel a measure, a row an encoding; a dot is a run, its shape the seed, a bar their mean.
    """
    names = [name for name in _CHANNELS if (runs["encoding"] == name).any()]
    seeds = sorted(runs["seed"].unique())
    figure = new_figure(DOUBLE_COLUMN, 30.0 + 8.0 * len(names))
    panels = figure.subplots(1, 3, sharey=True)
    labels = ("EMD of IoU to real", "Median IoU", "Gain: paired − shuffled median IoU")
    for axes, name, label in zip(panels, ("emd", "iou_median", "gain"), labels, strict=True):
        for y, encoding in enumerate(names):
            _run_dots(axes, runs[runs["encoding"] == encoding].set_index("seed")[name], encoding, y, seeds)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(_ticks())
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
        if name in real:
            axes.axvline(real[name], **_DASHED)
        if names[-1] not in COLOURS and names[0] in COLOURS:
            axes.axhline(sum(encoding in COLOURS for encoding in names) - 0.5, color=QUIET, linewidth=0.4)
    panels[0].axvspan(*floor, color=BAND, linewidth=0, zorder=0)
    panels[0].set_xlim(0, None)
    panels[0].set_yticks(range(len(names)), [NAMES[name] for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    handles = [Line2D([], [], linestyle="", marker=_MARKERS[i % len(_MARKERS)], color="white", markeredgecolor=EDGE,
                      label=f"seed {seed}", markersize=4.5) for i, seed in enumerate(seeds)]
    handles += [Line2D([], [], color=EDGE, linewidth=1.6, label="Mean of runs"),
                Line2D([], [], **_DASHED, label="Real"), _floor_patch()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    panel_letters(panels)
    return figure


def _run_dots(axes: Axes, values: pd.Series, encoding: str, y: int, seeds: Sequence[int]) -> None:
    colour = COLOURS.get(encoding, QUIET)
    for i, seed in enumerate(seeds):
        if seed in values.index and np.isfinite(values[seed]):
            offset = 0.16 * (i - (len(seeds) - 1) / 2)
            axes.plot(values[seed], y + offset, marker=_MARKERS[i % len(_MARKERS)], markersize=4.5, color=colour,
                      markeredgecolor=EDGE, markeredgewidth=0.6, zorder=5)
    if values.notna().any():
        axes.plot([values.mean()] * 2, [y - 0.34, y + 0.34], color=EDGE, linewidth=1.6, zorder=4)


@styled
def samplers(table: pd.DataFrame) -> Figure:
    """Fast samplers beside the reference, over their number of steps.

    Args:
        table: One row a sampler and step count: `sampler` (ddim | dpmsolver++), `steps`, `emd`, `band_low`,
            `band_high`, `hodges_lehmann` with `_low` and `_high`, `margin`, `pixel_difference`, `safe`.

    Returns:
        EMD of IoU with its null band; shift of IoU with its interval and the margin; mean difference of pixels. Filled
        markers are safe: equivalent within the margin, and no farther than chance.
    """
    figure = new_figure(DOUBLE_COLUMN, 68.0)
    panels = figure.subplots(1, 3)
    for sampler, (colour, marker, shift) in _SAMPLERS.items():
        part = table[table["sampler"] == sampler].sort_values("steps")
        x, safe = part["steps"] * shift, part["safe"].astype(bool)
        panels[0].vlines(x, part["band_low"], part["band_high"], color=BAND, linewidth=5, zorder=0)
        panels[1].vlines(x, part["hodges_lehmann_low"], part["hodges_lehmann_high"], color=colour, linewidth=1.1)
        for axes, name in zip(panels, ("emd", "hodges_lehmann", "pixel_difference"), strict=True):
            axes.plot(x, part[name], color=colour, linewidth=0.7, alpha=0.6, zorder=2)
            for chosen, fill in ((safe, colour), (~safe, "white")):
                axes.plot(x[chosen], part.loc[chosen, name], linestyle="", marker=marker, markersize=5, color=fill,
                          markeredgecolor=colour, markeredgewidth=1.0, zorder=5)
    _sampler_axes(panels, table)
    handles = [Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=0.7, label=NAMES[sampler])
               for sampler, (colour, marker, _) in _SAMPLERS.items()]
    handles += [Line2D([], [], linestyle="", marker="s", color="white", markeredgecolor=EDGE, label="Not safe (open)"),
                Line2D([], [], color=BAND, linewidth=5, label="Null band"), Line2D([], [], **_DASHED, label="Margin")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    panel_letters(panels)
    return figure


def _sampler_axes(panels: Sequence[Axes], table: pd.DataFrame) -> None:
    steps = sorted(table["steps"].unique())
    for axes in panels:
        axes.margins(0.1)
        axes.set(xscale="log", xlabel="Sampling steps")
        axes.yaxis.set_major_locator(_ticks())
        axes.set_xticks(steps, [str(count) for count in steps])
        axes.xaxis.set_minor_locator(NullLocator())
    panels[0].set_ylabel("EMD of IoU to the reference")
    panels[1].set_ylabel("Shift of IoU against the reference")
    for side in (-1.0, 1.0):
        panels[1].axhline(side * table["margin"].iloc[0], **_DASHED)
    panels[1].axhline(0.0, color=QUIET, linewidth=0.5, zorder=0)
    panels[2].set_ylabel("Mean pixel difference")
    for axes in (panels[0], panels[2]):
        axes.set_ylim(0, 1.08 * axes.dataLim.ymax)
