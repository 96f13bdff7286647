"""All claims in one table, each with the verdict of the notebook that judged it; what an appendix judges itself; and
the questions beyond the paper, which are no claims of its."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tabulate import tabulate

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.output.records import CHANGED, FOREIGN, state
from mammorgb_utils.output.style import format_rate
from mammorgb_utils.reporting.claims import (
    NOT_RUN,
    NOT_TESTABLE,
    UNDERPOWERED,
    Judgement,
    cohort_source,
    of_phantoms,
    on_phantoms,
    verdict_of,
)
from mammorgb_utils.runs import Run, read_table

CLAIMS = "claims"
LEDGER = "claims_ledger"
QUESTIONS = "open_questions"
ANSWERED = "answered"
ANSWERS = ANSWERED, UNDERPOWERED, NOT_TESTABLE
SLOW, FAST = 1e-5, 1e-4  # the learning rates that a claim compares
OWN_TRAININGS = ("A1_learning_rate", "A5_third_channel")  # judge models of their own, whose curves aren't measured
# The measure of table `controls` on which notebook 05's verdict rests.
RESTS_ON = {"C1": "Shift of IoU", "C2": "EMD of IoU", "C3": "KS of IoU", "C7": "Consistency score"}
_COLUMNS = ["id", "claim", "paper", "criterion", "observed", "verdict", "note", "caveat", "learning", "judged_by",
            "also"]

_NARROW = {"id": 0.0, "claim": 0.5, "paper": 0.2, "verdict": 0.3}  # of a terminal: columns and their shares of it
_WIDE = {"id": 0.0, "claim": 0.28, "paper": 0.12, "observed": 0.44, "verdict": 0.16}


def claims_ledger(tables: Path) -> pd.DataFrame:
    """Every claim with the verdict of whichever notebook judged it; an appendix that judged goes before notebook 05.

    Args:
        tables: A study's `tables/`; what was changed there since it was written, or is another study's, isn't read.

    Returns:
        One row a claim, by id, as text: the columns of `evaluate_claims`, `caveat` (of notebook A7 on a verdict of
        05: another one under other masks, a measure that sees no planted fault), `learning` (which of the study's
        models were still learning, or `flat`), `judged_by`, `also` (what 05 said where an appendix judged after it).
    """
    listed, learning = load_outputs().tables, _learning(tables / "learning.csv")
    rows: dict[str, dict[str, str]] = {}
    for name in [CLAIMS, *(name for name in listed if name.endswith("_claim"))]:
        for row in _judged(tables / f"{name}.csv"):
            known = rows.get(row["id"], {"verdict": NOT_RUN})
            if row["id"] in rows and row["verdict"].startswith(NOT_RUN):
                continue
            also = "" if known["verdict"].startswith(NOT_RUN) else f"{known['judged_by']}: {known['verdict']}"
            own = listed[name].notebook in OWN_TRAININGS or row["verdict"].startswith(NOT_RUN)
            rows[row["id"]] = known | row | {"judged_by": listed[name].notebook, "also": also,
                                             "learning": "" if own else learning}
    caveats, blank = _caveats(tables), dict.fromkeys(_COLUMNS, "")
    for name, row in rows.items():
        row["caveat"] = caveats.get(name, "") if row["judged_by"] == listed[CLAIMS].notebook else ""
    return pd.DataFrame([blank | rows[name] for name in sorted(rows)], columns=_COLUMNS)


def claims_text(tables: Path, width: int) -> str:
    """The ledger as a terminal of `width` characters shows it; without claims nothing."""
    shares = _WIDE if width >= 110 else _NARROW
    frame = claims_ledger(tables)[list(shares)]
    room = max(width, 60) - frame["id"].str.len().max() - 2 * len(shares) if len(frame) else 0
    widths = [int(share * room) or None for share in shares.values()]
    return tabulate(frame, list(shares), tablefmt="simple", showindex=False, maxcolwidths=widths) if room else ""


def is_current(tables: Path) -> bool:
    """Whether the written ledger and open questions are what `claims_ledger` and `open_questions` give now."""
    for name, now in ((LEDGER, claims_ledger(tables)), (QUESTIONS, open_questions(tables))):
        written = pd.read_csv(tables / f"{name}.csv", dtype=str, keep_default_na=False)
        if written.to_dict("records") != now.to_dict("records"):
            return False
    return True


def answer(study: Run, notebook: str, observed: str, verdict: str, note: str = "") -> pd.DataFrame:
    """What an appendix beyond the paper found: the row of its table `<name>_answer`, which `open_questions` gathers.

    Args:
        notebook: Name of the appendix, such as `"B1_conditional"`; `outputs.yaml` says what question it is about.
        observed: The figures that the verdict rests on, in words.
        verdict: One of `ANSWERS`: answered (whichever way; a null result that had the power to be otherwise is an
            answer), underpowered, or not testable on this cohort.
        note: Why, where that isn't plain.

    Returns:
        One row: `id`, `question`, `observed`, `verdict`, which names phantoms where the study is made of them, `note`.

    Raises:
        ValueError: The verdict is none of `ANSWERS`.
    """
    if verdict not in ANSWERS:
        raise ValueError(f"{notebook}: verdict {verdict!r} is none of {', '.join(ANSWERS)}")
    if of_phantoms(cohort_source(study)):
        verdict = on_phantoms(verdict)
    return pd.DataFrame([{"id": notebook[:2], "question": load_outputs().notebooks[notebook].about,
                          "observed": observed, "verdict": verdict, "note": note}])


def open_questions(tables: Path) -> pd.DataFrame:
    """Every question beyond the paper with its appendix's answer.

    Args:
        tables: A study's `tables/`; what was changed there since it was written, or is another study's, isn't read.

    Returns:
        One row an appendix, in the order of `outputs.yaml`: the columns of `answer`, and `judged_by`, the notebook. The
        verdict of one that hasn't run is "not run".
    """
    listed, rows = load_outputs(), []
    for name, entry in listed.tables.items():
        if name.endswith("_answer"):
            asked = {"id": entry.notebook[:2], "question": listed.notebooks[entry.notebook].about, "observed": "",
                     "verdict": NOT_RUN, "note": "", "judged_by": entry.notebook}
            rows += [asked | row for row in _judged(tables / f"{name}.csv")] or [asked]
    return pd.DataFrame(rows, columns=["id", "question", "observed", "verdict", "note", "judged_by"])


def _judged(path: Path) -> list[dict[str, str]]:
    frame = _as_written(path)
    return frame.to_dict("records") if {"id", "verdict"} <= set(frame.columns) else []


def _learning(path: Path) -> str:
    """What is said of claims about the study's own models; empty where their curves aren't known."""
    frame = _as_written(path)
    if frame.empty or not {"encoding", "note"} <= set(frame.columns):
        return ""
    still = frame.loc[frame["note"] != "", ["note", "encoding"]].groupby("note")["encoding"].agg(", ".join)
    return "; ".join(f"{note}: {names}" for note, names in still.items()) or "flat"


def _caveats(tables: Path) -> dict[str, str]:
    """By claim what the tables of notebook A7 say against its verdict; without them nothing."""
    masks = _as_written(tables / "mask_verdicts.csv").reindex(columns=["id", "mask_method", "verdict", "changed"])
    controls = _as_written(tables / "controls.csv").reindex(columns=["measure", "note"]).astype(str)
    blind = set(controls.loc[controls["note"].str.contains("sees nothing"), "measure"])
    found = [(name, f"{verdict} under masks by {', '.join(part['mask_method'])}")
             for (name, verdict), part in masks[masks["changed"] == "True"].groupby(["id", "verdict"])]
    found += [(name, f"{measure} sees no planted fault") for name, measure in RESTS_ON.items() if measure in blind]
    return {name: "; ".join(text for other, text in found if other == name) for name, _ in found}


def _as_written(path: Path) -> pd.DataFrame:
    """A table as text; without rows where it isn't there, isn't what its notebook wrote, or can't be read."""
    if not path.is_file() or state(path) in (CHANGED, FOREIGN):
        return pd.DataFrame()
    try:
        frame = read_table(path)
    except (ValueError, OSError):  # empty, or no CSV
        return pd.DataFrame()
    return frame.astype(object).where(frame.notna(), "").astype(str)


def learning_rate_claim(runs: pd.DataFrame, prediction_type: str) -> dict[str, str]:
    """Whether the lower learning rate trained more stably at every seed: it diverged less, or was clipped less where
    both did or neither; one seed worse refutes it.

    Args:
        runs: One row a run: `learning_rate`, `seed`, `clipped` (share of steps), `diverged`.
        prediction_type: Of the base's scheduler. The claim speaks of a base that predicts the noise; on another one
            stability is shown and nothing judged.

    Returns:
        `observed`, `verdict`, `note`, for `evaluate_claims` as `learning_rate_sweep`.
    """
    slow, fast = (runs[np.isclose(runs["learning_rate"], rate)].set_index("seed") for rate in (SLOW, FAST))
    seeds = slow.index.intersection(fast.index)
    if not len(seeds):
        return Judgement("", NOT_RUN, f"no seed was trained at {SLOW:g} and {FAST:g}")._asdict()
    slow, fast = slow.loc[seeds], fast.loc[seeds]
    observed = "; ".join(f"{format_rate(rate)}: clipped in {', '.join(f'{share:.0%}' for share in part['clipped'])} of "
                         f"steps, {int(part['diverged'].sum())} of {len(part)} runs diverged"
                         for rate, part in ((SLOW, slow), (FAST, fast)))
    if prediction_type != "epsilon":
        return Judgement(observed, NOT_TESTABLE, "the claim speaks of a base that predicts the noise; this one's "
                                                 f"prediction type is {prediction_type}")._asdict()
    # Divergence first: a run that ended early has few steps to be clipped in.
    more, clipped = (slow[name].astype(float) - fast[name].astype(float) for name in ("diverged", "clipped"))
    more = more.where(more != 0, clipped)
    return Judgement(observed, verdict_of((more < 0).all(), (more > 0).any()))._asdict()
