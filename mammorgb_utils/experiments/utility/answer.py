"""What the experiment answers, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from mammorgb_utils.experiments.utility.arms import LOGISTIC, MORE, SHUFFLED, SYNTHETIC
from mammorgb_utils.experiments.utility.results import EQUIVALENT, GAIN, LOSS

YES, NO = "gain", "no gain"
UNDERPOWERED, NOT_TESTABLE, ANSWERED = "underpowered", "not testable on this cohort", "answered"


class Answer(NamedTuple):
    """As `reporting.answer` takes it."""

    observed: str
    verdict: str
    note: str


def answer_in_words(areas: pd.DataFrame, contrasts: pd.DataFrame, left_out: Sequence[str] = (), *,
                    alpha: float) -> Answer:
    """Does a synthetic pair save a real patient, over all tasks and learners.

    A task is testable with a learner where more real patients help it, at alpha: what no real patient improves, no
    synthetic pair can be expected to. It shows a gain where synthetic pairs of one encoding do with one number of
    patients, after Holm; no gain where all of them are equivalent or a loss.

    Args:
        areas, contrasts: Of `area_table` and `contrast_table`.
        left_out: Why tasks were left out, of `study_tasks`.

    Returns:
        Answered where one task shows a gain, or all testable ones show none; not testable where none is.
    """
    states = {where: _state(part, alpha) for where, part in contrasts.groupby(["task", "learner"], sort=False)}
    testable = [state for state in states.values() if state != NOT_TESTABLE]
    verdict = NOT_TESTABLE if not testable else ANSWERED if YES in testable or set(testable) == {NO} else UNDERPOWERED
    observed = "; ".join(f"{task}, {'anatomy' if learner == LOGISTIC else 'network'}: {state}"
                         f"{_figures(areas, contrasts, task, learner)}" for (task, learner), state in states.items())
    return Answer(observed, verdict, ". ".join([*_notes(contrasts, states), *left_out]))


def _state(rows: pd.DataFrame, alpha: float) -> str:
    more = rows[rows["arm"] == MORE]
    if not ((more["p"] < alpha) & (more["difference"] > 0)).any():
        return NOT_TESTABLE
    verdicts = rows.loc[rows["arm"] == SYNTHETIC, "verdict"]
    return YES if (verdicts == GAIN).any() else NO if verdicts.isin([EQUIVALENT, LOSS]).all() else UNDERPOWERED


def _figures(areas: pd.DataFrame, contrasts: pd.DataFrame, task: str, learner: str) -> str:
    """Range of the differences, and of what a pair is worth where the curve of real pairs tells."""
    shift, worth = (table.loc[(table["task"] == task) & (table["learner"] == learner) & (table["arm"] == SYNTHETIC),
                              column].agg(["min", "max"])
                    for table, column in ((contrasts, "difference"), (areas[areas["note"] == ""], "worth")))
    patients = f", a pair worth {worth['min']:+.2f} to {worth['max']:+.2f} patients" if worth.notna().all() else ""
    return f" (ΔAUC {shift['min']:+.3f} to {shift['max']:+.3f}{patients})"


def _notes(contrasts: pd.DataFrame, states: dict[tuple[str, str], str]) -> list[str]:
    notes = ["the generator saw all training patients, also where a classifier saw a few"]
    if NOT_TESTABLE in states.values():
        notes.append("where more real patients don't help either, nothing is judged")
    keys = ["task", "learner", "set", "n"]
    won = contrasts[contrasts["verdict"] == GAIN]
    both = won[won["arm"] == SYNTHETIC].merge(won[won["arm"] == SHUFFLED], on=keys)
    if len(both):
        notes.append(f"in {len(both)} of {(won['arm'] == SYNTHETIC).sum()} gains pairs with shuffled views gain as "
                     "well, so it isn't their pairing")
    return notes
