"""The figure of the controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from mammorgb_utils.evaluation.controls.degrade import CONTROLS
from mammorgb_utils.output import style

_TITLES = {"none": "as is", "strangers": "strangers\n[share]", "blur": "blur\n[SD, width/64]", "noise": "noise\n[SD]",
           "collapse": "repeated\n[share]", "copies": "copies of\ntraining [share]", "contour": "other contour\n[grey]"}


@style.styled
def controls(table: pd.DataFrame) -> Figure:
    """How often each measure sees each fault at each dose, in percent of the draws.

    Args:
        table: From `control_table`.

    Returns:
        A row a measure, a column a dose, a block a control; measures that see nothing or find faults in real pairs are
        marked.
    """
    columns = [(name, dose) for name, doses in CONTROLS.items() for dose in doses]
    seen = table.pivot(index="measure", columns=["control", "dose"], values="seen")
    seen = seen.reindex(index=table["measure"].unique(), columns=columns).astype(float) * 100.0
    notes = table.groupby("measure")["note"].first()
    marks = {name: " †" * ("nothing" in note) + " ‡" * ("alarms" in note) for name, note in notes.items()}
    figure = style.new_figure(style.DOUBLE_COLUMN, 34.0 + 4.6 * len(seen))
    axes = figure.subplots()
    sns.heatmap(seen.to_numpy(), ax=axes, vmin=0.0, vmax=100.0, cmap="Blues", cbar=False, annot=True, fmt=".0f",
                annot_kws={"fontsize": 5.5}, mask=seen.isna().to_numpy(), linewidths=0.3, linecolor="white")
    axes.set_yticks(np.arange(len(seen)) + 0.5, [name + marks[name] for name in seen.index], rotation=0)
    axes.set_xticks(np.arange(len(columns)) + 0.5, ["" if name == "none" else f"{dose:g}" for name, dose in columns],
                    rotation=0, fontsize=6)
    axes.set_facecolor(style.BAND)  # shows where a criterion couldn't be applied
    axes.tick_params(length=0)
    axes.set(xlabel="Dose", ylabel="")
    start = 0
    for name, doses in CONTROLS.items():
        axes.text(start + len(doses) / 2, -0.25, _TITLES[name], ha="center", va="bottom", fontsize=6)
        start += len(doses)
        axes.axvline(start, color=style.EDGE, linewidth=0.8 if start < len(columns) else 0.0)
    sizes = table[["n", "n_real", "draws"]].iloc[0]
    figure.supxlabel("Draws in which the study's own criterion sees it (%): {:.0f} against {:.0f} pairs, {:.0f} draws. "
                     " † sees nothing  ‡ sees faults in real pairs".format(*sizes), fontsize=6.5)
    return figure
