"""EMBED, Emory Breast Imaging Dataset (open release): digital screening and diagnostic exams, BI-RADS by letter.

Layout: `tables/EMBED_OpenData_metadata.csv` (one row a file) and `tables/EMBED_OpenData_clinical.csv` (one row a
finding), or their `_reduced` forms, and `images/cohort_<n>/<patient>/<study>/<series>/<file>.dcm`. anon_dicom_path
begins with a folder of the publisher's; the part from `cohort_` on is looked for below ROOT and ROOT/images.
Only FinalImageType 2D is taken (no synthetic views), and no spot or magnification views (spot_mag 1).
`asses` belongs to a finding: A 0, N 1, B 2, P 3, S 4, M 5, K 6. A breast gets the most worrying of the findings on
its side, on both (B) or without a side; none such: unknown.

Verified: tables, columns empi_anon, acc_anon, anon_dicom_path, FinalImageType, ImageLateralityFinal, ViewPosition,
spot_mag, asses, side, their meaning and the letters against the archive's own github.com/Emory-HITI/EMBED_Open_Data
(README.md, sections IV to VII). It calls `asses` both per finding and global for the exam; its screening example is
per breast.
Unverified, known from users' code alone: the folder `images`, the form of anon_dicom_path, such as
/mnt/…/cohort_1/<patient>/<study>/<series>/<file>.dcm (the README has no series in it), and the column
BreastImplantPresent (YES, NO); where it is absent, implants are unknown.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from mammorgb_utils.data.archives.base import Listing, find_index, read_index, rows, worst_grade

LAYOUT = "images/cohort_<n>/<patient>/<study>/<series>/<file>.dcm and tables/EMBED_OpenData_*.csv"
_METADATA = ("empi_anon", "acc_anon", "anon_dicom_path", "ImageLateralityFinal", "ViewPosition", "FinalImageType")
_LETTERS = {"A": 0, "N": 1, "B": 2, "P": 3, "S": 4, "M": 5, "K": 6}


def list_images(root: Path) -> Listing:
    """The archive's 2D images, from its two tables.

    Raises:
        AdapterError: A table or a column of it is absent.
    """
    index = find_index(root, "EMBED_OpenData_metadata.csv", "EMBED_OpenData_metadata_reduced.csv")
    listing = Listing()
    grades = _grades(root, listing)
    prefix = Path("images") if (root / "images").is_dir() else Path()
    for number, row in rows(read_index(index, _METADATA, ["spot_mag", "BreastImplantPresent"])):
        if row["FinalImageType"] != "2D":
            listing.skipped["not a plain 2D mammogram"] += 1
            continue
        if row["spot_mag"] in ("1", "1.0"):
            listing.skipped["spot or magnification view"] += 1
            continue
        exam, side = _key(row["acc_anon"]), row["ImageLateralityFinal"]
        found = [grade for where in (side, "B", "") for grade in grades.get((exam, where), ())]
        listing.add(patient=_key(row["empi_anon"]), exam=exam, laterality=side, view=row["ViewPosition"],
                    grade=worst_grade(found), implant=row["BreastImplantPresent"],
                    path=prefix / _below_cohort(row["anon_dicom_path"]), index=index.name, row=number)
    return listing


def _grades(root: Path, listing: Listing) -> dict[tuple[str, str], list[int | None]]:
    """BI-RADS of each exam and side: `L`, `R`, `B` or none stated."""
    index = find_index(root, "EMBED_OpenData_clinical.csv", "EMBED_OpenData_clinical_reduced.csv")
    grades = defaultdict(list)
    for _, row in rows(read_index(index, ("acc_anon", "side", "asses"))):
        letter = row["asses"].upper()
        if letter and letter not in _LETTERS:
            listing.skipped["finding whose BI-RADS isn't understood"] += 1
        grades[_key(row["acc_anon"]), row["side"].upper()].append(_LETTERS.get(letter))
    return grades


def _key(text: str) -> str:
    # A table that went through floats writes 123 as 123.0.
    return text.removesuffix(".0")


def _below_cohort(stated: str) -> Path:
    parts = PurePosixPath(stated.replace("\\", "/")).parts
    start = next((i for i, part in enumerate(parts) if part.startswith("cohort_")), max(len(parts) - 1, 0))
    return Path(*parts[start:])
