"""B3's answer in words: does a synthetic pair save a classifier a real patient."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mammorgb_utils.experiments.learning_curve import ONE_TRAINING
from mammorgb_utils.experiments.utility.arms import LOGISTIC, SYNTHETIC
from mammorgb_utils.experiments.utility.results import EQUIVALENT, FLAT, GAIN, LOSS, MATCHED, PRIMARY
from mammorgb_utils.reporting.claims import NOT_TESTABLE, UNDERPOWERED, Judgement
from mammorgb_utils.reporting.ledger import ANSWERED

_NO_GAIN = EQUIVALENT, LOSS, MATCHED


def utility_answer(areas: pd.DataFrame, contrasts: pd.DataFrame, left_out: Sequence[str] = (),
                   learning: str = "") -> Judgement:
    """By the one question that every cohort can be asked, `PRIMARY`; other tasks and learners stand beside it.

    It is testable where the learning curve of real pairs surely rises: what no real patient improves, no synthetic pair
    can be expected to.

    Args:
        areas, contrasts: Of `area_table` and `contrast_table`.
        left_out: Why tasks were left out, of `study_tasks`.
        learning: What the models' learning curves say of their end.

    Returns:
        Answered where synthetic pairs of an encoding show a gain with a number of patients, or none of them can have
        one of the margin; underpowered between the two.
    """
    drawn = contrasts[contrasts["arm"] == SYNTHETIC]
    states = {where: _state(areas, part, where) for where, part in drawn.groupby(["task", "learner"], sort=False)}
    observed = "; ".join(
        f"{task}, {'anatomy' if learner == LOGISTIC else 'network'}"
        f"{'' if (task, learner) == PRIMARY else ', exploratory'}: "
        f"{state}{_figures(areas, drawn, task, learner)}" for (task, learner), state in states.items())
    primary = drawn[(drawn["task"] == PRIMARY[0]) & (drawn["learner"] == PRIMARY[1])]
    verdict = (NOT_TESTABLE if states[PRIMARY] == NOT_TESTABLE else ANSWERED if
               (primary["verdict"] == GAIN).any() or primary["verdict"].isin(_NO_GAIN).all() else UNDERPOWERED)
    notes = ["the generator saw all training patients, so that a gain with fewer may be those that a classifier didn't "
             "see", ONE_TRAINING, *([f"the models: {learning}"] if learning else [])]
    if NOT_TESTABLE in states.values():
        notes.append("where more real patients aren't surely seen to help, nothing is judged")
    return Judgement(observed, verdict, ". ".join([*notes, *left_out]))


def _state(areas: pd.DataFrame, rows: pd.DataFrame, where: tuple[str, str]) -> str:
    """What synthetic pairs do, and whether beside all patients that the generator saw or beside fewer."""
    if (areas.loc[(areas["task"] == where[0]) & (areas["learner"] == where[1]), "note"] == FLAT).all():
        return NOT_TESTABLE
    most, won = rows["n"].max(), rows["verdict"] == GAIN
    parts = {f"beside all {most} patients": rows["n"] == most, "beside fewer than the generator saw": rows["n"] < most}
    if gains := [name for name, part in parts.items() if (won & part).any()]:
        return f"gain {' and '.join(gains)}"
    return "no gain" if rows["verdict"].isin(_NO_GAIN).all() else UNDERPOWERED


def _figures(areas: pd.DataFrame, drawn: pd.DataFrame, task: str, learner: str) -> str:
    """Range of the differences, of the leads over controls, and of what a pair is worth where the curve tells."""
    shift, lead, worth = (table.loc[(table["task"] == task) & (table["learner"] == learner), name].agg(["min", "max"])
                          for table, name in ((drawn, "difference"), (drawn, "lead"), (
                              areas[(areas["arm"] == SYNTHETIC) & (areas["note"] == "")], "worth")))
    patients = f", a pair worth {worth['min']:+.2f} to {worth['max']:+.2f} patients" if worth.notna().all() else ""
    return (f" (ΔAUC {shift['min']:+.3f} to {shift['max']:+.3f}, over controls {lead['min']:+.3f} to "
            f"{lead['max']:+.3f}{patients})")
