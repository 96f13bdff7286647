"""An archive's listing becomes a manifest: files checked, names replaced, patients split, contents hashed."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from mammorgb_utils.data.archives import cbis, embed, folder, tables
from mammorgb_utils.data.archives.base import AdapterError, ImageRecord
from mammorgb_utils.data.archives.pseudonyms import pseudonyms, split_patients
from mammorgb_utils.data.batch.checksums import CACHE_FOLDER, checksums, is_digest
from mammorgb_utils.data.manifest import COLUMNS, OPTIONAL, write_manifest
from mammorgb_utils.data.synthetic import REASON, is_synthetic

ADAPTERS = {  # how each archive is listed, and what is told to whom nothing was found
    "vindr": (tables.vindr, "images/<study_id>/<image_id>.dicom beside breast-level_annotations.csv"),
    "rsna": (tables.rsna, "train_images/<patient_id>/<image_id>.dcm beside train.csv"),
    "cbis": (cbis.list_images, "CBIS-DDSM/<case>/…/1-1.dcm as TCIA's downloader writes it, beside the four case "
                               "descriptions"),
    "cmmd": (folder.cmmd, "CMMD/<patient or study>/…/1-1.dcm"),
    "inbreast": (tables.inbreast, "AllDICOMs/<File Name>_<patient>_MG_<side>_<view>_ANON.dcm beside INbreast.csv"),
    "embed": (embed.list_images, "images/cohort_<n>/<patient>/<study>/<series>/<file>.dcm and "
                                 "tables/EMBED_OpenData_*.csv"),
    "csaw": (tables.csaw, "<file>.dcm in any folder, beside CSAW-CC_breast_cancer_screening_data.csv"),
    "folder": (folder.list_images, "any folders of DICOM files")}
_SHOWN = 20  # row numbers printed before the rest is counted


@dataclass(frozen=True)
class Summary:
    """What became of an archive, in counts only."""

    manifest: pd.DataFrame
    skipped: Counter  # reason to number of images
    missing: dict[str, list[int]]  # index file to the rows whose image isn't there
    notes: list[str]

    def lines(self) -> list[str]:
        """Sentences for the terminal; no name, identifier, date or path among them."""
        frame = self.manifest
        pairs = int((frame.groupby("pair")["view"].nunique() == 2).sum())
        split = frame.drop_duplicates("patient")["split"].value_counts()
        grades = frame["birads"].astype("string").fillna("unknown").value_counts().sort_index()
        hint = [] if (frame["birads"] == 2).any() else [
            "No image has BI-RADS 2, the only grade that the study accepts by default: set accepted_birads or "
            "unknown_birads in a profile of your own, see docs/own_data.md"]
        if not pairs:
            hint += ["No breast has both views: files name different patients, exams or sides, or a view is absent: "
                     "no study can be made of it, but `mammorgb complete` draws absent views"]
        return [*(f"not taken: {count} × {reason}" for reason, count in sorted(self.skipped.items())),
                *(f"missing files: {len(numbers)}, {name} rows " + ", ".join(map(str, numbers[:_SHOWN]))
                  + (f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else "")
                  for name, numbers in self.missing.items()),
                f"images: {len(frame)}; breasts with both views: {pairs}; patients: {frame['patient'].nunique()} "
                f"({split.get('train', 0)} train, {split.get('heldout', 0)} heldout)",
                "BI-RADS: " + ", ".join(f"{grade}: {count}" for grade, count in grades.items()),
                *self.notes, *hint]


def build_manifest(source: str, root: Path, out: Path, *, heldout_fraction: float = 0.5, seed: int = 0,
                   secret: bytes | None = None, archive_split: bool = False,
                   implied_negatives: bool = False, overwrite: bool = False, progress: bool = True) -> Summary:
    """Write the manifest of an archive; a killed call continues.

    Args:
        source: A key of `ADAPTERS`.
        root: The archive's folder.
        out: The manifest to write, in `root` or in a folder above it, as its paths can't lead upwards.
        heldout_fraction: Share of the patients that training never sees.
        seed: Of split and numbering.
        secret: Makes pseudonyms keyed digests instead of numbers.
        archive_split: Use the archive's own split; its test patients become `heldout`.
        implied_negatives: Of EMBED: a bilateral exam with findings on one side alone is negative on the other.
        overwrite: Replace a manifest that differs.

    Raises:
        AdapterError: Index, column, folder or option isn't as needed.
        ManifestError: The archive gives no valid manifest. One without any MLO view, or any CC view, is written.
    """
    root, out = Path(os.path.abspath(root)), Path(os.path.abspath(out))  # links stay: they bring an archive below
    _require_places(source, root, out)
    if implied_negatives and source != "embed":
        raise AdapterError("--implied-negatives: only embed's table implies any; leave the option out")
    list_images, layout = ADAPTERS[source]
    if implied_negatives:
        list_images = partial(list_images, implied_negatives=True)
    listing, records, missing = list_images(root), [], defaultdict(list)
    for record in listing.records:
        if not os.path.isfile(root / record.path):  # Path's own raises where a folder is closed, and names it
            missing[record.index].append(record.row)
        elif is_synthetic(root / record.path):
            listing.skipped[REASON] += 1
        else:
            records.append(record)
    if not records:
        raise AdapterError(f"{source}: no usable CC or MLO image found ({len(listing.records)} listed, "
                           f"{sum(map(len, missing.values()))} files missing"
                           + "".join(f"; {count} × {why}" for why, count in sorted(listing.skipped.items()))
                           + f"); expected {layout}")
    frame = _rows(source, records, Path(os.path.relpath(root, out.parent)), heldout_fraction, seed, secret,
                  archive_split)
    cache = out.parent / CACHE_FOLDER / f"{out.name}.json"
    frame = _hashed(frame, out.parent, cache, listing.skipped, progress)
    _write(frame, out, overwrite)
    return Summary(frame, listing.skipped, dict(missing), listing.notes)


def _require_places(source: str, root: Path, out: Path) -> None:
    if source not in ADAPTERS:
        raise AdapterError(f"unknown archive {source!r}; use one of {', '.join(ADAPTERS)}")
    if not root.is_dir():
        raise AdapterError("ROOT: no such folder; give the archive's folder")
    if not root.is_relative_to(out.parent):
        raise AdapterError("--out: must lie in ROOT or in a folder above it, as a manifest's paths are relative to it; "
                           "or link the archive there (`ln -s ARCHIVE data/archive`) and give the link as ROOT")


def _hashed(frame: pd.DataFrame, folder: Path, cache: Path, skipped: Counter, progress: bool) -> pd.DataFrame:
    """With checksums, one row a content. A patient who has a copy of what is on the other side of the split goes: it is
    one woman under two names."""
    frame["sha256"] = found = checksums(folder, list(frame["path"]), cache=cache, progress=progress)
    if closed := [why for why in found if not is_digest(why)]:
        raise AdapterError(f"an image file can't be read ({closed[0]}); see to the archive's permissions and disk, "
                           "then repeat the command, which continues")
    copies = frame["sha256"].duplicated()
    across = frame["split"] != frame.groupby("sha256")["split"].transform("first")
    twice = ~copies & frame["patient"].isin(frame.loc[across, "patient"])
    for reason, rows in (("same content as another file", copies),
                         ("of a patient who is on the other side of the split under another name", twice)):
        skipped.update({reason: int(rows.sum())} if rows.any() else {})
    return frame[~(copies | twice)].reset_index(drop=True)


def _rows(source: str, records: list[ImageRecord], prefix: Path, heldout_fraction: float, seed: int,
          secret: bytes | None, archive_split: bool) -> pd.DataFrame:
    """Manifest rows without checksums, in an order that depends on pseudonyms alone."""
    of_patient = defaultdict(set)
    for record in records:
        of_patient[record.patient].add(record.exam)
    patients = pseudonyms("P", of_patient, source, "patient", seed=seed, secret=secret, width=5)
    exams = {patient: pseudonyms("E", keys, source, "exam", patient, seed=seed, secret=secret)
             for patient, keys in of_patient.items()}
    splits = _own_split(source, records) if archive_split else split_patients(patients, heldout_fraction, seed)
    table = []
    for record in records:
        patient, exam = patients[record.patient], exams[record.patient][record.exam]
        table.append((f"{patient}_{exam}_{record.laterality}", patient, exam, record.laterality, record.view,
                      record.birads, record.implant, source, splits[record.patient], (prefix / record.path).as_posix(),
                      record.density))
    frame = pd.DataFrame(table, columns=[*COLUMNS[:-1], *OPTIONAL]).astype({"birads": "Int64", "implant": "boolean"})
    if not frame["density"].any():
        del frame["density"]
    return frame.sort_values(["pair", "view", "path"], ignore_index=True)


def _own_split(source: str, records: list[ImageRecord]) -> dict[str, str]:
    """The archive's split; a patient on both sides is held out, or a test image would be trained on."""
    if any(record.split is None for record in records):
        raise AdapterError(f"--archive-split: {source} states no split for every image; leave the option out")
    splits = {record.patient: "train" for record in records}
    return splits | {record.patient: "heldout" for record in records if record.split == "heldout"}


def _write(frame: pd.DataFrame, out: Path, overwrite: bool) -> None:
    fresh = out.with_name(f".new.{out.name}")
    try:
        write_manifest(frame, fresh, both_views=False)
        if out.is_file() and out.read_bytes() != fresh.read_bytes() and not overwrite:
            raise AdapterError(f"{out.name}: there is a manifest that differs; name another with --out, or replace it "
                               "with --overwrite and give the study a new RUN name")
        fresh.replace(out)
    finally:
        fresh.unlink(missing_ok=True)
