"""INbreast: 410 digital mammograms of 115 cases, BI-RADS 1 to 6.

Layout: `INbreast.csv` (semicolons) beside `AllDICOMs/<File Name>_<patient>_MG_<side>_<view>_ANON.dcm`. The column
Patient ID reads "removed" throughout: the patient is the second part of the file name, the exam the month in
Acquisition date. Side and view are taken from the table.

Verified: semicolons, the columns File Name, Laterality, View, Bi-Rads and the folder against
github.com/LATIS-medical-Imaging/medical-image-std (medical_image/datasets/inbreast.py); the whole header line
`Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads`, the word "removed", dates such as
201001, grades such as 4a (they count as 4), the file names, and the patient as their second part against the tests of
two further readers, found by text search without a repository's name.
Not stated by the archive: implants.
"""

from __future__ import annotations

from pathlib import Path

from mammorgb_utils.data.adapters.base import Listing, find_index, read_index, rows

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
