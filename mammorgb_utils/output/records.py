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
    """Note content and study of a file in a folder of a study, and more; called by whoever has just written it."""
    if study := study_digest(path.parent.parent):
        write_json(_record_of(path), {"sha256": sha256(path), "study": study, **more})


def write_metric(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of `runs/<name>/metrics/` as `write_csv`, and record it with the samples that it is about."""
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
    return read_json(_record_of(path))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON record; empty where there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def samples_digests(root: Path) -> dict[str, str]:
    """SHA-256 of the file of each synthetic set of a study, by its name."""
    return {path.parent.name: sha256(path) for path in sorted(root.glob("samples/*/pairs.npy"))}


def require_unchanged(path: Path, stage: str) -> None:
    """Refuse, with a `ValueError`, a file that isn't there, or isn't as its stage wrote it where that was recorded."""
    if not path.is_file():
        raise ValueError(f"{path.parent.name}/{path.name} isn't there yet; run notebook {stage} first")
    found = state(path)
    if found in (CHANGED, FOREIGN):
        raise ValueError(f"{path.parent.name}/{path.name} is {found}; remove it and run {stage} again")


def require_written(root: Path, stage: str) -> None:
    """`require_unchanged` for all that a stage such as `"04_metrics"` wrote for later ones, by `outputs.yaml`."""
    for file in load_outputs().notebooks[stage].writes:
        require_unchanged(root / file, stage)


def study_digest(root: Path) -> str:
    """SHA-256 of a study's protocol and manifest digest; empty outside a study's folder."""
    file = root / "protocol.json"
    return sha256(file) if file.is_file() else ""


def _record_of(path: Path) -> Path:
    return path.parent / _FOLDER / f"{path.name}.json"
