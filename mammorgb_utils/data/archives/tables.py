"""Archives with one table that names every image, its side and its view: VinDr-Mammo, RSNA 2023, INbreast, CSAW-CC.

docs/own_data.md has each one's layout, meaning and sources. Verified there against the archives' descriptions and
other people's readers: names of files and columns, folder layouts, forms of the values. Unverified: that two visits of
a patient of INbreast differ in Acquisition date (a month, such as 201001); seen in test data only.
"""

from __future__ import annotations

from pathlib import Path

from mammorgb_utils.data.archives.base import AdapterError, Listing, find_index, index_rows


def vindr(root: Path) -> Listing:
    """VinDr-Mammo names no patient: the exam stands for her, and two exams of one woman can't be recognised."""
    index, listing = find_index(root, "breast-level_annotations.csv"), Listing()
    images, splits = index.parent.relative_to(root) / "images", {"training": "train", "test": "heldout"}
    columns = ("study_id", "image_id", "laterality", "view_position", "breast_birads")
    for where, row in index_rows(index, columns, ["split", "breast_density"]):
        listing.add(patient=row["study_id"], exam=row["study_id"], laterality=row["laterality"],
                    view=row["view_position"], birads=row["breast_birads"], density=row["breast_density"],
                    path=images / row["study_id"] / f"{row['image_id']}.dicom", split=splits.get(row["split"]),
                    **where)
    return listing


def rsna(root: Path) -> Listing:
    """RSNA's training images; those of the test carry no BI-RADS. No exam is stated: a patient's images are one."""
    index, listing = find_index(root, "train.csv"), Listing()
    images = index.parent.relative_to(root) / "train_images"
    columns = ("patient_id", "image_id", "laterality", "view", "BIRADS", "implant")
    for where, row in index_rows(index, columns, ["density"]):
        listing.add(patient=row["patient_id"], exam="", laterality=row["laterality"], view=row["view"],
                    birads=row["BIRADS"], implant=row["implant"], density=row["density"],
                    path=images / row["patient_id"] / f"{row['image_id']}.dcm", **where)
    return listing


def inbreast(root: Path) -> Listing:
    """INbreast's column Patient ID reads "removed": the patient is the second part of a file's name."""
    if sheets := [path for depth in ("", "*/", "*/*/") for path in root.glob(depth + "INbreast.xls*")]:
        if not any(path.with_suffix(".csv").is_file() for path in sheets):
            raise AdapterError(f"{sheets[0].name}: save its sheet as INbreast.csv beside it; spreadsheets aren't read")
    index, listing = find_index(root, "INbreast.csv"), Listing()
    folder = index.parent / "AllDICOMs"
    files = {path.name.split("_")[0]: path for path in sorted(folder.glob("*.dcm"))}
    columns = ("Laterality", "View", "Acquisition date", "File Name", "Bi-Rads")
    for where, row in index_rows(index, columns, ["ACR"]):
        name = row["File Name"].removesuffix(".0")  # a spreadsheet's number
        path = files.get(name, folder / f"{name}_absent.dcm")
        listing.add(patient=path.stem.split("_")[1] if "_" in path.stem else "", exam=row["Acquisition date"],
                    laterality=row["Laterality"], view=row["View"], birads=row["Bi-Rads"], density=row["ACR"],
                    path=path.relative_to(root), **where)
    return listing


def csaw(root: Path) -> Listing:
    """CSAW-CC's table names files alone: its packages may lie anywhere below ROOT. It states no BI-RADS; its density
    is a share, no letter."""
    index, listing = find_index(root, "CSAW-CC_breast_cancer_screening_data.csv"), Listing()
    files = {path.name: path.relative_to(root) for path in sorted(root.rglob("*.dcm"))}
    columns = ("anon_patientid", "exam_year", "imagelaterality", "viewposition", "anon_filename")
    for where, row in index_rows(index, columns):
        name = row["anon_filename"].removesuffix(".dcm") + ".dcm"
        listing.add(patient=row["anon_patientid"], exam=row["exam_year"], laterality=row["imagelaterality"],
                    view=row["viewposition"], path=files.get(name, Path(name)), **where)
    return listing
