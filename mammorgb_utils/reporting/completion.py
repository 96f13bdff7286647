"""B2's answer in words: what a view determines of the other one, as a model sees it."""

from __future__ import annotations

import pandas as pd

from mammorgb_utils.experiments.completion.tables import ANATOMY
from mammorgb_utils.experiments.completion.views import ANEW, COMPLETED
from mammorgb_utils.reporting.claims import NOT_TESTABLE, UNDERPOWERED, Judgement
from mammorgb_utils.reporting.ledger import ANSWERED

_HALFWAY = 0.5  # of the way from chance to the ceiling: a model whose upper bound is below it knows little
_SHOWN = ("area", "nipple_line", "centroid")  # measures that the sentence names


def completion_answer(retrieval: pd.DataFrame, anatomy: pd.DataFrame, loss: pd.Series | None = None,
                      learning: str = "") -> Judgement:
    """Judge both directions by how often completed views point to the true one.

    A direction is testable where the ceiling, phantoms exposed anew or, of patients, measured anatomy, lies surely
    above chance. It is answered where completed views do, too, or where they surely stay below the middle between
    chance and ceiling.

    Args:
        retrieval, anatomy: Of `retrieval_table` and `anatomy_table`, both directions.
        loss: Of the model, the row of `pairing_gain`.
        learning: What its learning curve says of its end; the note passes it on, as a model that still learned may
            answer otherwise later.
    """
    parts = {name: rows.set_index("set") for name, rows in retrieval.groupby("direction", sort=False)}
    states = {name: _state(rows) for name, rows in parts.items()}
    found = set(states.values())
    judged = NOT_TESTABLE if found <= {NOT_TESTABLE} else UNDERPOWERED if UNDERPOWERED in found else ANSWERED
    observed = "; ".join(_sentence(name, rows, anatomy[anatomy["direction"] == name])
                         for name, rows in parts.items() if states[name] != NOT_TESTABLE)
    if loss is not None and observed:
        observed += "; by its own loss {top1_relative:.2f} [{top1_relative_low:.2f}, {top1_relative_high:.2f}]".format(
            **loss)
    return Judgement(observed, judged, _note(states, anatomy, learning))


def _ceiling(rows: pd.DataFrame) -> pd.Series | None:
    known = [name for name in (ANEW, ANATOMY) if name in rows.index and pd.notna(rows.loc[name, "accuracy"])]
    return rows.loc[known[0]] if known else None


def _state(rows: pd.DataFrame) -> str:
    ceiling = _ceiling(rows)
    if ceiling is None or COMPLETED not in rows.index or not ceiling["low"] > ceiling["chance"]:
        return NOT_TESTABLE
    own = rows.loc[COMPLETED]
    middle = own["chance"] + _HALFWAY * (ceiling["accuracy"] - own["chance"])
    return ANSWERED if own["low"] > own["chance"] or own["high"] < middle else UNDERPOWERED


def _sentence(direction: str, rows: pd.DataFrame, anatomy: pd.DataFrame) -> str:
    own, ceiling = rows.loc[COMPLETED], _ceiling(rows)
    said = anatomy[anatomy["set"] == COMPLETED].set_index("measure")
    scalars = ", ".join(f"{name.replace('_', ' ')} {said.loc[name, 'r']:.2f}" for name in _SHOWN if name in said.index)
    return (f"{direction}: own view picked in {own['accuracy']:.2f} [{own['low']:.2f}, {own['high']:.2f}] of cases "
            f"(chance {own['chance']:.3g}, ceiling {ceiling['accuracy']:.2f}), r of {scalars}")


def _note(states: dict[str, str], anatomy: pd.DataFrame, learning: str) -> str:
    """Which directions can't be judged, which scalars' truth lies in the drawn range too seldom, what was learned."""
    notes = [f"{direction}: no ceiling above chance" for direction, state in states.items() if state == NOT_TESTABLE]
    own = anatomy[(anatomy["set"] == COMPLETED) & (anatomy["coverage_high"] < anatomy["nominal"])]
    if len(own):
        named = ", ".join(f"{row.measure.replace('_', ' ')} ({row.direction}) {row.coverage:.2f} of {row.nominal:.2f}"
                          for row in own.itertuples())
        notes.append(f"the model is too sure: the truth lies in its inner range too seldom for {named}")
    notes += [f"the model: {learning}"] if learning else []
    return "; ".join(notes)
