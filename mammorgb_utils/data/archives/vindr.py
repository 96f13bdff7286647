"""VinDr-Mammo: 5,000 four-view exams, digital, BI-RADS 1 to 5 of each breast.

Layout: `breast-level_annotations.csv` beside `images/<study_id>/<image_id>.dicom`. The archive names no patient,
so the exam stands for the patient: two exams of one woman can't be recognised.

Verified: file names, folder layout and the columns study_id, image_id, laterality, view_position, breast_birads
("BI-RADS 2"), split (training, test) against PhysioNet's description of version 1.0.0 as repeated in
github.com/KP-AROB/AROB-VINDR-IMG, the reader github.com/KP-AROB/Breast-Datasets-Preparation
(src/core/df_loaders/vindr.py), and the authors' github.com/vinbigdata-medical/vindr-mammo (visualize.py).
Not stated by the archive: implants.
"""

from __future__ import annotations

from pathlib import Path

from mammorgb_utils.data.archives.base import Listing, find_index, read_index, rows

LAYOUT = "images/<study_id>/<image_id>.dicom beside breast-level_annotations.csv"
_COLUMNS = ("study_id", "image_id", "laterality", "view_position", "breast_birads")
_SPLITS = {"training": "train", "test": "heldout"}


def list_images(root: Path) -> Listing:
    """The archive's images, from its index.

    Raises:
        AdapterError: The index or a column of it is absent.
    """
    index = find_index(root, "breast-level_annotations.csv")
    images = index.parent.relative_to(root) / "images"
    listing = Listing()
    for number, row in rows(read_index(index, _COLUMNS, ["split"])):
        listing.add(patient=row["study_id"], exam=row["study_id"], laterality=row["laterality"],
                    view=row["view_position"], birads=row["breast_birads"],
                    path=images / row["study_id"] / f"{row['image_id']}.dicom",
                    index=index.name, row=number, split=_SPLITS.get(row["split"]))
    return listing
