"""RSNA Screening Mammography Breast Cancer Detection (2023): digital screening mammograms of two sites.

Layout: `train.csv` beside `train_images/<patient_id>/<image_id>.dcm`. The competition's test images carry no
BI-RADS and are not read. The archive states no exam, so all images of a patient count as one exam. BIRADS is per
breast and partly empty: 0 needs follow-up, 1 negative, 2 "normal" in the archive's words. One site states implants
for the patient, not the breast.

Verified: layout, columns patient_id, image_id, laterality, view, implant, BIRADS and their meaning against RSNA's
own wiki (github.com/RSNA/AI-Challenge-Data, page "RSNA Screening Mammography Breast Cancer Detection") and the
reader github.com/neuro-ml/amid (amid/rsna_bc/dataset.py).
"""

from __future__ import annotations

from pathlib import Path

from mammorgb_utils.data.archives.base import Listing, find_index, read_index, rows

LAYOUT = "train_images/<patient_id>/<image_id>.dcm beside train.csv"
_COLUMNS = ("patient_id", "image_id", "laterality", "view", "BIRADS", "implant")


def list_images(root: Path) -> Listing:
    """The archive's training images, from its index.

    Raises:
        AdapterError: The index or a column of it is absent.
    """
    index = find_index(root, "train.csv")
    images = index.parent.relative_to(root) / "train_images"
    listing = Listing()
    for number, row in rows(read_index(index, _COLUMNS)):
        listing.add(patient=row["patient_id"], exam="", laterality=row["laterality"], view=row["view"],
                    birads=row["BIRADS"], implant=row["implant"],
                    path=images / row["patient_id"] / f"{row['image_id']}.dcm", index=index.name, row=number)
    return listing
