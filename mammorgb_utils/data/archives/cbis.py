"""CBIS-DDSM: scanned film, enriched with lesions; whole mammograms only, no crops and no lesion masks.

Layout: the four `{mass,calc}_case_description_{train,test}_set.csv` and the image folders of TCIA, either way that
its downloader names them: `<case>/<Study UID>/<Series UID>/1-1.dcm`, or
`<case>/<date>-DDSM-NA-…/1.000000-full mammogram images-…/1-1.dcm` (then found through `metadata.csv`, or else by the
folder's name). A case is named such as Mass-Training_P_00001_LEFT_CC; the patient is patient_id, with one exam.
`assessment` is the BI-RADS of one lesion: a breast gets the most worrying of all four tables, so all are required.
A film listed with masses and with calcifications is there twice, as a repeated view.

Verified: file names and columns patient_id, left or right breast (LEFT, RIGHT), image view, assessment (0 to 5),
image file path against TCIA's page (wiki.cancerimagingarchive.net, pageId 22516629) and
github.com/tensorflow/datasets (image_classification/cbis_ddsm.py); the way from Series UID through metadata.csv
(Series UID, File Location) against github.com/KP-AROB/Breast-Datasets-Preparation (src/core/df_loaders/cbis.py);
`<case>/<date>-DDSM-…/1.000000-full mammogram images-…/1-1.dcm` against github.com/john-james-ai/BreastCancerDetection
(_sources/content/00_data/01_unbox.md).
Unverified: that no film of one patient appears under two patient_ids.
Not stated by the archive: implants.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from mammorgb_utils.data.archives.base import AdapterError, Listing, find_index, read_index, rows, worst_grade

LAYOUT = "CBIS-DDSM/<case>/…/1-1.dcm as TCIA's downloader writes it, beside the four case descriptions"
_TABLES = [(f"{kind}_case_description_{part}_set.csv", split)
           for kind in ("mass", "calc") for part, split in (("train", "train"), ("test", "heldout"))]
_COLUMNS = ("patient_id", "left or right breast", "image view", "assessment", "image file path")


def list_images(root: Path) -> Listing:
    """The archive's whole mammograms, from its four tables.

    Raises:
        AdapterError: A table or a column of it is absent.
    """
    listing = Listing()
    tables = [(find_index(root, name), split) for name, split in _TABLES]
    entries = [(index.name, split, number, row) for index, split in tables
               for number, row in rows(read_index(index, _COLUMNS))]
    grades: dict[tuple[str, str], list[int | None]] = {}
    for _, _, _, row in entries:
        grades.setdefault(_breast(row), []).append(listing.grade(row["assessment"]))
    series, base, seen = _series_folders(root), _image_base(root), set()
    for name, split, number, row in entries:
        stated = PurePosixPath(row["image file path"])
        if stated in seen:  # a further lesion of the same film
            continue
        seen.add(stated)
        listing.add(patient=row["patient_id"], exam="", laterality=row["left or right breast"],
                    view=row["image view"], grade=worst_grade(grades[_breast(row)]),
                    path=_whole_image(base, stated, series).relative_to(root), index=name, row=number, split=split)
    return listing


def _breast(row: dict[str, str]) -> tuple[str, str]:
    return row["patient_id"], row["left or right breast"]


def _image_base(root: Path) -> Path:
    """The folder that holds one folder a case."""
    found = [path for depth in ("", "*/", "*/*/") for path in sorted(root.glob(depth + "CBIS-DDSM")) if path.is_dir()]
    return found[0] if found else root


def _series_folders(root: Path) -> dict[str, Path]:
    """Series UID to folder, where the downloader's metadata.csv is at hand."""
    try:
        index = find_index(root, "metadata.csv")
    except AdapterError:
        return {}
    table: pd.DataFrame = read_index(index, ("Series UID", "File Location"))
    return {row["Series UID"]: index.parent / row["File Location"].replace("\\", "/") for _, row in rows(table)}


def _whole_image(base: Path, stated: PurePosixPath, series: dict[str, Path]) -> Path:
    """The one DICOM file of the series; where there is none, a path at which no file is."""
    case = base / stated.parts[0] if stated.parts else base
    folders = [base / stated.parent, series.get(stated.parent.name), *sorted(case.glob("*/*full mammogram images*"))]
    for folder in folders:
        files = sorted(folder.glob("*.dcm")) if folder else []
        if len(files) == 1:
            return files[0]
    return base / stated.parent / "absent.dcm"
