"""Whether a file is still what its notebook wrote, in this very study.

Each figure and table leaves its SHA-256 and that of the study's `protocol.json` in `.written/` beside it. That finds
what was edited by hand, half copied, or brought in from another study. It can't find what was changed together with
its record, nor a result that was wrong when it was written: who must rule that out makes the study anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mammorgb_utils.data.export import samples_digests
from mammorgb_utils.runs import sha256, write_csv, write_json

AS_WRITTEN = "as written"
CHANGED = "changed since it was written"
FOREIGN = "of another study"
UNRECORDED = "without a record"
_FOLDER = ".written"


def record(path: Path, columns: Sequence[str] = ()) -> None:
    """Note a file's content and study; called by whoever has just written it.

    Args:
        path: A file in a folder of a study, such as `runs/<name>/tables/claims.csv`; elsewhere nothing is noted.
        columns: Those that a page shows of a table that has more.
    """
    _note(path, {"columns": list(columns)})


def write_metric(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of `metrics/` atomically, without its row labels, and record it with the samples it is about.

    `require_unchanged` reads the record, and so does the export of samples.

    Args:
        path: Such as `runs/<name>/metrics/overlap.csv`.
        frame: Any table.
    """
    write_csv(path, frame)
    _note(path, {"samples": samples_digests(path.parent.parent)})


def shown_columns(path: Path) -> list[str]:
    """The columns that were noted for a page; empty where none were."""
    try:
        return list(json.loads(_record_of(path).read_text(encoding="utf-8"))["columns"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def state(path: Path) -> str:
    """One of `AS_WRITTEN`, `CHANGED`, `FOREIGN` (another study's, or another protocol's), `UNRECORDED`."""
    try:
        known = json.loads(_record_of(path).read_text(encoding="utf-8"))
        content, study = known["sha256"], known["study"]
    except (OSError, ValueError, KeyError, TypeError):
        return UNRECORDED
    if study != study_digest(path.parent.parent):
        return FOREIGN
    return AS_WRITTEN if content == sha256(path) else CHANGED


def require_unchanged(path: Path, stage: str) -> None:
    """Refuse a file that isn't what its stage wrote; one without a record passes.

    Raises:
        ValueError: It was changed, or is of another study; the message names the stage to run again.
    """
    found = state(path)
    if found in (CHANGED, FOREIGN):
        raise ValueError(f"{path.parent.name}/{path.name} is {found}; remove it and run {stage} again")


def study_digest(root: Path) -> str:
    """SHA-256 of a study's protocol and manifest digest; empty outside a study's folder."""
    file = root / "protocol.json"
    return sha256(file) if file.is_file() else ""


def _note(path: Path, more: dict[str, Any]) -> None:
    if study := study_digest(path.parent.parent):
        write_json(_record_of(path), {"sha256": sha256(path), "study": study, **more})


def _record_of(path: Path) -> Path:
    return path.parent / _FOLDER / f"{path.name}.json"
