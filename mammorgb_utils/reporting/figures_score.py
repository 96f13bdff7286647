"""Overlap of scored pairs beside real ones, for a page that phones show, too."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mammorgb_utils.evaluation.statistics import CANDIDATE
from mammorgb_utils.output import style

_WIDTH, _HEIGHT = 140.0, 58.0  # mm
_COLOURS = {"real": style.COLOURS["real"], CANDIDATE: style.COLOURS["sum"]}
_NAMES = {"real": "Real", CANDIDATE: "Candidate"}


@style.styled
def score_overlap(overlap: pd.DataFrame, shuffled: pd.DataFrame) -> Figure:
    """Cumulative distributions of IoU of the pairs, and dashed of shuffled ones; NaN is left out."""
    figure = style.new_figure(_WIDTH, _HEIGHT)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, measure, title in zip(panels, ("iou", "iou_no_muscle"), ("whole breast mask", "without muscle"),
                                    strict=True):
        for name in _NAMES:
            for table, line, word in ((overlap, "-", ""), (shuffled, (0, (3, 1.5)), ", shuffled")):
                values = np.sort(table.loc[table["set"] == name, measure].dropna().to_numpy())
                axes.step([0.0, *values, 1.0], [0.0, *(np.arange(values.size) + 1) / max(values.size, 1), 1.0],
                          where="post", color=_COLOURS[name], linestyle=line, label=_NAMES[name] + word)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"IoU, {title}")
    panels[0].set_ylabel("Share of pairs below")
    panels[0].legend(loc="upper left", handlelength=2.2)
    return figure
