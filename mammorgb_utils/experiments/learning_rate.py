"""A1: trainings at several learning rates under equal budgets, how steadily they went and what they drew on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter

from mammorgb_utils.diffusion.engine.loop import STATS
from mammorgb_utils.output import style

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one a rate
_QUALITY = {"emd": "EMD of IoU to real", "iou_median": "Median IoU", "plausible": "Plausible pairs"}


def read_steps(folders: Mapping[tuple[float, int], Path]) -> pd.DataFrame:
    """Every step of every training, from `training/stats.jsonl` in the trials' folders, by learning rate and seed."""
    return pd.concat([pd.read_json(folder / "training" / STATS, lines=True).assign(learning_rate=rate, seed=seed)
                      for (rate, seed), folder in folders.items()])


def table(steps: pd.DataFrame, looks: pd.DataFrame, max_grad_norm: float) -> pd.DataFrame:
    """How steadily each training of `read_steps` went, and what it drew at its end.

    Args:
        looks: Rows of `run_trial`, one a training and milestone.

    Returns:
        One row a training: `learning_rate`, `seed`, the columns of `stability`, and those of its last milestone.
    """
    last = looks.groupby(["learning_rate", "seed"], sort=False).tail(1)
    rows = [{"learning_rate": rate, "seed": seed} | stability(
        steps[(steps["learning_rate"] == rate) & (steps["seed"] == seed)], max_grad_norm)
        for rate, seed in zip(last["learning_rate"], last["seed"], strict=True)]
    return pd.DataFrame(rows).merge(last.drop(columns=["encoding", "step"]), on=["learning_rate", "seed"])


def stability(steps: pd.DataFrame, max_grad_norm: float) -> dict[str, float]:
    """How steadily a training went, from its `loss` and `grad_norm`; no rows where it stopped at its first step.

    Returns:
        `steps` done; `loss_first`, `loss_last` (mean of the first and the last fifth); `loss_spread` (standard
        deviation in the second half; trials of one seed share timesteps and noise, so theirs can be compared);
        `grad_norm_median`, `grad_norm_max`; `clipped` (share of steps).
    """
    loss, norm = (steps.reindex(columns=["loss", "grad_norm"])[name] for name in ("loss", "grad_norm"))
    fifth = max(1, len(loss) // 5)
    return {"steps": len(loss), "loss_first": loss.head(fifth).mean(), "loss_last": loss.tail(fifth).mean(),
            "loss_spread": loss.iloc[len(loss) // 2:].std(), "grad_norm_median": norm.median(),
            "grad_norm_max": norm.max(), "clipped": (norm > max_grad_norm).mean()}


@style.styled
def figure(steps: pd.DataFrame, looks: pd.DataFrame, *, max_grad_norm: float, real: Mapping[str, float],
           floor: tuple[float, float]) -> Figure:
    """Stability of trainings at several rates, and below it the quality of what they draw on the way.

    Args:
        steps, looks, max_grad_norm: As for `table`.
        real: The real set's `iou_median` and `plausible`, as far as they are to be shown.
        floor: Band of the EMD of real to real.
    """
    rates = sorted(steps["learning_rate"].unique(), reverse=True)
    # from dark to light, so that grey print keeps the order of the rates
    colours = dict(zip(rates, colormaps["viridis"](np.linspace(0.1, 0.82, len(rates))), strict=True))
    markers = dict(zip(rates, cycle(_MARKERS), strict=False))
    drawn = style.new_figure(style.DOUBLE_COLUMN, 112.0)
    grid = drawn.subplots(2, 3)
    _stability(grid[0], steps, max_grad_norm, colours, markers)
    for axes, (name, label) in zip(grid[1], _QUALITY.items(), strict=True):
        _trainings(axes, looks, "epoch", name, colours, style="learning_rate", markers=markers, markersize=4.5)
        axes.set(xlabel="Epoch", ylabel=label)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        if name in real:
            axes.axhline(real[name], **style.DASHED)
    grid[1, 0].axhspan(*floor, color=style.BAND, linewidth=0, zorder=0)
    grid[1, 0].set_ylim(0, None)
    for axes in (grid[0, 2], grid[1, 2]):
        axes.set_ylim(-0.02, 1.04)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    handles = [Line2D([], [], color=colours[rate], marker=markers[rate], markersize=4.5, markeredgecolor=style.EDGE,
                      label=style.format_rate(rate)) for rate in rates]
    handles += [Patch(facecolor=style.BAND, label="Real against real"),
                Line2D([], [], **style.DASHED, label="Real, or clipping norm")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    style.panel_letters(grid.flat)
    return drawn


def _trainings(axes: Axes, rows: pd.DataFrame, x: str, y: str, colours: Mapping, **marks: object) -> None:
    look = {"x": x, "y": y, "hue": "learning_rate", "hue_order": list(colours), "palette": colours, "ax": axes,
            "legend": False}
    if rows["seed"].nunique() > 1:
        sns.lineplot(rows, **look, units="seed", estimator=None, linewidth=0.5, alpha=0.7)
    sns.lineplot(rows, **look, errorbar=None, linewidth=1.6, markeredgecolor=style.EDGE, markeredgewidth=0.6, **marks,
                 dashes=False)


def _stability(panels: Sequence[Axes], steps: pd.DataFrame, max_grad_norm: float, colours: Mapping,
               markers: Mapping) -> None:
    rates, by_training = list(colours), steps.groupby(["learning_rate", "seed"])[["loss", "grad_norm"]]
    window = max(1, int(by_training.size().max()) // 12)
    smooth = steps.assign(**by_training.transform(lambda part: part.rolling(window, min_periods=1).mean()))
    clipped = steps.assign(clipped=steps["grad_norm"] > max_grad_norm)
    clipped = clipped.groupby(["learning_rate", "seed"], as_index=False)["clipped"].mean()
    sns.scatterplot(clipped, x=clipped["learning_rate"].map(rates.index), y="clipped", hue="learning_rate",
                    palette=colours, style="learning_rate", markers=markers, ax=panels[2], s=25, edgecolor=style.EDGE,
                    clip_on=False, zorder=5, legend=False)
    for axes, name, what in zip(panels, ("loss", "grad_norm"), ("Loss", "Gradient norm"), strict=False):
        _trainings(axes, smooth, "step", name, colours)
        axes.set(xlabel="Step", ylabel=f"{what}, running mean", yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    panels[1].axhline(max_grad_norm, **style.DASHED)
    panels[2].set(xlabel="Learning rate", ylabel="Steps with clipped gradient", xlim=(-0.5, len(rates) - 0.5))
    panels[2].set_xticks(range(len(rates)), [style.format_rate(rate) for rate in rates])
