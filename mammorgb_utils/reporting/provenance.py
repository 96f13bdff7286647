"""What made a study: its protocol, its stages with commit, machine and run time, its data flow, its digests."""

from __future__ import annotations

import ast
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pandas as pd

from mammorgb_utils.output.records import read_json, study_digest
from mammorgb_utils.output.style import NAMES
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, read_table, sha256

_QUESTION = "**Question.**"
_OPEN = "open: "  # how the meaning of a field begins that the paper doesn't state


class Stage(NamedTuple):
    """One executed notebook, with the facts of its provenance line."""

    name: str
    title: str = ""
    question: str = ""
    minutes: float = np.nan
    facts: dict[str, str] = {}
    began: str = ""  # ISO 8601, of the first cell; empty where it isn't known
    ended: str = ""


def stages(root: Path) -> list[Stage]:
    """The executed notebooks of a study, in order; of one that can't be read only the name."""
    found = sorted(path for path in (root / "notebooks").glob("*.ipynb") if not path.name.endswith(".failed.ipynb"))
    return [_stage(path) for path in found]


def _stage(path: Path) -> Stage:
    try:
        cells = nbformat.read(path, as_version=4).cells
        head = [*cells[0].source.splitlines(), ""]
    except (OSError, ValueError, KeyError, AttributeError, IndexError):  # nbformat's own error is a ValueError
        return Stage(path.stem)
    question = next((line.removeprefix(_QUESTION).strip() for line in head if line.startswith(_QUESTION)), "")
    notes = [cell.metadata.get("papermill", {}) for cell in cells]
    times = pd.Series([note.get("duration") for note in notes], dtype=float)
    facts = next(filter(None, (_facts(output) for cell in cells for output in cell.get("outputs", ()))), {})
    began, ended = ([note[name][:19] + note[name][26:] for note in notes if note.get(name)] for name in
                    ("start_time", "end_time"))
    return Stage(path.stem, head[0].removeprefix("# ").strip(), question, times.sum(min_count=1) / 60.0, facts,
                 min(began, default=""), max(ended, default=""))


def _facts(output: Any) -> dict[str, str]:
    """The provenance line that a notebook prints after its imports; empty for any other output."""
    try:
        found = ast.literal_eval(output.get("data", {}).get("text/plain", ""))
    except (ValueError, SyntaxError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) and "commit" in found \
        else {}


def stage_table(found: list[Stage]) -> pd.DataFrame:
    """One row a stage: commit, machine, run time."""
    own = {"Commit": "commit", "Machine": "machine", "Device": "device"}
    rows = [[stage.name, *(stage.facts.get(fact, "") for fact in own.values()), stage.minutes] for stage in found]
    return pd.DataFrame(rows, columns=["Stage", *own, "Run time [min]"])


def version_table(found: list[Stage]) -> pd.DataFrame:
    """Versions of Python and libraries; where stages differ, all of them."""
    versions: dict[str, dict[str, None]] = {}
    for stage in found:
        for name, version in stage.facts.items():
            versions.setdefault(name, {})[version] = None
    rows = [(name, ", ".join(known)) for name, known in versions.items()
            if name not in {"commit", "machine", "device", "seed", "profile"}]
    return pd.DataFrame(rows, columns=["Library", "Version"], dtype=str)


def digest_table(run: Run) -> pd.DataFrame:
    """SHA-256 of what the study was made from and of what it made."""
    rows = [("Manifest", read_json(run.root / "protocol.json").get("manifest_sha256")),
            ("Protocol and manifest", study_digest(run.root)),
            ("Reference of the histogram matching", read_json(run.pairs_record).get("reference_sha256")),
            ("Preprocessed pairs", _sha(run.pairs))]
    for name in run.protocol.encodings:
        model = read_json(run.model(name) / "mammorgb.json")
        rows += [(f"Base model of {NAMES[name]}", model.get("base_sha256")),
                 (f"Model of {NAMES[name]}", model.get("digest")),
                 (f"Synthetic pairs of {NAMES[name]}", _sha(run.samples(name)))]
    return pd.DataFrame([row for row in rows if row[1]], columns=["What", "SHA-256"])


def data_flow(run: Run) -> list[tuple[str, str, str]]:
    """From the manifest to the metrics: each step that is done, its count, and details of it."""
    steps = []
    if run.images.is_file():
        reasons = read_table(run.images)["excluded"]
        left = (reasons.notna() & reasons.ne("")).sum()
        steps.append(("Manifest", f"{len(reasons)} images", f"{left} left out, each with its reason"))
    if run.pairs_index.is_file():
        index = read_table(run.pairs_index)
        split = ", ".join(f"{count} {name}" for name, count in index["split"].value_counts().sort_index().items())
        steps.append(("Pairs", f"{len(index)} pairs", f"of {index['patient'].nunique()} patients: {split}"))
    models = {name: read_json(run.model(name) / "mammorgb.json") for name in run.protocol.encodings}
    trained = {name: f"{model.get('n_pairs', '?')} pairs, {model.get('steps', '?')} steps"
               for name, model in models.items() if model}
    if trained:
        steps.append(("Models", f"{len(trained)} trainings", _by_set(trained)))
    drawn = {name: len(np.load(run.samples(name), mmap_mode="r")) for name in trained if run.samples(name).is_file()}
    if drawn:
        steps.append(("Samples", f"{sum(drawn.values())} pairs", _by_set(drawn)))
    if run.overlap.is_file():
        overlap = read_table(run.overlap)
        counts = _by_set(overlap["set"].value_counts(sort=False).to_dict())
        steps.append(("Metrics", f"{len(overlap)} measured pairs",
                      f"{counts}; {overlap['iou'].isna().sum()} without a breast mask"))
    return steps


def protocol_rows(protocol: Protocol) -> list[dict[str, Any]]:
    """One row a field: `name`, `meaning`, `open`, `value`, `paper` (its profile's, where it differs)."""
    paper, rows = Protocol.load("paper"), []
    for name, field in Protocol.model_fields.items():
        value, theirs = getattr(protocol, name), getattr(paper, name)
        rows.append({"name": name, "meaning": field.description.removeprefix(_OPEN),
                     "open": field.description.startswith(_OPEN), "value": _shown(value),
                     "paper": "" if value == theirs else _shown(theirs)})
    return rows


def _shown(value: Any) -> str:
    """A field's value as text; of a path that leads out of the project its last part, as a folder may name a person."""
    if value is None or isinstance(value, bool):
        return {None: "all", True: "yes", False: "no"}[value]
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    path = PureWindowsPath(str(value))  # splits at both slashes
    outside = path.drive or path.root or ".." in path.parts or str(value).startswith("~")
    return path.name if outside else str(value)


def _by_set(counts: dict[str, Any]) -> str:
    return ", ".join(f"{NAMES.get(name, name)}: {count}" for name, count in counts.items())


def _sha(path: Path) -> str:
    return sha256(path) if path.is_file() else ""
