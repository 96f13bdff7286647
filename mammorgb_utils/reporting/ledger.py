"""All claims in one table, each with the verdict of the notebook that judged it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mammorgb_utils.output.producers import TABLES
from mammorgb_utils.output.records import CHANGED, FOREIGN, state
from mammorgb_utils.reporting.verdicts import NOT_RUN
from mammorgb_utils.runs import read_table

CLAIMS = "claims"
LEDGER = "claims_ledger"
_CLAIM_TABLE = "_claim"  # how the names of the appendices' own claim tables end
_COLUMNS = ("id", "claim", "paper", "criterion", "observed", "verdict", "note", "judged_by", "also")


def claims_ledger(tables: Path) -> pd.DataFrame:
    """Every claim with the verdict of whichever notebook judged it; an appendix that judged goes before notebook 05.

    Args:
        tables: A study's `tables/`; what was changed there since it was written, or is another study's, isn't read.

    Returns:
        One row a claim, by id: `id`, `claim`, `paper`, `criterion`, `observed`, `verdict`, `note`, `judged_by` (the
        notebook), `also` (what notebook 05 said where an appendix judged after it); text, empty where nothing is known.
    """
    producers = {name: stage for name, stage in TABLES.items() if name == CLAIMS or name.endswith(_CLAIM_TABLE)}
    rows: dict[str, dict[str, str]] = {}
    for name, stage in sorted(producers.items(), key=lambda item: item[0] != CLAIMS):
        for row in _rows(tables / f"{name}.csv"):
            rows[row["id"]] = _merged(rows.get(row["id"]), row | {"judged_by": stage})
    blank = dict.fromkeys(_COLUMNS, "")
    return pd.DataFrame([blank | rows[name] for name in sorted(rows)], columns=list(_COLUMNS))


def is_current(tables: Path) -> bool:
    """Whether the ledger that notebook 05 wrote is what `claims_ledger` gives now."""
    written = pd.read_csv(tables / f"{LEDGER}.csv", dtype=str, keep_default_na=False)
    return written.to_dict("records") == claims_ledger(tables).to_dict("records")


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file() or state(path) in (CHANGED, FOREIGN):
        return []
    try:
        frame = read_table(path)
    except (ValueError, OSError):  # empty, or no CSV
        return []
    frame = frame.astype(object).where(frame.notna(), "").astype(str)
    return frame.to_dict("records") if {"id", "verdict"} <= set(frame.columns) else []


def _merged(known: dict[str, str] | None, found: dict[str, str]) -> dict[str, str]:
    """The row that judged; where both did, the later one, with a word on the other."""
    if known is None:
        return found
    if found["verdict"].startswith(NOT_RUN):
        return known
    other = "" if known["verdict"].startswith(NOT_RUN) else f"{known['judged_by']}: {known['verdict']}"
    return {**known, **found, "also": other}
