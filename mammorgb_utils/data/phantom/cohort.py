"""Write a phantom cohort as DICOM, with its truth beside it; killed runs continue, finished cases stay."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
from tqdm import tqdm

from mammorgb_utils.data.batch.workers import WorkerError, available_cores, map_isolated
from mammorgb_utils.data.dicom import RejectedImage
from mammorgb_utils.data.manifest import COLUMNS, OPTIONAL, write_manifest
from mammorgb_utils.data.phantom.anatomy import OTHER_STREAM, Breast, make_breast
from mammorgb_utils.data.phantom.cases import TRUTH_COLUMNS, Case, pack_masks, plan_cases, truth_row, unpack_masks
from mammorgb_utils.data.phantom.croissant import write_croissant
from mammorgb_utils.data.phantom.dicom_writer import EXAM, Header, dicom_bytes
from mammorgb_utils.data.phantom.render import render_view
from mammorgb_utils.data.phantom.storage import add_artefact, add_implant, cut_breast, store, touching_label_spot
from mammorgb_utils.protocol import VIEWS, Protocol
from mammorgb_utils.runs import PROJECT_ROOT, RunError, atomic_path, sha256, write_csv, write_json

GENERATOR_VERSION = 1  # raise it when the same seed gives other bytes


def cohort_places(protocol: Protocol, out: Path | None = None, manifest: Path | None = None) -> tuple[Path, Path]:
    """The folder and the manifest of a profile's cohort; the default one's manifest stands in the project's root."""
    pairs, seed, usual = protocol.phantom_pairs, protocol.phantom_seed, Protocol()
    is_default = out is None and (pairs, seed) == (usual.phantom_pairs, usual.phantom_seed)
    out = PROJECT_ROOT / (out or f"data/phantom-{pairs}-{seed}")
    return out, PROJECT_ROOT / (manifest or ("data_manifest.csv" if is_default else out / "manifest.csv"))


def write_study_cohort(protocol: Protocol, out: Path | None = None, manifest: Path | None = None, *,
                       overwrite: bool = False) -> Path:
    """Write a profile's cohort, its description for machines, and its manifest, whose path is returned; a `RunError`
    where that at hand is another cohort's, unless `overwrite`, or doesn't lie above the cohort."""
    out, manifest = cohort_places(protocol, out, manifest)
    if not out.resolve().is_relative_to(manifest.parent.resolve()):
        raise RunError(f"--manifest {manifest.name} must lie in the cohort's folder or above it, as its paths lead "
                       "downwards only")
    out.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(out / ".lock"):
        rows = write_cohort(out, protocol.phantom_pairs, protocol.phantom_seed)
        paths = [os.path.relpath(out / path, manifest.parent) for path in rows["path"]]
        fresh = manifest.with_name(f".new.{manifest.name}")
        if manifest.is_file() and not overwrite:  # one of an earlier version has no optional columns
            known = manifest.read_bytes().partition(b"\n")[0].split(b",")
            rows = rows.drop(columns=[name for name in OPTIONAL if name.encode() not in known])
        write_manifest(rows.assign(path=paths), fresh)
        if manifest.is_file() and manifest.read_bytes() != fresh.read_bytes() and not overwrite:
            fresh.unlink()
            raise RunError(f"{manifest.name} isn't the manifest of the cohort that this code generates; write it anew "
                           "with `mammorgb phantom --overwrite`, and give the study a new RUN name")
        fresh.replace(manifest)
        write_croissant(out, manifest)
    return manifest


def write_cohort(folder: str | Path, n_pairs: int, seed: int, *, workers: int | None = None,
                 progress: bool = True) -> pd.DataFrame:
    """Write a cohort of paired phantom views, or what is missing of it.

    Args:
        folder: Receives `P0001/…dcm`, `truth.csv`, `truth_masks/masks.npz` and `.records/`.
        n_pairs: Usable pairs, half for training; what a study must exclude comes on top.
        seed: Same seed and `n_pairs`, same bytes.
        workers: Processes; by default one a core.

    Returns:
        Manifest rows, one a file, `path` relative to `folder`, ordered by patient.

    Raises:
        ValueError: `n_pairs` is below 2, or the folder holds another cohort. WorkerError: a worker process was lost.
    """
    folder, cases = Path(folder), plan_cases(n_pairs, seed)
    settings = {"n_pairs": n_pairs, "seed": seed, "generator": GENERATOR_VERSION}
    claim = folder / ".records" / "cohort.json"
    if not claim.exists():
        write_json(claim, settings)
    elif json.loads(claim.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{folder.name}: holds another phantom cohort than {settings}; "
                         "name another folder, or remove it")
    records = []
    with closing(map_isolated(partial(_finish_case, folder, seed), cases,
                              processes=min(workers or available_cores(), len(cases)))) as done:
        for case, record in tqdm(done, total=len(cases), desc="phantom cohort", unit="case",
                                 disable=None if progress else True):  # None: where no terminal is watched
            if isinstance(record, RejectedImage):
                raise WorkerError(f"{case.patient}: {record.reason}; free memory and repeat, finished cases stay")
            records.append(record)
    _write_truth(folder, records)
    rows = [{**row, "density": record["truth"]["birads_density"].upper()}
            for record in records for row in record["rows"]]
    return pd.DataFrame(rows, columns=[*COLUMNS, *OPTIONAL]).astype({"birads": "Int64"})


def _finish_case(folder: Path, seed: int, case: Case) -> dict:
    """The record of a case, which is written last: made anew unless all its files have their recorded content."""
    file = folder / ".records" / f"{case.patient}.json"
    if file.exists():
        record = json.loads(file.read_text(encoding="utf-8"))
        written = ((folder / row["path"], row["sha256"]) for row in record["rows"])
        if all(path.is_file() and sha256(path) == digest for path, digest in written):
            return record
    record = write_case(folder, seed, case)
    write_json(file, record)
    return record


def write_case(folder: Path, seed: int, case: Case) -> dict:
    """Write a patient's files; returns its record: manifest rows, truth and masks, as JSON can hold them."""
    breast = make_breast(case.key(seed))
    rng = np.random.default_rng([*case.key(seed), 9])
    monochrome1, padding = bool(rng.random() < 0.15), bool(rng.random() < 0.1)
    touched = VIEWS[int(rng.integers(2))]  # the view that carries an artefact
    if case.artefact == "cut_breast":
        breast = cut_breast(breast, touched, rng)
    missing = VIEWS[int(rng.integers(2))] if case.role == "missing_view" else ""
    broken = VIEWS[int(rng.integers(2))] if case.role == "unreadable" else ""
    mismatch = case.artefact == "view_mismatch"
    other = make_breast((seed, OTHER_STREAM, case.stream, case.number)) if mismatch else breast
    rows = []
    for number, (view, shown) in enumerate(zip(VIEWS, (breast, other), strict=True), start=1):
        stored = _stored_view(shown, breast.laterality, view, case, view == touched, rng)
        header = Header(seed, case.patient, breast.laterality, view, shown.placement(view).thickness_mm,
                        case.role == "implant", monochrome1, padding, number)
        if view != missing:
            content = dicom_bytes(stored, header)
            rows.append(_write_file(folder, case, header, content[:len(content) // 3] if view == broken else content))
        if case.role == "duplicate" and view == touched:
            again = replace(header, instance=3)
            rows.append(_write_file(folder, case, again, dicom_bytes(stored, again)))
    return {"rows": rows, "truth": truth_row(case, breast, other, touched), "masks": pack_masks(breast, other)}


def _stored_view(breast: Breast, laterality: str, view: str, case: Case, touched: bool,
                 rng: np.random.Generator) -> np.ndarray:
    """One view as stored: rendered, with implant or artefact, turned and labelled."""
    image = render_view(breast, view)
    if case.role == "implant":
        image = add_implant(image, rng)
    spot = None
    if touched:
        image = add_artefact(image, case.artefact, rng)
        if case.artefact == "label_remnant":
            spot = touching_label_spot(image, view, rng)
    return store(image, laterality, view, label_at=spot)


def _write_file(folder: Path, case: Case, header: Header, content: bytes) -> dict[str, object]:
    suffix = "" if header.instance < 3 else "_2"
    path = f"{case.patient}/{EXAM}_{header.laterality}_{header.view}{suffix}.dcm"
    with atomic_path(folder / path) as temporary:
        temporary.write_bytes(content)
    return {"pair": f"{case.patient}_{EXAM}_{header.laterality}", "patient": case.patient, "exam": EXAM,
            "laterality": header.laterality, "view": header.view, "birads": case.birads, "implant": header.implant,
            "source": "phantom", "split": case.split, "path": path, "sha256": hashlib.sha256(content).hexdigest()}


def _write_truth(folder: Path, records: list[dict]) -> None:
    """`truth.csv` and the masks, both ordered by patient; left alone when they hold this content already."""
    table = pd.DataFrame([record["truth"] for record in records], columns=TRUTH_COLUMNS)
    file, masks = folder / "truth.csv", folder / "truth_masks" / "masks.npz"
    if masks.exists() and file.exists() and file.read_text() == table.to_csv(index=False, lineterminator="\n"):
        return
    with atomic_path(masks) as temporary:
        np.savez_compressed(temporary, pair=table["pair"].to_numpy(str),
                            **{name: np.stack(stack) for name, stack in unpack_masks(records).items()})
    write_csv(file, table)
