"""From a manifest to the study's pairs: who is excluded and why, and every other view preprocessed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from mammorgb_utils.data.breast_region import chest_wall_side
from mammorgb_utils.data.dicom import Mammogram, RejectedImage, one_file
from mammorgb_utils.data.manifest import load_manifest, verify_checksums
from mammorgb_utils.data.outcome import pair_rows, record_outcome
from mammorgb_utils.data.preprocess import (
    ReferenceCDF,
    average_reference,
    load_reference_cdf,
    normalise,
    preprocessing_steps,
    quantile_curves,
    read_view,
)
from mammorgb_utils.data.progress_log import append_to_log, logged
from mammorgb_utils.data.row_file import RowFile
from mammorgb_utils.data.workers import FAILURES, map_isolated
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, atomic_path, exclusive, read_table, write_csv, write_json

_FLUSH_EVERY = 32  # images whose work a kill may cost


class CohortError(ValueError):
    """No study can be made of a manifest; the message says what to change."""


def select_images(manifest: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Mark the images that the protocol excludes by what the manifest says.

    Returns:
        `manifest` with the text column `excluded`: empty, or the reason.
    """
    graded = manifest["birads"].notna()
    excluded = pd.Series("", index=manifest.index)
    excluded[graded & ~manifest["birads"].isin(protocol.accepted_birads)] = "other BI-RADS grade"
    if protocol.unknown_birads == "exclude":
        excluded[~graded] = "BI-RADS unknown"
    excluded[(excluded == "") & manifest["implant"].fillna(False)] = "implant"
    return manifest.assign(excluded=excluded)


def preprocess_cohort(run: Run, *, progress: bool = True) -> pd.DataFrame:
    """Exclude, verify, decode and preprocess; write pairs, their index and the record of every image.

    Writes `pairs/images.csv` (every manifest row with its exclusion), `pairs/pairs.npy` and, last,
    `pairs/index.csv`. A killed call continues with the images that are left, and tries those again that ran out of
    time or memory or ended their worker; a finished one is loaded. Memory doesn't grow with the images but for
    their rows of text, some 2 kB an image.

    Returns:
        The index: one row a pair, in the order of `pairs.npy`.

    Raises:
        ManifestError: The manifest, or a file that it names, isn't as stated.
        CohortError: A split ends up without pairs.
    """
    with exclusive(run.pairs.parent):
        reference = load_reference_cdf(run.protocol)
        if not _is_done(run, reference):
            _preprocess(run, reference, progress)
    return read_table(run.pairs_index)


def _is_done(run: Run, reference: ReferenceCDF) -> bool:
    """Whether this very reference led to finished pairs; pairs of another one are refused."""
    if not (run.pairs_index.is_file() and run.pairs_record.is_file()):
        return False
    if json.loads(run.pairs_record.read_text(encoding="utf-8"))["reference_sha256"] != reference.sha256:
        raise CohortError("reference_cdf: its file has changed since pairs/ was made from it; give the study a new "
                          "RUN name, or remove the run's folder")
    return True


def _preprocess(run: Run, reference: ReferenceCDF, progress: bool) -> None:
    images = select_images(load_manifest(run.manifest), run.protocol)
    _mark_patient_data(run, images)
    used = images[images["excluded"] == ""]
    views, log = _parts(run, reference)
    todo = used[~used.index.isin(_finished(log))]
    verify_checksums(todo, run.manifest.parent, progress=progress)
    _preprocess_resumably(run, todo["path"], len(used), reference, views, log, progress)
    images = record_outcome(images, logged(log), run.protocol)
    index, rows = pair_rows(images)
    _require_pairs(index, images)
    write_csv(run.images, images.drop(columns=["path", "sha256"]))
    views.gather(run.pairs, rows)
    write_json(run.pairs_record, {"reference_sha256": reference.sha256})
    write_csv(run.pairs_index, index)
    for part in run.pairs.parent.glob("views-*.part.*"):
        part.unlink()


def cohort_flow(images: pd.DataFrame) -> pd.DataFrame:
    """How many images each reason excluded, in the order in which the reasons apply.

    Args:
        images: `pairs/images.csv`.

    Returns:
        Columns `step`, `reason`, `images_excluded`, `images_left`, `pairs_left`: breasts with both views left.
    """
    images = images.assign(excluded=images["excluded"].fillna(""))
    order = [("selection", "BI-RADS unknown"), ("selection", "other BI-RADS grade"), ("selection", "implant"),
             ("reading", "unreadable"), ("pairing", "repeated view"), ("pairing", "missing view")]
    known = {reason for _, reason in order}
    others = sorted(set(images["excluded"]) - known - {""})
    order[4:4] = [("reading", reason) for reason in others]
    left = images
    rows = [{"step": "manifest", "reason": "", "images_excluded": 0} | _counts(left)]
    for step, reason in order:
        gone = left["excluded"] == reason
        left = left[~gone]
        if gone.any():
            rows.append({"step": step, "reason": reason, "images_excluded": int(gone.sum())} | _counts(left))
    return pd.DataFrame(rows)


def reference_from_manifest(manifest: Path, protocol: Protocol, name: str, *, progress: bool = True) -> ReferenceCDF:
    """Average the quantile functions of a manifest's training images that the protocol accepts.

    Raises:
        ManifestError: The manifest, or a file that it names, isn't as stated.
        CohortError: No image could be read.
    """
    images = select_images(load_manifest(manifest), protocol)
    images = images[(images["excluded"] == "") & (images["split"] == "train")]
    verify_checksums(images, manifest.parent, progress=progress)
    paths = [manifest.parent / path for path in images["path"]]
    total, n_images = np.zeros(1), 0
    with closing(map_isolated(partial(_curves, protocol=protocol), paths)) as results:
        for _, curves in tqdm(results, total=len(paths), desc="reference", unit="image", mininterval=2,
                              disable=not progress):
            if not isinstance(curves, RejectedImage):
                total, n_images = total + curves, n_images + 1
    if not n_images:
        raise CohortError("no training image of the manifest could be read, so there is no reference")
    return replace(average_reference([tuple(total / n_images)], name), n_images=n_images)


def _counts(images: pd.DataFrame) -> dict[str, int]:
    complete = images.groupby("pair")["view"].nunique() == 2
    return {"images_left": len(images), "pairs_left": int(complete.sum())}


def _curves(path: Path, protocol: Protocol) -> np.ndarray:
    with one_file(path):
        return np.stack(quantile_curves(read_view(path, protocol)))


def _one_view(path: Path, reference: ReferenceCDF, protocol: Protocol) -> tuple[np.ndarray, dict[str, Any]]:
    with one_file(path):
        mammogram = read_view(path, protocol)
        steps = preprocessing_steps(mammogram, reference, protocol)
        return steps["resized"], _facts(mammogram, _chest_wall(steps, protocol))


def _chest_wall(steps: dict[str, np.ndarray], protocol: Protocol) -> str:
    if not protocol.mirror:
        return chest_wall_side(normalise(steps["decoded"])[1])
    # What was mirrored had it on the right; finding the region again would double the time of an image.
    return "left" if np.array_equal(steps["chest wall left"], steps["normalised"]) else "right"


def _facts(mammogram: Mammogram, chest_wall: str) -> dict[str, Any]:
    return {"code": "", "detail": "; ".join(mammogram.conflicts), "header_laterality": mammogram.laterality or "",
            "header_view": mammogram.view or "", "chest_wall": chest_wall,
            "chest_wall_by_tags": mammogram.chest_wall_by_tags or "", "voi": mammogram.voi,
            "voi_choices": mammogram.voi_choices, "photometric": mammogram.photometric, "bits": mammogram.bits,
            "transfer_syntax": mammogram.transfer_syntax, "scanner": mammogram.scanner}


def _parts(run: Run, reference: ReferenceCDF) -> tuple[RowFile, Path]:
    """Views done so far, and what is known of each; another reference has other parts, and so starts anew."""
    stem, side = f"views-{reference.sha256[:8]}.part", run.protocol.image_size
    views, log = RowFile(run.pairs.with_name(f"{stem}.f32"), (side, side)), run.pairs.with_name(f"{stem}.jsonl")
    if not views.path.is_file():
        log.unlink(missing_ok=True)
    return views, log


def _finished(log: Path) -> list[int]:
    """Rows that needn't be tried again."""
    return [row for row, fact in logged(log).items() if fact["code"] not in FAILURES]


def _preprocess_resumably(run: Run, todo: pd.Series, total: int, reference: ReferenceCDF, views: RowFile, log: Path,
                          progress: bool) -> None:
    """Fill one file, row by row; a line is logged only after its row is on disk."""
    with tqdm(total=total, initial=total - len(todo), desc="preprocess", unit="image", mininterval=2,
              disable=not progress) as bar, closing(_in_batches(run, todo, reference)) as batches:
        for batch in batches:
            views.write({row: view for row, (view, _) in batch.items() if view is not None})
            append_to_log(log, {row: fact for row, (_, fact) in batch.items()})
            bar.update(len(batch))


def _in_batches(run: Run, todo: pd.Series, reference: ReferenceCDF) -> Iterator[dict[int, tuple]]:
    work = partial(_one_view, reference=reference, protocol=run.protocol)
    files = (run.manifest.parent / path for path in todo)
    with closing(map_isolated(work, files)) as results:
        outcomes = ((row, _outcome(result)) for row, (_, result) in zip(todo.index, results, strict=True))
        while batch := dict(islice(outcomes, _FLUSH_EVERY)):
            yield batch


def _outcome(result: tuple[np.ndarray, dict] | RejectedImage) -> tuple[np.ndarray | None, dict]:
    if isinstance(result, RejectedImage):
        return None, {"code": result.code, "detail": result.reason}
    return result


def _mark_patient_data(run: Run, images: pd.DataFrame) -> None:
    """Before the first view is on disk."""
    if set(images["source"]) != {"phantom"}:
        text = "Made from patients' images: views, galleries, models and samples in this folder are patient data.\n"
        with atomic_path(run.root / "DO_NOT_SHARE.txt") as temporary:
            temporary.write_text(text, encoding="utf-8")


def _require_pairs(index: pd.DataFrame, images: pd.DataFrame) -> None:
    for split in ("train", "heldout"):
        if not (index["split"] == split).any():
            reasons = images["excluded"].value_counts().drop("", errors="ignore")
            counts = ", ".join(f"{reason}: {count}" for reason, count in reasons.items()) or "none"
            raise CohortError(f"no usable pair is left in split {split!r}. Images excluded: {counts}. Change the "
                              "manifest's split column, or accepted_birads and unknown_birads in the profile")
