"""What made a study: its stages with commit, machine and run time, its data flow, its digests."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pandas as pd

from mammorgb_utils.output.style import NAMES
from mammorgb_utils.runs import Run, read_table, sha256

_QUESTION = "**Question.**"


class Stage(NamedTuple):
    """One executed notebook."""

    name: str
    title: str
    question: str
    minutes: float
    facts: dict[str, str]


def stages(root: Path) -> list[Stage]:
    """The executed notebooks of a study, in order."""
    found = sorted(path for path in (root / "notebooks").glob("*.ipynb") if not path.name.endswith(".failed.ipynb"))
    return [_stage(path) for path in found]


def _stage(path: Path) -> Stage:
    try:
        cells = nbformat.read(path, as_version=4).cells
    except (OSError, ValueError, KeyError, AttributeError):  # nbformat's own error is a ValueError
        return Stage(path.stem, "", "", np.nan, {})
    head = cells[0].source.splitlines() if cells else []
    question = next((line.removeprefix(_QUESTION).strip() for line in head if line.startswith(_QUESTION)), "")
    times = [cell.metadata.get("papermill", {}).get("duration") for cell in cells]
    known = [time for time in times if time is not None]
    title = head[0].removeprefix("# ").strip() if head else ""
    return Stage(path.stem, title, question, sum(known) / 60.0 if known else np.nan, _facts(cells))


def _facts(cells: list[Any]) -> dict[str, str]:
    """The provenance line that a notebook prints after its imports."""
    for cell in cells:
        for output in cell.get("outputs", ()):
            try:
                found = ast.literal_eval(output.get("data", {}).get("text/plain", ""))
            except (ValueError, SyntaxError):
                continue
            if isinstance(found, dict) and "commit" in found:
                return {str(key): str(value) for key, value in found.items()}
    return {}


def stage_table(found: list[Stage]) -> pd.DataFrame:
    """One row a stage: commit, machine, run time."""
    return pd.DataFrame([{"Stage": stage.name, "Commit": stage.facts.get("commit", ""),
                          "Machine": stage.facts.get("machine", ""), "Device": stage.facts.get("device", ""),
                          "Run time [min]": stage.minutes} for stage in found],
                        columns=["Stage", "Commit", "Machine", "Device", "Run time [min]"])


def version_table(found: list[Stage]) -> pd.DataFrame:
    """Versions of Python and libraries; where stages differ, all of them."""
    own = {"commit", "machine", "device", "seed", "profile"}
    names = list(dict.fromkeys(name for stage in found for name in stage.facts if name not in own))
    versions = [", ".join(dict.fromkeys(stage.facts[name] for stage in found if name in stage.facts)) for name in names]
    return pd.DataFrame({"Library": names, "Version": versions}, dtype=str)


def digest_table(run: Run) -> pd.DataFrame:
    """SHA-256 of what the study was made from and of what it made."""
    recorded = _json(run.root / "protocol.json")
    rows = [("Manifest", recorded.get("manifest_sha256", "")),
            ("Protocol and manifest", _sha(run.root / "protocol.json")),
            ("Reference of the histogram matching", _json(run.pairs_record).get("reference_sha256", "")),
            ("Preprocessed pairs", _sha(run.pairs))]
    for name in run.protocol.encodings:
        model = _json(run.model(name) / "mammorgb.json")
        rows += [(f"Base model of {NAMES[name]}", model.get("base_sha256", "")),
                 (f"Model of {NAMES[name]}", model.get("digest", "")),
                 (f"Synthetic pairs of {NAMES[name]}", _sha(run.samples(name)))]
    return pd.DataFrame([{"What": what, "SHA-256": digest} for what, digest in rows if digest],
                        columns=["What", "SHA-256"])


def data_flow(run: Run) -> list[dict[str, str]]:
    """From the manifest to the metrics, each step with its count: `title`, `count`, `detail`."""
    return [step for part in (_cohort_steps, _model_steps, _metric_steps) for step in part(run)]


def _cohort_steps(run: Run) -> list[dict[str, str]]:
    steps = []
    if run.images.is_file():
        images = read_table(run.images)
        left = int((images["excluded"].notna() & images["excluded"].ne("")).sum())
        steps.append(_step("Manifest", f"{len(images)} images", f"{left} left out, each with its reason"))
    if run.pairs_index.is_file():
        index = read_table(run.pairs_index)
        split = ", ".join(f"{count} {name}" for name, count in index["split"].value_counts().sort_index().items())
        steps.append(_step("Pairs", f"{len(index)} pairs", f"of {index['patient'].nunique()} patients: {split}"))
    return steps


def _model_steps(run: Run) -> list[dict[str, str]]:
    models = {name: _json(run.model(name) / "mammorgb.json") for name in run.protocol.encodings}
    models = {name: model for name, model in models.items() if model}
    steps = []
    if models:
        trained = ", ".join(f"{NAMES[name]}: {model.get('n_pairs', '?')} pairs, {model.get('steps', '?')} steps"
                            for name, model in models.items())
        steps.append(_step("Models", f"{len(models)} trainings", trained))
    drawn = {name: np.load(run.samples(name), mmap_mode="r").shape[0] for name in models if run.samples(name).is_file()}
    if drawn:
        steps.append(_step("Samples", f"{sum(drawn.values())} pairs",
                           ", ".join(f"{NAMES[name]}: {count}" for name, count in drawn.items())))
    return steps


def _metric_steps(run: Run) -> list[dict[str, str]]:
    if not run.overlap.is_file():
        return []
    overlap = read_table(run.overlap)
    counts = ", ".join(f"{NAMES.get(name, name)}: {count}" for name, count
                       in overlap["set"].value_counts(sort=False).items())
    return [_step("Metrics", f"{len(overlap)} measured pairs",
                  f"{counts}; {int(overlap['iou'].isna().sum())} without a breast mask")]


def _step(title: str, count: str, detail: str) -> dict[str, str]:
    return {"title": title, "count": count, "detail": detail}


def _sha(path: Path) -> str:
    return sha256(path) if path.is_file() else ""


def _json(path: Path) -> dict[str, Any]:
    """A JSON record; empty where there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
