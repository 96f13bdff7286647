"""EMBED, Emory Breast Imaging Dataset (open release): digital screening and diagnostic exams, BI-RADS by letter.

Only FinalImageType 2D is taken (no synthetic views), and no spot or magnification views (spot_mag 1). `asses` belongs
to a finding; a breast gets the most worrying of the findings on its side, on both (B) or without a side.
Verified against the archive's own README (docs/own_data.md), which calls `asses` both per finding and global for the
exam; its screening example is per breast. Unverified, known from users' code alone: the folder `images`, the form of
anon_dicom_path, such as /mnt/…/cohort_1/<patient>/<study>/<series>/<file>.dcm (the README has no series in it), and
the column BreastImplantPresent (YES, NO); where it is absent, implants are unknown.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from mammorgb_utils.data.archives.base import Listing, find_index, index_rows, worst_grade

_METADATA = ("empi_anon", "acc_anon", "anon_dicom_path", "ImageLateralityFinal", "ViewPosition", "FinalImageType")
_LETTERS = {"A": 0, "N": 1, "B": 2, "P": 3, "S": 4, "M": 5, "K": 6}


def list_images(root: Path, *, implied_negatives: bool = False) -> Listing:
    """The archive's 2D images, from its two tables.

    With `implied_negatives`, an exam of both breasts whose findings all lie in one is negative, BI-RADS 1, in the
    other: as the archive's own notebook (resources/notebooks/screening_label_assignment.ipynb) fills it in.
    """
    index, listing = find_index(root, *_names("metadata")), Listing()
    grades, densities = _findings(root, listing, implied_negatives)
    prefix = Path("images") if (root / "images").is_dir() else Path()
    for where, row in index_rows(index, _METADATA, ["spot_mag", "BreastImplantPresent"]):
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
                    density=densities.get(exam, ""),
                    path=prefix / _below_cohort(row["anon_dicom_path"]), **where)
    return listing


def _names(table: str) -> list[str]:
    return [f"EMBED_OpenData_{release}{table}{form}.csv" for release in ("", "NUS_Datathon_") for form in
            ("", "_reduced")]


def _findings(root: Path, listing: Listing,
              implied_negatives: bool) -> tuple[dict[tuple[str, str], list[int | None]], dict[str, str]]:
    """BI-RADS of each exam and side, `L`, `R`, `B` or none stated; and density of each exam, 5 (a man's) left out."""
    index, columns = find_index(root, *_names("clinical")), ("acc_anon", "side", "asses", "desc")
    grades, densities, sides = defaultdict(list), {}, defaultdict(set)
    for _, row in index_rows(index, columns[:3 + implied_negatives], ["tissueden"]):
        exam, letter = _key(row["acc_anon"]), row["asses"].upper()
        if "bilat" in row.get("desc", "").lower():
            sides[exam].add(row["side"].upper())
        if letter and letter not in _LETTERS:
            listing.skipped["finding whose BI-RADS isn't understood"] += 1
        grades[exam, row["side"].upper()].append(_LETTERS.get(letter))
        if _key(row["tissueden"]) not in ("", "5"):
            densities.setdefault(exam, row["tissueden"])
    for exam, found in sides.items():
        if found in ({"L"}, {"R"}):
            grades[exam, "R" if found == {"L"} else "L"].append(_LETTERS["N"])
    return grades, densities


def _key(text: str) -> str:
    # A table that went through floats writes 123 as 123.0.
    return text.removesuffix(".0")


def _below_cohort(stated: str) -> Path:
    parts = PurePosixPath(stated.replace("\\", "/")).parts
    start = next((i for i, part in enumerate(parts) if part.startswith("cohort_")), max(len(parts) - 1, 0))
    return Path(*parts[start:])
