"""Figures of the experiment: learning curves by arm, and every arm's difference to real pairs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from mammorgb_utils.data.pairs import HELDOUT
from mammorgb_utils.experiments.utility.arms import (
    AUGMENTED,
    CNN,
    DUPLICATED,
    LEARNERS,
    LOGISTIC,
    MORE,
    ONLY,
    REAL,
    SHUFFLED,
    SYNTHETIC,
    Cell,
    asked_items,
)
from mammorgb_utils.experiments.utility.cells import Scores
from mammorgb_utils.experiments.utility.pool import Pool
from mammorgb_utils.experiments.utility.tasks import Task
from mammorgb_utils.output import style
from mammorgb_utils.output.pictures import gallery

TASK_LABELS = {"pairing": "Do CC and MLO belong together?", "mass": "Is there a mass?",
               "density": "Density c or d?", "malignancy": "Suspicious of malignancy?"}
LEARNER_LABELS = {CNN: "Siamese network", LOGISTIC: "Logistic regression on anatomy"}
_REAL_ARMS = {REAL: "Real alone", AUGMENTED: "Real, augmented", DUPLICATED: "Real, repeated", MORE: "More real"}
_REAL_LOOKS = {REAL: {"color": style.EDGE, "linewidth": 1.6, "marker": "o"},
               AUGMENTED: {"color": style.QUIET, "linewidth": 0.9, "marker": "v"},
               DUPLICATED: {"color": style.QUIET, "linewidth": 0.9, "marker": "P", "linestyle": (0, (1, 1))},
               MORE: {"color": style.EDGE, "linewidth": 0.9, "marker": "*", "linestyle": (0, (4, 2))}}
_SYNTHETIC_ARMS = {SYNTHETIC: "{} pairs added", SHUFFLED: "{}, views shuffled", ONLY: "{} alone"}
_LINES = {SYNTHETIC: "-", SHUFFLED: (0, (1, 1)), ONLY: (0, (5, 2))}
_FILLS = {SYNTHETIC: 1.0, SHUFFLED: 0.0, ONLY: 0.45}  # opacity of a mark


@style.styled
def learning_curves(areas: pd.DataFrame) -> Figure:
    """The area under the ROC curve over the number of real patients, by arm, from `area_table`.

    A row a learner, a column a task; the band is the 95 % interval of real pairs alone.
    """
    tasks, learners = _order(areas["task"]), [name for name in LEARNERS if name in set(areas["learner"])]
    drawn = style.new_figure(style.DOUBLE_COLUMN, 28.0 + 46.0 * len(learners))
    grid = drawn.subplots(len(learners), len(tasks), squeeze=False, sharey=True)
    for (row, column), axes in np.ndenumerate(grid):
        part = areas[(areas["task"] == tasks[column]) & (areas["learner"] == learners[row])]
        for (arm, name), line in part.groupby(["arm", "set"], sort=False):
            axes.plot(line["n"], line["auc"], **_look(arm, name, 3.6))
            if arm == REAL:
                axes.fill_between(line["n"], line["auc_low"], line["auc_high"], color=style.BAND, linewidth=0, zorder=0)
        axes.axhline(0.5, **style.DASHED)
        axes.set_xscale("log")
        numbers = sorted(part["n"].unique())
        axes.set_xticks(numbers, [f"{n:,}" for n in numbers])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="Real patients" if row == len(learners) - 1 else "",
                 ylabel=f"{LEARNER_LABELS[learners[row]]}:\nAUC" if column == 0 else "")
        if row == 0:
            axes.set_title(TASK_LABELS.get(tasks[column], tasks[column]))
    _legend(drawn, areas)
    style.panel_letters(grid.flat)
    return drawn


@style.styled
def differences(contrasts: pd.DataFrame, *, margin: float) -> Figure:
    """Each arm's area minus that of real pairs alone, from `contrast_table`, beside the margin of equivalence.

    A column a number of real patients, a block a task, a row an arm; filled marks are the network's, open ones those of
    logistic regression. What lies beyond the edge of a panel is an arrow.
    """
    tasks = _order(contrasts["task"])
    arms = {task: list(dict.fromkeys(zip(part["arm"], part["set"], strict=True)))
            for task, part in contrasts.groupby("task", sort=False)}
    numbers = {task: sorted(part["n"].unique()) for task, part in contrasts.groupby("task", sort=False)}
    columns, reach = max(map(len, numbers.values())), _reach(contrasts, margin)
    drawn = style.new_figure(style.DOUBLE_COLUMN, 26.0 + 5.2 * sum(map(len, arms.values())))
    grid = drawn.subplots(len(tasks), columns, squeeze=False, sharex=True, sharey="row",
                          height_ratios=[len(arms[task]) for task in tasks])
    for (row, column), axes in np.ndenumerate(grid):
        task = tasks[row]
        if column >= len(numbers[task]):
            axes.set_visible(False)
            continue
        n = numbers[task][column]
        _forest(axes, contrasts[(contrasts["task"] == task) & (contrasts["n"] == n)], arms[task], margin, reach)
        last = column == len(numbers[task]) - 1
        axes.set_title(f"{'all ' if last else ''}{n:,} real patients", fontsize=6.5)
        if column == 0:
            axes.set_yticks(range(len(arms[task])), [_name(*arm) for arm in arms[task]])
            axes.set_ylim(len(arms[task]) - 0.4, -0.6)
            axes.set_ylabel(TASK_LABELS.get(task, task))
        axes.tick_params(axis="y", length=0)
    grid[-1][len(numbers[list(numbers)[-1]]) // 2].set_xlabel("AUC minus that of real alone")
    handles = [Line2D([], [], linestyle="", marker="o", color=fill, markeredgecolor=style.EDGE, markersize=4.0,
                      label=LEARNER_LABELS[name]) for name, fill in ((CNN, style.QUIET), (LOGISTIC, "white"))]
    handles.append(Patch(facecolor=style.BAND, label=f"Margin of equivalence ±{margin:g}"))
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return drawn


def one_cc(pool: Pool, task: Task, scores: Mapping[Cell, Scores], place: int) -> Figure:
    """A held-out CC beside its own MLO and beside those of strangers with like area, with what classifiers say.

    Args:
        task: Pairing.
        scores: Of `run_cells`; those that learned from all real patients, and nothing else, speak.
        place: Which CC, by the area of its own MLO.
    """
    cells = [cell for cell in scores if cell.task == task.name and cell.arm == REAL]
    most = max(cell.n for cell in cells)
    first = {cell.learner: scores[cell][HELDOUT] for cell in reversed(cells) if cell.n == most}
    items = asked_items(pool, task, cells[0])[HELDOUT]
    shown = np.flatnonzero(items.cc == items.cc[place])
    pairs = np.stack([pool.views(rows[shown], view) for view, rows in enumerate((items.cc, items.mlo))], axis=1)
    captions = [f"{'own' if items.label[item] else 'stranger'}: " + ", ".join(
        f"{'anatomy' if name == LOGISTIC else name.upper()} {first[name][item]:+.1f}" for name in LEARNERS)
        for item in shown]
    return gallery(pairs, captions, title="Higher: more surely one breast", columns=len(pairs))


def _forest(axes: Axes, rows: pd.DataFrame, arms: Sequence[tuple[str, str]], margin: float, reach: float) -> None:
    axes.axvspan(-margin, margin, color=style.BAND, linewidth=0, zorder=0)
    axes.axvline(0.0, color=style.QUIET, linewidth=0.6, zorder=1)
    for row in rows.itertuples():
        y = arms.index((row.arm, row.set)) + (-0.17 if row.learner == CNN else 0.17)
        axes.hlines(y, np.clip(row.difference_low, -reach, reach), np.clip(row.difference_high, -reach, reach),
                    color=style.EDGE, linewidth=0.6, zorder=2)
        colour = style.COLOURS.get(row.set, style.QUIET)
        marker = "o" if abs(row.difference) <= reach else ">" if row.difference > 0 else "<"
        axes.plot(np.clip(row.difference, -reach, reach), y, linestyle="", marker=marker, markersize=3.6,
                  color=colour if row.learner == CNN else "white", markeredgecolor=colour, markeredgewidth=0.8,
                  zorder=3, clip_on=False)
    axes.set_xlim(-1.05 * reach, 1.05 * reach)


def _reach(contrasts: pd.DataFrame, margin: float) -> float:
    """Half the width of a panel: nine differences of ten lie inside, and five margins do."""
    return max(5.0 * margin, float(contrasts["difference"].abs().quantile(0.9)) + margin)


def _order(tasks: pd.Series) -> list[str]:
    return list(dict.fromkeys(tasks))


def _name(arm: str, name: str) -> str:
    return _REAL_ARMS[arm] if arm in _REAL_ARMS else _SYNTHETIC_ARMS[arm].format(style.LABELS[name])


def _look(arm: str, name: str, size: float) -> Mapping[str, object]:
    if arm in _REAL_ARMS:
        return {"markersize": size, "zorder": 4, "markeredgecolor": style.EDGE, "markeredgewidth": 0.5,
                **_REAL_LOOKS[arm]}
    colour = style.COLOURS[name]
    return {"color": colour, "linestyle": _LINES[arm], "linewidth": 1.0 if arm == SYNTHETIC else 0.7,
            "marker": style.MARKERS[name], "markersize": size if arm == SYNTHETIC else 0.75 * size,
            "markerfacecolor": (colour, _FILLS[arm]), "markeredgecolor": colour if arm != SYNTHETIC else style.EDGE,
            "markeredgewidth": 0.5, "zorder": 3 if arm == SYNTHETIC else 2}


def _legend(drawn: Figure, areas: pd.DataFrame) -> None:
    arms = dict.fromkeys(zip(areas["arm"], areas["set"], strict=True))
    handles = [Line2D([], [], label=_name(*arm), **_look(*arm, 3.6)) for arm in arms]
    handles += [Patch(facecolor=style.BAND, label="95 % of real alone"), Line2D([], [], label="Chance", **style.DASHED)]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=3.4, columnspacing=1.2)
