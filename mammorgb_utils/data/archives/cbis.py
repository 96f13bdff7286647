"""CBIS-DDSM: scanned film, enriched with lesions; whole mammograms only, no crops and no lesion masks.

TCIA's downloader names image folders in two ways (docs/own_data.md, with sources); those of the second one are found
through its `metadata.csv`, or else by the folder's name. `assessment` is the BI-RADS of one lesion: a breast gets the
most worrying of all four tables, so all are required. A film listed with masses and with calcifications is there twice,
as a repeated view. Unverified: that no film of one patient appears under two patient_ids.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from mammorgb_utils.data.archives.base import AdapterError, Listing, find_folder, find_index, index_rows, worst_grade

_TABLES = [(f"{kind}_case_description_{part}_set.csv", split)
           for kind in ("mass", "calc") for part, split in (("train", "train"), ("test", "heldout"))]
_COLUMNS = ("patient_id", "left or right breast", "image view", "assessment", "image file path")


def list_images(root: Path) -> Listing:
    """The archive's whole mammograms, from its four tables."""
    listing = Listing()
    tables = [(find_index(root, name), split) for name, split in _TABLES]
    entries = [(split, where, row) for index, split in tables
               for where, row in index_rows(index, _COLUMNS, ["breast_density", "breast density"])]  # mass, calc
    grades = defaultdict(list)
    for _, _, row in entries:
        grades[_breast(row)].append(listing.grade(row["assessment"]))
    series, base, seen = _series_folders(root), find_folder(root, "CBIS-DDSM") or root, set()
    for split, where, row in entries:
        stated = PurePosixPath(row["image file path"])
        if stated in seen:  # a further lesion of the same film
            continue
        seen.add(stated)
        listing.add(patient=row["patient_id"], exam="", laterality=row["left or right breast"],
                    view=row["image view"], grade=worst_grade(grades[_breast(row)]),
                    density=row["breast_density"] or row["breast density"],
                    path=_whole_image(base, stated, series).relative_to(root), split=split, **where)
    return listing


def _breast(row: dict[str, str]) -> tuple[str, str]:
    return row["patient_id"], row["left or right breast"]


def _series_folders(root: Path) -> dict[str, Path]:
    """Series UID to folder, where the downloader's metadata.csv is at hand."""
    try:
        index = find_index(root, "metadata.csv")
    except AdapterError:
        return {}
    return {row["Series UID"]: index.parent / row["File Location"].replace("\\", "/")
            for _, row in index_rows(index, ("Series UID", "File Location"))}


def _whole_image(base: Path, stated: PurePosixPath, series: dict[str, Path]) -> Path:
    """The one DICOM file of the series; where there is none, a path at which no file is."""
    case = base / stated.parts[0] if stated.parts else base
    folders = [base / stated.parent, series.get(stated.parent.name), *sorted(case.glob("*/*full mammogram images*"))]
    for folder in folders:
        files = sorted(folder.glob("*.dcm")) if folder else []
        if len(files) == 1:
            return files[0]
    return base / stated.parent / "absent.dcm"
