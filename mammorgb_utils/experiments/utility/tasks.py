"""What a classifier is asked, where its labels come from, and which real patients it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import HELDOUT, TRAIN, load_pairs
from mammorgb_utils.evaluation.anatomy import true_anatomy
from mammorgb_utils.experiments.utility.pool import Items, Pool, label_items, pairing_items
from mammorgb_utils.runs import Run
from mammorgb_utils.streams import Stream, generator

PAIRING = "pairing"  # the task without a label: which MLO belongs to a CC
LABELS = "truth", "density", "birads", "none"  # where the other tasks' labels come from
FEWEST = 2  # patients of each class, below which nothing is learned or tested
_BIRADS = {1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 1}  # suspicious or proven; 0 needs another image
_DENSITY = {"A": 0, "B": 0, "C": 1, "D": 1}


class UtilityError(ValueError):
    """The question can't be asked of this study; the message names field, fact and remedy."""


@dataclass(frozen=True)
class Task:
    """A question about pairs; `label` is `(N,)` of the pool, 1 or 0, NaN where unknown, and None for pairing."""

    name: str
    label: np.ndarray | None = None

    def known(self, pool: Pool, part: str) -> np.ndarray:
        """The rows of a set of which the task can be asked."""
        rows = pool.rows(part)
        return rows if self.label is None else rows[np.isfinite(self.label[rows])]

    def items(self, pool: Pool, rows: np.ndarray) -> Items:
        """What is asked of real pairs."""
        return pairing_items(pool, rows) if self.label is None else label_items(rows, self.label[rows])


def study_tasks(run: Run, pool: Pool, field: str) -> tuple[list[Task], list[str]]:
    """Pairing, and what labels say of single pairs.

    Args:
        field: Where labels come from, one of `LABELS`.

    Returns:
        The tasks, and why others were left out: there is no such label, or too few patients of a class. Pairing needs
        none, and is asked of any study.

    Raises:
        UtilityError: Pairing can't be asked, or `field` is none of `LABELS`.
    """
    if field not in LABELS:
        raise UtilityError(f"label: {field!r} isn't known; use one of {', '.join(LABELS)}")
    if fault := _fault(Task(PAIRING), pool, run):
        raise UtilityError(fault)
    try:
        labels = _labels(run, field) if field != "none" else {}
    except UtilityError as error:
        return [Task(PAIRING)], [str(error)]
    asked = [Task(name, pool.anatomy["pair"].map(label).to_numpy(float)) for name, label in labels.items()]
    faults = [_fault(task, pool, run) for task in asked]
    return ([Task(PAIRING), *(task for task, fault in zip(asked, faults, strict=True) if not fault)],
            list(filter(None, faults)))


def _labels(run: Run, field: str) -> dict[str, pd.Series]:
    """By task the label of each pair that is known, indexed by its name."""
    index = load_pairs(run, "all")[1].set_index("pair")
    if field == "truth":
        truth = true_anatomy(run).set_index("pair")
        if not len(truth):
            raise UtilityError("label: truth is that of phantoms, and these pairs are none; set the notebook's label "
                               "to density or birads where the manifest has it")
        grades = truth["birads_density"].str.upper()
        return {"mass": (truth["n_masses"] > 0).astype(float), "density": grades.map(_DENSITY)}
    if field not in index or index[field].isna().all():
        raise UtilityError(f"label: the manifest states no {field}; add that column, or set the notebook's label to "
                           "another one")
    return {"density": index["density"].map(_DENSITY)} if field == "density" else {
        "malignancy": index["birads"].map(_BIRADS)}


def _fault(task: Task, pool: Pool, run: Run) -> str:
    """Why a task can't be asked; empty where it can."""
    for part in (TRAIN, HELDOUT):
        rows = task.known(pool, part)
        label = np.zeros(len(rows)) if task.label is None else task.label[rows]
        patients = [len(set(pool.patients[rows[label == value]])) for value in ((0,) if task.label is None else (0, 1))]
        if min(patients) >= FEWEST:
            continue
        if task.label is None:
            return (f"pairing: {patients[0]} {part} patients with masks in both views; {FEWEST} are the least, as a CC "
                    "needs a stranger")
        grades = f" Pairs have BI-RADS {', '.join(map(str, run.protocol.accepted_birads))} alone: accepted_birads " \
                 "decides it." if task.name == "malignancy" else ""
        return (f"{task.name} can't be tested, as {patients[1]} of {sum(patients)} {part} patients have it and "
                f"{patients[0]} don't; {FEWEST} of each are the least.{grades}")
    return ""


def patient_order(pool: Pool, task: Task, seed: int) -> np.ndarray:
    """Rows of training pairs, one a patient, in the order in which patients join: `n` real patients are the first n.

    Classes take turns by their shares, so that any beginning holds both as the whole does.
    """
    rows = generator(seed, Stream.UTILITY_PATIENTS).permutation(task.known(pool, TRAIN))
    rows = rows[~pd.Series(pool.patients[rows]).duplicated().to_numpy()]
    if task.label is None:
        return rows
    place, label = np.empty(len(rows)), task.label[rows]
    for value in (0, 1):
        mine = label == value
        place[mine] = (np.arange(mine.sum()) + 0.5) / max(mine.sum(), 1)
    return rows[np.argsort(place, kind="stable")]


def sizes(pool: Pool, task: Task, n_real: Sequence[int]) -> list[int]:
    """The numbers of real patients that are tried: those asked for, and all.

    Raises:
        UtilityError: More are asked for than there are, or so few that a class has no two patients.
    """
    order = patient_order(pool, task, 0)
    if not n_real or min(n_real) < FEWEST or max(n_real) > len(order):
        raise UtilityError(f"n_real: {', '.join(map(str, n_real)) or 'none'} asked for; {task.name} has {len(order)} "
                           f"training patients, so use numbers from {FEWEST} to {len(order)}")
    if task.label is not None:
        first = task.label[order[:min(n_real)]]
        if min((first == 0).sum(), (first == 1).sum()) < FEWEST:
            raise UtilityError(f"n_real: of {min(n_real)} training patients fewer than {FEWEST} are of either class of "
                               f"{task.name}; begin with more")
    return sorted({*n_real, len(order)})


def task_table(pool: Pool, tasks: Sequence[Task]) -> pd.DataFrame:
    """How many patients and pairs each task has, by split: `patients`, `pairs`, `positive` (share; NaN for pairing),
    and `left_out`, pairs without a mask in both views or without a label."""
    rows = []
    for task in tasks:
        for part in (TRAIN, HELDOUT):
            known = task.known(pool, part)
            rows.append({"task": task.name, "split": part, "patients": len(set(pool.patients[known])),
                         "pairs": len(known), "left_out": len(pool.parts[part]) - len(known),
                         "positive": np.nan if task.label is None else task.label[known].mean()})
    return pd.DataFrame(rows)
