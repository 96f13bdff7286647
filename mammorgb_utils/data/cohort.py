"""From a manifest to the study's pairs: who is excluded and why, and every other view preprocessed."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from mammorgb_utils.data.dicom import RejectedImage, read_mammogram
from mammorgb_utils.data.manifest import load_manifest, verify_checksums
from mammorgb_utils.data.preprocess import (
    ReferenceCDF,
    average_reference,
    load_reference_cdf,
    preprocess_view,
    quantile_curves,
)
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, atomic_path, exclusive, read_table, write_array, write_csv, write_json

_FLUSH_EVERY = 32  # images whose work a kill may cost
_FACTS = ["code", "detail", "header_laterality", "header_view", "header_implant", "voi", "photometric"]


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
    `pairs/index.csv`. A killed call continues with the images that are left; a finished one is loaded.

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
    used = images.index[images["excluded"] == ""]
    verify_checksums(images.loc[used], run.manifest.parent, progress=progress)
    views, facts = _preprocess_resumably(run, images.loc[used, "path"], reference, progress)
    images = _record_outcome(images, facts, run.protocol)
    index, rows = _assemble(images)
    _require_pairs(index, images)
    _mark_patient_data(run, index)
    write_csv(run.images, images.drop(columns=["path", "sha256"]))
    write_array(run.pairs, views[rows])
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
    with _pool() as pool:
        results = tqdm(pool.map(_curves_or_none, paths, chunksize=8), total=len(paths), desc="reference", unit="image",
                       mininterval=2, disable=not progress)
        curves = [result for result in results if result is not None]
    if not curves:
        raise CohortError("no training image of the manifest could be read, so there is no reference")
    return average_reference(curves, name)


def _counts(images: pd.DataFrame) -> dict[str, int]:
    complete = images.groupby("pair")["view"].nunique() == 2
    return {"images_left": len(images), "pairs_left": int(complete.sum())}


def _pool() -> ProcessPoolExecutor:
    # Spawned workers share no locks or threads with a notebook's kernel.
    return ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))


def _curves_or_none(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        return quantile_curves(read_mammogram(path))
    except RejectedImage:
        return None


def _one_view(path: Path, reference: ReferenceCDF, protocol: Protocol) -> tuple[np.ndarray | None, dict[str, str]]:
    try:
        mammogram = read_mammogram(path)
        view = preprocess_view(mammogram, reference, protocol)
    except RejectedImage as error:
        return None, {"code": error.code, "detail": error.reason}
    return view, {"code": "", "detail": "; ".join(mammogram.conflicts), "header_laterality": mammogram.laterality or "",
                  "header_view": mammogram.view or "", "header_implant": str(mammogram.implant), "voi": mammogram.voi,
                  "photometric": mammogram.photometric}


def _preprocess_resumably(run: Run, paths: pd.Series, reference: ReferenceCDF,
                          progress: bool) -> tuple[np.ndarray, dict[int, dict]]:
    """Fill one array, row by row; a line is logged only after its row is on disk."""
    # Another reference starts anew: its parts have another name.
    stem = f"views-{reference.sha256[:8]}.part"
    array_file, log_file = run.pairs.with_name(f"{stem}.npy"), run.pairs.with_name(f"{stem}.jsonl")
    rows = int(paths.index.max()) + 1 if len(paths) else 0
    shape = (rows, run.protocol.image_size, run.protocol.image_size)
    fresh = not (array_file.is_file() and log_file.is_file())
    views = np.lib.format.open_memmap(array_file, mode="w+" if fresh else "r+", dtype=np.float32, shape=shape)
    facts = {} if fresh else _logged(log_file)
    todo = paths[~paths.index.isin(facts)]
    with log_file.open("w" if fresh else "a", encoding="utf-8") as log:
        bar = tqdm(total=len(paths), initial=len(facts), desc="preprocess", unit="image", mininterval=2,
                   disable=not progress)
        for batch in _in_batches(run, todo, reference):
            for row, (view, fact) in batch:
                views[row] = 0 if view is None else view
                facts[row] = fact
            views.flush()
            log.writelines(json.dumps({"row": row} | fact) + "\n" for row, (_, fact) in batch)
            log.flush()
            bar.update(len(batch))
        bar.close()
    return views, facts


def _in_batches(run: Run, todo: pd.Series, reference: ReferenceCDF) -> Iterator[list]:
    work = partial(_one_view, reference=reference, protocol=run.protocol)
    with _pool() as pool:
        for start in range(0, len(todo), _FLUSH_EVERY * 4):
            part = todo.iloc[start:start + _FLUSH_EVERY * 4]
            files = [run.manifest.parent / path for path in part]
            done = pool.map(work, files, chunksize=4)
            batch = []
            for item in zip(part.index, done, strict=True):
                batch.append(item)
                if len(batch) == _FLUSH_EVERY:
                    yield batch
                    batch = []
            if batch:
                yield batch


def _logged(log_file: Path) -> dict[int, dict]:
    facts = {}
    for line in log_file.read_text(encoding="utf-8").split("\n"):
        try:
            fact = json.loads(line)
        except json.JSONDecodeError:  # the line that a kill cut short
            continue
        facts[fact.pop("row")] = fact
    return facts


def _record_outcome(images: pd.DataFrame, facts: dict[int, dict], protocol: Protocol) -> pd.DataFrame:
    """Add what the pixels and headers said, then exclude repeats and breasts with one view."""
    read = pd.DataFrame.from_dict(facts, orient="index", columns=_FACTS)
    images = images.join(read).fillna({"code": "", "detail": ""})
    rejected = (images["excluded"] == "") & (images["code"] != "")
    images.loc[rejected, "excluded"] = images.loc[rejected, "code"].str.replace("_", " ")
    implant = (images["excluded"] == "") & (images["header_implant"] == "True")
    images.loc[implant, "excluded"] = "implant"
    images["detail"] += _disagreements(images)
    left = images[images["excluded"] == ""]
    repeats = left.index[left.duplicated(["pair", "view"], keep=protocol.repeated_views)]
    images.loc[repeats, "excluded"] = "repeated view"
    left = images[images["excluded"] == ""]
    alone = left.groupby("pair")["view"].transform("nunique") < 2
    images.loc[left.index[alone], "excluded"] = "missing view"
    return images


def _disagreements(images: pd.DataFrame) -> pd.Series:
    """Where manifest and header name another side or view; the manifest is used, the conflict is listed."""
    text = pd.Series("", index=images.index)
    for column in ("laterality", "view"):
        header = images[f"header_{column}"].fillna("")
        differs = (header != "") & (header != images[column])
        text[differs] += f"header says {column} " + header[differs] + "; "
    return text


def _assemble(images: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    left = images[images["excluded"] == ""]
    by_view = {view: left[left["view"] == view].reset_index(names="row").set_index("pair") for view in ("CC", "MLO")}
    pairs = sorted(by_view["CC"].index)
    rows = np.stack([by_view[view].loc[pairs, "row"].to_numpy() for view in ("CC", "MLO")], axis=1)
    columns = ["patient", "laterality", "split", "birads", "source"]
    return by_view["CC"].loc[pairs, columns].reset_index(), rows


def _mark_patient_data(run: Run, index: pd.DataFrame) -> None:
    if set(index["source"]) != {"phantom"}:
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
