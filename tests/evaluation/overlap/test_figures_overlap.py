"""What the figure of overlap shows."""

import numpy as np
import pandas as pd
from drawn_figures import overlap_table
from matplotlib.colors import to_hex

from mammorgb_utils.evaluation import overlap
from mammorgb_utils.output import style


def test_overlap_shows_n_without_empty_pairs_and_the_median():
    table = overlap_table(n=30, empty=2)
    figure = overlap.figures.overlap_distributions(table, overlap_table(n=60))
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == [f"{name}\nn = 28\n(2 empty)" for name in ("Real", "Sum", "Abs. diff.", "Zero")]
    assert f"{table.loc[table['set'] == 'zero', 'iou'].median():.3f}" in [text.get_text() for text in axes.texts]
    filled = [to_hex(body.get_facecolor()[0]).upper() for body in axes.collections]
    assert filled[1::2] == list(style.COLOURS.values()) and set(filled[::2]) == {style.BAND}
    assert len(figure.axes) == 6


def test_overlap_does_without_muscle_shuffled_pairs_and_spread():
    table = pd.DataFrame({"set": ["real"] * 3 + ["sum"] * 3, "iou": [0.8] * 3 + [np.nan] * 3})
    table["dsc"] = 2 * table["iou"] / (1 + table["iou"])
    figure = overlap.figures.overlap_distributions(table)
    assert len(figure.axes) == 3
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["Real\nn = 3", "Sum\nn = 0\n(3 empty)"]
