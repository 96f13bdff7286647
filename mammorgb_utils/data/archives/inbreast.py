"""INbreast: 410 digital mammograms of 115 cases, BI-RADS 1 to 6.

Layout: `INbreast.csv` (semicolons) beside `AllDICOMs/<File Name>_<patient>_MG_<side>_<view>_ANON.dcm`. The column
Patient ID reads "removed" throughout: the patient is the second part of the file name, the exam the month in
Acquisition date. Side and view are taken from the table.

Verified: semicolons, columns, the word "removed", the file names with the patient as their second part, and grades
such as 4a (they count as 4) against github.com/klrkdekira/mammo-second-reader (src/data/inbreast.py); columns and
folders also against github.com/LATIS-medical-Imaging/medical-image-std (medical_image/datasets/inbreast.py).
Unverified: that two visits of a patient differ in Acquisition date (a month, such as 201001); seen in test data only.
Not stated by the archive: implants.
"""

from __future__ import annotations

from pathlib import Path

from mammorgb_utils.data.archives.base import Listing, find_index, read_index, rows

LAYOUT = "AllDICOMs/<File Name>_<patient>_MG_<side>_<view>_ANON.dcm beside INbreast.csv"
_COLUMNS = ("Laterality", "View", "Acquisition date", "File Name", "Bi-Rads")


def list_images(root: Path) -> Listing:
    """The archive's images, from its index and its file names.

    Raises:
        AdapterError: The index or a column of it is absent.
    """
    index = find_index(root, "INbreast.csv")
    folder = index.parent / "AllDICOMs"
    files = {path.name.split("_")[0]: path for path in sorted(folder.glob("*.dcm"))}
    listing = Listing()
    for number, row in rows(read_index(index, _COLUMNS, sep=";")):
        name = row["File Name"]
        path = files.get(name, folder / f"{name}_absent.dcm")
        listing.add(patient=path.stem.split("_")[1] if "_" in path.stem else "", exam=row["Acquisition date"],
                    laterality=row["Laterality"], view=row["View"], birads=row["Bi-Rads"],
                    path=path.relative_to(root), index=index.name, row=number)
    return listing
