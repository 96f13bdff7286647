"""The study's pairs: every view of the cohort preprocessed once, then read by later stages."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammorgb_utils.data.batch.resumable import Record, work_through
from mammorgb_utils.data.batch.workers import FAILURES
from mammorgb_utils.data.breast_region import chest_wall_side
from mammorgb_utils.data.cohort import CohortError, fingerprint, pair_rows, record_outcome, require_pairs, select_images
from mammorgb_utils.data.dicom import RejectedImage, one_file
from mammorgb_utils.data.manifest import load_manifest, verify_checksums
from mammorgb_utils.data.orientation import UPSIDE_DOWN, is_upside_down
from mammorgb_utils.data.preprocess import ReferenceCDF, load_reference_cdf, normalise, preprocessing_steps, read_view
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, atomic_path, exclusive, read_table, write_csv, write_json
from mammorgb_utils.streams import Stream, generator

TRAIN, HELDOUT = "train", "heldout"  # the two splits, which share no patient
AIR = 0.05  # grey of a finished view: less is air


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
        if not (run.pairs_index.is_file() and run.pairs_record.is_file()):
            _preprocess(run, reference, progress)
        elif json.loads(run.pairs_record.read_text(encoding="utf-8"))["reference_sha256"] != reference.sha256:
            raise CohortError("reference_cdf: its file has changed since pairs/ was made from it; give the study a "
                              "new RUN name, or remove the run's folder")
    return read_table(run.pairs_index)


def _preprocess(run: Run, reference: ReferenceCDF, progress: bool) -> None:
    images = select_images(load_manifest(run.manifest), run.protocol)
    if set(images["source"]) != {"phantom"}:  # before the first view is on disk
        text = "Made from patients' images: views, galleries, models and samples in this folder are patient data.\n"
        with atomic_path(run.root / "DO_NOT_SHARE.txt") as temporary:
            temporary.write_text(text, encoding="utf-8")
    used = images[images["excluded"] == ""]
    # Another reference has another record, and so starts anew.
    record = Record(run.pairs.with_name(f"views-{reference.sha256[:8]}.part.jsonl"), (run.protocol.image_size,) * 2)
    for _ in range(2):  # what failed, perhaps for want of a busy machine's time or memory, is tried once more
        done = [row for row, fact in record.facts().items() if fact["code"] not in FAILURES]
        if (todo := used[~used.index.isin(done)]).empty:
            break
        verify_checksums(todo, run.manifest.parent, progress=progress)
        work_through({row: run.manifest.parent / path for row, path in todo["path"].items()},
                     partial(one_view, reference=reference, protocol=run.protocol), partial(_keep, record),
                     total=len(used), label="preprocess", progress=progress)
    images = record_outcome(images, record.facts(), run.protocol)
    index, rows = pair_rows(images)
    require_pairs(index, images)
    write_csv(run.images, images.drop(columns=["path", "sha256"]))
    record.gather(run.pairs, rows)
    write_json(run.pairs_record, {"reference_sha256": reference.sha256})
    write_csv(run.pairs_index, index)
    for part in run.pairs.parent.glob("views-*.part.*"):
        part.unlink()


def one_view(path: Path, reference: ReferenceCDF, protocol: Protocol) -> tuple[np.ndarray, dict[str, Any]]:
    """The view as the model sees it, and the facts of `cohort.FACTS`."""
    with one_file(path):
        mammogram = read_view(path, protocol)
        steps = preprocessing_steps(mammogram, reference, protocol)
        if not protocol.mirror:
            wall = chest_wall_side(normalise(steps["decoded"])[1])
        else:  # what was mirrored had it on the right; finding the region again would double the time of an image
            wall = "left" if np.array_equal(steps["chest wall left"], steps["normalised"]) else "right"
        detail, view = "; ".join(mammogram.conflicts), steps["resized"]
        if mammogram.view == "MLO" and is_upside_down(view, view > AIR):
            detail = "; ".join(filter(None, (detail, UPSIDE_DOWN)))
        facts = {"code": "", "detail": detail, "chest_wall": wall, "print": fingerprint(view)}
        return view, facts | mammogram.header_facts()


def _keep(record: Record, batch: dict[int, tuple | RejectedImage]) -> None:
    read = {row: result for row, result in batch.items() if not isinstance(result, RejectedImage)}
    gone = {row: {"code": result.code, "detail": result.reason} for row, result in batch.items() if row not in read}
    record.add(gone | {row: facts for row, (_, facts) in read.items()}, {row: view for row, (view, _) in read.items()})


def load_pairs(run: Run, split: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Preprocessed pairs of one split, `"train"` or `"heldout"`, or of `"all"`.

    Returns:
        `(N, 2, H, W)` float32 in [0, 1] and the index, rows in the same order. The array stays on disk, read-only,
        where the split's rows follow one another; otherwise it is a copy in memory.

    Raises:
        CohortError: Notebook 01 hasn't run.
    """
    if not run.pairs_index.is_file():
        raise CohortError("pairs/index.csv isn't there yet: run notebook 01_preprocess first")
    index = read_table(run.pairs_index)
    chosen = index if split == "all" else index[index["split"] == split]
    pairs, rows = np.load(run.pairs, mmap_mode="r"), chosen.index.to_numpy()
    follow = len(rows) and rows[-1] - rows[0] + 1 == len(rows)
    return pairs[rows[0]:rows[-1] + 1] if follow else pairs[rows], chosen.reset_index(drop=True)


def real_pairs(run: Run) -> tuple[np.ndarray, pd.DataFrame]:
    """As `load_pairs`, what synthetic pairs are compared against: `real_split`, at most `n_real`, drawn by the seed."""
    (pairs, index), n = load_pairs(run, run.protocol.real_split), run.protocol.n_real
    if n is None or n >= len(index):
        return pairs, index
    rows = np.sort(generator(run.protocol.seed, Stream.REAL_PAIRS).choice(len(index), n, replace=False))
    return pairs[rows], index.iloc[rows].reset_index(drop=True)


def kept_images(run: Run) -> pd.DataFrame:
    """The images that the study's pairs were made from: rows of `pairs/images.csv`, and `path` of the manifest."""
    images = read_table(run.images).fillna({"excluded": ""}).assign(path=load_manifest(run.manifest)["path"])
    return images[images["excluded"] == ""]


def example_steps(run: Run, n_pairs: int) -> list[dict[str, dict[str, np.ndarray]]]:
    """Of each of the first pairs, view to `preprocessing_steps`, for figures."""
    kept, reference = kept_images(run), load_reference_cdf(run.protocol)
    wanted = read_table(run.pairs_index)["pair"].head(n_pairs)
    return [{row.view: preprocessing_steps(read_view(run.manifest.parent / row.path, run.protocol), reference,
                                           run.protocol)
             for row in kept[kept["pair"] == pair].sort_values("view").itertuples()} for pair in wanted]
