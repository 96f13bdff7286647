"""A5: trainings with different third channels, and contrasts over them: the unit is the training, not the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.stats import permutation_test, ttest_1samp

from mammorgb_utils.evaluation.statistics import LEVEL, Effect, holm
from mammorgb_utils.experiments.trial import CHANNELS
from mammorgb_utils.output import style

MAIN = (("sum", "absdiff"), ("sum", "zero"), ("absdiff", "zero"))  # under Holm
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one a seed, round and round
_MEASURES = {"emd": "EMD of IoU to real", "iou_median": "Median IoU", "gain": "Paired − shuffled median IoU"}
_PAIRING = {"views_gain": "Loss lower beside own MLO"}  # where it was measured


class PairedContrast(NamedTuple):
    """Mean difference of paired runs with its t interval; `p` is the t test's, `p_flip` the exact one's."""

    estimate: float
    low: float
    high: float
    p: float
    p_flip: float
    p_floor: float


def paired_contrast(differences: np.ndarray | pd.Series) -> PairedContrast:
    """What `(n,)` differences of runs that share all draws say; of fewer than two only the estimate is known.

    `p_flip` flips the signs in all 2ⁿ ways, so that no result can be below `p_floor` = 2 / 2ⁿ: 0.25 for three runs.
    """
    values = np.asarray(differences, float)
    values = values[~np.isnan(values)]
    if values.size < 2:
        return PairedContrast(float(values[0]) if values.size else np.nan, *[np.nan] * 5)
    if (values == values[0]).all():  # no spread: a test of it divides by 0
        low, high, p = values[0], values[0], float(values[0] == 0.0)
    else:
        found = ttest_1samp(values, 0.0)
        low, high, p = *found.confidence_interval(LEVEL), found.pvalue
    flipped = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    return PairedContrast(float(values.mean()), float(low), float(high), float(p), float(flipped.pvalue),
                          2.0 / 2.0**values.size)


def run_contrasts(runs: pd.DataFrame, *, against: Sequence[str] = ()) -> pd.DataFrame:
    """Encodings against each other, and against controls, over runs that are paired by seed.

    Args:
        runs: One row a run: `encoding`, `seed`, `emd` (of IoU to real), `iou_median`, `gain`.
        against: Controls; sum and absolute difference are held against each of them.

    Returns:
        One row a contrast, in the columns of `contrast_table` that a claim reads: `first`, `second`, `measure` (iou),
        `family` (main | control), `n_runs`; `closer` (emd of the second − emd of the first: positive when the first
        is nearer to real) with `_low`, `_high`, `p_closer`, `p_closer_flip`, `p_floor`; `median_difference`
        (first − second) with `_low`, `_high`, `p`, `p_holm` (over the main contrasts); `gain_difference` with `_low`,
        `_high`. Contrasts of encodings that have no runs are left out.
    """
    wide = runs.pivot(index="seed", columns="encoding", values=list(_MEASURES))
    asked = [(*pair, "main") for pair in MAIN] + [(*pair, "control") for pair in product(("sum", "absdiff"), against)]
    rows = [_row(wide, a, b) | {"family": family} for a, b, family in asked if {a, b} <= set(runs["encoding"])]
    table = pd.DataFrame(rows, columns=list(rows[0]) if rows else ["first", "second", "measure", "p", "family"])
    return table.assign(p_holm=holm(table["p"].astype(float).where(table["family"] == "main")))


def _row(wide: pd.DataFrame, a: str, b: str) -> dict[str, object]:
    nearer = wide["emd"][b] - wide["emd"][a]
    closer, median, gain = map(paired_contrast, (
        nearer, wide["iou_median"][a] - wide["iou_median"][b], wide["gain"][a] - wide["gain"][b]))
    return {"first": a, "second": b, "measure": "iou", "n_runs": int(nearer.notna().sum()),
            **Effect(*closer[:3]).columns("closer"), "p_closer": closer.p, "p_closer_flip": closer.p_flip,
            "p_floor": closer.p_floor, "p": median.p, **Effect(*median[:3]).columns("median_difference"),
            **Effect(*gain[:3]).columns("gain_difference")}


def runs_per_encoding(runs: pd.DataFrame, encodings: Sequence[str]) -> int:
    """Usable runs of the encoding that has fewest: what a claim over runs can rely on."""
    usable = runs[runs["emd"].notna()].groupby("encoding")["seed"].nunique()
    return int(usable.reindex(list(encodings), fill_value=0).min())


@style.styled
def figure(runs: pd.DataFrame, *, real: Mapping[str, float], floor: tuple[float, float]) -> Figure:
    """Trainings with different third channels: what they have to say lies between trainings, not images.

    A panel a measure, a row an encoding; a dot is a run, its shape the seed, a bar their mean. Beside them stand the
    real set's `iou_median` and `gain`, the band of the EMD of real to real, and 0 where a model can't tell own from
    strangers.
    """
    names = [name for name in CHANNELS if (runs["encoding"] == name).any()]
    ended = runs[runs["emd"].notna()].reindex(columns=list(_PAIRING))
    measures = _MEASURES | (_PAIRING if ended.notna().all(axis=None) else {})
    seeds = sorted(runs["seed"].unique())
    markers = {seed: _MARKERS[i % len(_MARKERS)] for i, seed in enumerate(seeds)}
    colours = {name: style.COLOURS.get(name, style.QUIET) for name in names}
    rows = runs["encoding"].map(names.index)
    places = rows + 0.16 * (runs["seed"].map(seeds.index) - (len(seeds) - 1) / 2)
    drawn = style.new_figure(style.DOUBLE_COLUMN, 30.0 + 8.0 * len(names))
    panels = drawn.subplots(1, len(measures), sharey=True)
    for axes, (name, label) in zip(panels, measures.items(), strict=True):
        sns.scatterplot(runs, x=name, y=places, hue="encoding", palette=colours, style="seed", markers=markers, s=22,
                        edgecolor=style.EDGE, legend=False, zorder=5, clip_on=False, ax=axes)
        means = runs[name].groupby(rows).mean()
        axes.vlines(means, means.index - 0.34, means.index + 0.34, color=style.EDGE, linewidth=1.6, zorder=4)
        axes.set(xlabel=label, ylabel="")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
        if name in real:
            axes.axvline(real[name], **style.DASHED)
        if 0 < (own := sum(encoding in style.COLOURS for encoding in names)) < len(names):
            axes.axhline(own - 0.5, color=style.QUIET, linewidth=0.4)
    for axes in panels[len(_MEASURES):]:
        axes.axvline(0.0, color=style.QUIET, linewidth=0.5, zorder=0)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    panels[0].axvspan(*floor, color=style.BAND, linewidth=0, zorder=0)
    panels[0].set_xlim(0, None)
    panels[0].set_yticks(range(len(names)), [style.NAMES[name] for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    handles = [Line2D([], [], linestyle="", marker=markers[seed], color="white", markeredgecolor=style.EDGE,
                      label=f"seed {seed}", markersize=4.5) for seed in seeds]
    handles += [Line2D([], [], color=style.EDGE, linewidth=1.6, label="Mean of runs"),
                Line2D([], [], **style.DASHED, label="Real"), Patch(facecolor=style.BAND, label="Real against real")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    style.panel_letters(panels)
    return drawn
