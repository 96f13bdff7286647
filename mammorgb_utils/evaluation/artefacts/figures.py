"""Figures of the artefacts: how often each kind occurs, and what flagged pairs look like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from mammorgb_utils.output import style

TRAINING = "train"
_SETS = (TRAINING, *style.COLOURS)
_FILLS = {TRAINING: "#8A8A8A"} | style.COLOURS
_APART = 0.15  # of a row, between the sets' dots
_COLUMNS = 5  # pairs a row


@style.styled
def artefacts(rates: pd.DataFrame, *, paper: Sequence[float] | None = None) -> Figure:
    """Rate of each artefact in each set, with its interval: a row an artefact, a dot a set.

    Args:
        rates: From `artefact_rates`; the artefact `any` is drawn apart.
        paper: The range of the rate that the paper states, low and high; it is drawn beside `any`.
    """
    sets = [name for name in _SETS if (rates["set"] == name).any()]
    kinds = list(dict.fromkeys(rates["artefact"]))
    figure = style.new_figure(style.DOUBLE_COLUMN, 29.0 + 9.5 * len(kinds))
    axes = figure.subplots()
    for i, row in ((i, row) for i, name in enumerate(sets) for row in rates[rates["set"] == name].itertuples()):
        y = kinds.index(row.artefact) + _APART * (i - (len(sets) - 1) / 2)
        axes.plot([row.low, row.high], [y, y], color=_FILLS[row.set], linewidth=1.2, zorder=3, clip_on=False)
        axes.plot(row.rate, y, linestyle="", zorder=5, clip_on=False, **_mark(row.set))
    if paper is not None and kinds[-1] == "any":
        axes.fill_betweenx([len(kinds) - 1.5, len(kinds) - 0.5], *paper, color=style.BAND, linewidth=0, zorder=0)
    axes.axhline(len(kinds) - 1.5, color=style.QUIET, linewidth=0.4)
    axes.set_yticks(range(len(kinds)), [kind.replace("_", " ").capitalize() for kind in kinds])
    axes.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="Pairs flagged, with 95 % Wilson interval")
    axes.set_xlim(0, max(0.05, 1.05 * float(np.nanmax(rates["high"]))))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.tick_params(axis="y", length=0)
    sizes = rates.groupby("set")["n"].max()
    handles = [Line2D([], [], linewidth=1.2, label=f"{style.NAMES[name]}, n = {sizes[name]:,}", **_mark(name))
               for name in sets]
    handles += [Patch(facecolor=style.BAND, label="The paper's range")] if paper is not None else []
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _mark(name: str) -> dict[str, object]:
    own = {"marker": "v", "color": _FILLS[name]} if name == TRAINING else {}
    return style.mark("real" if own else name, 4.2) | own


@style.styled
def artefact_examples(pairs: np.ndarray, sets: Sequence[str], captions: Sequence[str], kinds: Sequence[str]) -> Figure:
    """Flagged pairs as a contact sheet for the eye; none leaves a line that says so.

    Args:
        pairs: `(n, 2, H, W)` in [0, 1], CC first.
        sets: The set of each pair, which gives its frame's colour.
        captions: Name of each pair, which stands above it, after its set where the name doesn't begin with it.
        kinds: What stands below it: the artefacts that were found.
    """
    if not len(pairs) == len(sets) == len(captions) == len(kinds):
        raise ValueError(f"{len(pairs)} pairs with {len(sets)} sets, {len(captions)} captions, {len(kinds)} kinds")
    if len(pairs) == 0:
        figure = style.new_figure(style.SINGLE_COLUMN, 14.0)
        figure.text(0.5, 0.5, "None of the pairs drawn is flagged", ha="center", va="center")
        return figure
    rows = -(-len(pairs) // _COLUMNS)
    cell = (style.DOUBLE_COLUMN / _COLUMNS - 2.5) / 2 * pairs.shape[2] / pairs.shape[3]
    figure = style.new_figure(style.DOUBLE_COLUMN, rows * (cell + 10.5) + 2)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat[len(pairs):]:
        axes.axis("off")
    for axes, pair, name, caption, found in zip(grid.flat, pairs, sets, captions, kinds, strict=False):
        colour = _FILLS.get(name, style.QUIET)
        axes.imshow(np.concatenate(list(pair), axis=1), vmin=0, vmax=1)
        axes.axvline(pair.shape[2] - 0.5, color=style.QUIET, linewidth=0.5)
        style.bare(axes, frame=colour)
        for spine in axes.spines.values():
            spine.set_linewidth(1.4)
        title = caption if caption.startswith(name) else f"{style.NAMES.get(name, name)} {caption}"
        axes.set_title(title, fontsize=6, pad=2)
        axes.set_xlabel(found.replace(", ", "\n"), fontsize=6, labelpad=2)
    return figure
