"""Figures of fidelity, diversity and memorisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mammorgb_utils.output import style
from mammorgb_utils.protocol import THIRD_CHANNELS

METRICS = {"kid": "KID (lower is nearer)", "density": "Density (fidelity)", "coverage": "Coverage (diversity)",
           "spread": "Nearest-neighbour\ndistance, ratio to real", "diversity": "Effective number,\nratio to real"}
DISTANCES = {"pixel": "Distance to the nearest training pair,\npixels of both views", "detail":
             "Distance to the nearest training pair,\ndetail of one view"}
_BINS = 30
_ORDER = ("heldout", *THIRD_CHANNELS)
_LOOKS = {"color": style.COLOURS, "linestyle": style.LINES}
_FLAGGED = {"color": style.EDGE, "linewidth": 0.9, "linestyle": (0, (1, 1))}


@style.styled
def fidelity(table: pd.DataFrame, shift: pd.DataFrame) -> Figure:
    """Fidelity and diversity beside real against real, and behind them the shift of each feature.

    Returns:
        Above, a panel a metric: value and interval of each set on the band of real against real. Below, the shift of
        every feature; ±2 real standard deviations are shaded.
    """
    sets = style.present_sets(table["set"])
    figure = style.new_figure(style.DOUBLE_COLUMN, 118.0)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.0, 1.5))
    panels = upper.subplots(1, len(METRICS), sharey=True)
    for axes, metric in zip(panels, METRICS, strict=True):
        for y, name in enumerate(sets):
            for row in table[(table["set"] == name) & (table["metric"] == metric)].itertuples():
                _value(axes, row, y)
        axes.set_xlabel(METRICS[metric])
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(sets)), [style.LABELS[name].replace(" ", "\n") for name in sets])
    panels[0].set_ylim(len(sets) - 0.4, -0.6)
    known = table.loc[table["metric"] == "kid", "value"].dropna()
    if known.size and known.max() > 10.0:
        panels[0].set_xscale("symlog", linthresh=1.0)
        panels[0].set_xticks([0, 1, 10, 100, 1000][:2 + int(np.ceil(np.log10(known.max())))])
    _shift(lower.subplots(1, 1), shift, sets)
    handles = [Line2D([], [], linestyle="", label=style.LABELS[name], **style.mark(name)) for name in sets]
    handles.append(Patch(facecolor=style.BAND, edgecolor=style.QUIET, label="Real against real, band and median"))
    lower.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    style.panel_letters([panels[0], lower.axes[0]])
    return figure


def _value(axes: Axes, row: tuple, y: float) -> None:
    if np.isnan(row.value):
        axes.annotate("too few", (0.5, y), xycoords=("axes fraction", "data"), ha="center", va="center", fontsize=6)
        return
    axes.barh(y, row.null_high - row.null_low, left=row.null_low, height=0.62, color=style.BAND, edgecolor=style.QUIET,
              linewidth=0.4)
    axes.plot([row.null_median] * 2, [y - 0.31, y + 0.31], color=style.QUIET, linewidth=1.2)
    axes.plot([row.low, row.high], [y, y], color=style.EDGE, linewidth=1.0, zorder=4)
    axes.plot(row.value, y, zorder=5, **style.mark(row.set))


def _shift(axes: Axes, shift: pd.DataFrame, sets: Sequence[str]) -> None:
    view, names = (shift["feature"].str.split("_", n=1).str[part] for part in (0, 1))
    positions = np.arange(len(shift)) + 1.5 * (view != view.iloc[0]).to_numpy()
    axes.axhspan(-2.0, 2.0, color=style.BAND, linewidth=0)
    axes.axhline(0.0, color=style.QUIET, linewidth=0.6)
    for offset, name in enumerate(sets):
        axes.plot(positions + 0.22 * (offset - (len(sets) - 1) / 2), shift[name], linestyle="",
                  **style.mark(name, 3.0) | {"markeredgewidth": 0.4})
    axes.set_xticks(positions, names.str.replace("_", " "), rotation=90, fontsize=6)
    axes.set_xlim(positions[0] - 1.0, positions[-1] + 1.0)
    axes.set_ylabel("Shift of the median\n(real standard deviations)")
    for side in ("cc", "mlo"):
        axes.annotate(side.upper(), (positions[view == side].mean(), 1.0), xycoords=("data", "axes fraction"),
                      ha="center", va="bottom", fontweight="bold")


@style.styled
def nearest_training(nearest: pd.DataFrame, thresholds: Mapping[str, float],
                     examples: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> Figure:
    """How near synthetic pairs come to training pairs, and the nearest of them side by side.

    Args:
        nearest: metrics/nearest_training.csv.
        thresholds: For each of `DISTANCES`, below which a pair is flagged.
        examples: From `closest_pairs`.

    Returns:
        Above, the distributions of both distances; below, the synthetic pairs over their training pairs.
    """
    figure = style.new_figure(style.DOUBLE_COLUMN, 66.0 + (50.0 if examples else 0.0))
    parts = figure.subfigures(2, 1, height_ratios=(66.0, 50.0)) if examples else [figure.subfigures(1, 1)]
    panels = parts[0].subplots(1, len(DISTANCES))
    looks = {name: {look: values[name.replace("heldout", "real")] for look, values in _LOOKS.items()}
             for name in _ORDER if (nearest["set"] == name).any()}
    planted = nearest[nearest["set"].str.startswith("planted")]
    for axes, distance in zip(panels, DISTANCES, strict=True):
        edges = np.linspace(0.0, float(nearest[f"{distance}_distance"].quantile(0.999)), _BINS + 1)
        if len(planted):
            _histogram(axes, planted[f"{distance}_distance"], edges, color=style.BAND, fill=True)
        for name, look in looks.items():
            _histogram(axes, nearest.loc[nearest["set"] == name, f"{distance}_distance"], edges, linewidth=1.2, **look)
        axes.axvline(thresholds[distance], **_FLAGGED)
        axes.set(xlim=(0.0, edges[-1]), xlabel=DISTANCES[distance])
    panels[0].set_ylabel("Share of the set")
    handles = [Line2D([], [], label="Real pairs held out of training" if name == "heldout" else style.NAMES[name],
                      **look) for name, look in looks.items()]
    if len(planted):
        handles.append(Patch(facecolor=style.BAND, label=f"Planted copies of training pairs (n = {len(planted)})"))
    handles.append(Line2D([], [], label="Flagged below", **_FLAGGED))
    parts[0].legend(handles=handles, loc="outside lower center", ncols=3)
    if examples:
        _examples(parts[1], examples)
    style.panel_letters(panels)
    return figure


def _histogram(axes: Axes, values: pd.Series, edges: np.ndarray, **look: object) -> None:
    axes.stairs(np.histogram(values, edges)[0] / len(values), edges, **look)


def _examples(part: Figure, examples: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> None:
    grid = part.subplots(2, len(examples), squeeze=False)
    for column, (title, synthetic, train) in zip(grid.T, examples, strict=True):
        for axes, pair in zip(column, (synthetic, train), strict=True):
            axes.imshow(np.concatenate([pair[0], np.ones((pair.shape[1], 1)), pair[1]], axis=1), vmin=0, vmax=1)
            style.bare(axes, frame=style.QUIET)
        column[0].set_title(title, fontsize=6.5)
    for axes, label in zip(grid[:, 0], ("Synthetic", "Training"), strict=True):
        axes.set_ylabel(label, fontweight="bold")
