"""Whether a file is still what its notebook wrote, in this very study.

Each figure and table leaves its SHA-256 and that of the study's `protocol.json` in `.written/` beside it. That finds
what was edited by hand, half copied, or brought in from another study. It can't find what was changed together with
its record, nor a result that was wrong when it was written: who must rule that out makes the study anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.runs import sha256, write_csv, write_json

AS_WRITTEN = "as written"
CHANGED = "changed since it was written"
FOREIGN = "of another study"
UNRECORDED = "without a record"
_FOLDER = ".written"


def record(path: Path, **more: Any) -> None:
    """Note a file's content and study; called by whoever has just written it.

    Args:
        path: A file in a folder of a study, such as `runs/<name>/tables/claims.csv`; elsewhere nothing is noted.
        more: What else the record shall hold.
    """
    if study := study_digest(path.parent.parent):
        write_json(_record_of(path), {"sha256": sha256(path), "study": study, **more})


def write_metric(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of `metrics/` atomically, without its row labels, and record it with the samples it is about.

    `require_unchanged` reads the record, and so does the export of samples.

    Args:
        path: Such as `runs/<name>/metrics/overlap.csv`.
        frame: Any table.
    """
    write_csv(path, frame)
    record(path, samples=samples_digests(path.parent.parent))


def state(path: Path) -> str:
    """One of `AS_WRITTEN`, `CHANGED`, `FOREIGN` (another study's, or another protocol's), `UNRECORDED`."""
    known = recorded(path)
    if not {"sha256", "study"} <= set(known):
        return UNRECORDED
    if known["study"] != study_digest(path.parent.parent):
        return FOREIGN
    return AS_WRITTEN if known["sha256"] == sha256(path) else CHANGED


def recorded(path: Path) -> dict[str, Any]:
    """What was noted of a file when it was written; empty without a record."""
    try:
        known = json.loads(_record_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def samples_digests(root: Path) -> dict[str, str]:
    """SHA-256 of the file of each synthetic set of a study, by its name."""
    return {path.parent.name: sha256(path) for path in sorted(root.glob("samples/*/pairs.npy"))}


def require_unchanged(path: Path, stage: str) -> None:
    """Refuse a file that isn't what its stage wrote; one without a record passes.

    Raises:
        ValueError: It was changed, or is of another study; the message names the stage to run again.
    """
    found = state(path)
    if found in (CHANGED, FOREIGN):
        raise ValueError(f"{path.parent.name}/{path.name} is {found}; remove it and run {stage} again")


def require_written(root: Path, stage: str) -> None:
    """Refuse a study in which a file that an executed notebook wrote for later ones isn't as it was written.

    Args:
        root: The run folder.
        stage: Such as `"04_metrics"`; `outputs.yaml` lists what it writes.

    Raises:
        ValueError: As `require_unchanged`.
    """
    for file in load_outputs().notebooks[stage].writes:
        require_unchanged(root / file, stage)


def study_digest(root: Path) -> str:
    """SHA-256 of a study's protocol and manifest digest; empty outside a study's folder."""
    file = root / "protocol.json"
    return sha256(file) if file.is_file() else ""


def _record_of(path: Path) -> Path:
    return path.parent / _FOLDER / f"{path.name}.json"
