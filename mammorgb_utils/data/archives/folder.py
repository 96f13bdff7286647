"""A folder of DICOM files with no index: what each header says of patient, exam, side, view and implant.

Layout: any. PatientID and StudyInstanceUID only group the images and are never written. BI-RADS stands in no
mammogram's header: fill the manifest's column by hand, or let the study take unknown ones (`unknown_birads: include`).

Unverified: attribute names and view codes are believed to follow DICOM PS3.3 and PS3.16 CID 4014; no copy was read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydicom.dataset import Dataset
from tqdm import tqdm

from mammorgb_utils.data import headers
from mammorgb_utils.data.archives.base import Listing

LAYOUT = "any folders of DICOM files"


def list_images(root: Path) -> Listing:
    """The mammograms below `root`, from their headers."""
    return list_by_headers(root, root)


def list_by_headers(root: Path, folder: Path) -> Listing:
    """Read the header of every file below a folder; pixels aren't touched.

    Args:
        root: The archive's folder, which paths are relative to.
        folder: The folder to search; links to folders aren't followed.

    Returns:
        CC and MLO mammograms; everything else counted. Detector values, For Processing, are taken only of a view that
        isn't there for presentation. BI-RADS stands in no header: unknown.

    Source:
        DICOM PS3.3 C.8.11.7: View Code Sequence with its modifiers inside; it supersedes View Position.
    """
    files = sorted(_visible_files(folder))
    listing, detector_values = Listing(), []
    with ThreadPoolExecutor() as pool:
        read = tqdm(pool.map(_header, files), total=len(files), desc="headers", unit="file", mininterval=2,
                    disable=None)  # shown on a terminal only
        for path, header in zip(files, read, strict=True):
            if isinstance(header, str):
                listing.skipped[header] += 1
                continue
            facts = {"patient": headers.text(header, "PatientID"), "exam": headers.text(header, "StudyInstanceUID"),
                     "laterality": headers.laterality_of(header)[0] or "", "view": headers.view_of(header)[0] or "",
                     "implant": str(headers.implant_of(header)), "path": path.relative_to(root)}
            if headers.is_for_processing(header):
                detector_values.append(facts)
            else:
                listing.add(**facts)
    _add_detector_values(listing, detector_values)
    return listing


def _add_detector_values(listing: Listing, images: list[dict]) -> None:
    shown = {(record.patient, record.exam, record.laterality, record.view) for record in listing.records}
    for facts in images:
        if (facts["patient"], facts["exam"], facts["laterality"], facts["view"]) in shown:
            listing.skipped["for processing, not for presentation"] += 1
            continue
        before = len(listing.records)
        listing.add(**facts)
        if len(listing.records) > before:
            listing.skipped["for processing (kept, but rejected by the study unless for_processing: convert)"] += 1


def _visible_files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place) / name for name in names if not name.startswith("."))


def _header(path: Path) -> Dataset | str:
    """The header, or why the file isn't a mammogram for the study."""
    try:
        header = headers.read_header(path, ("PatientID", "StudyInstanceUID"))
        problem = headers.rejection(header)
    except headers.READ_ERRORS:
        return "not a DICOM file"
    return problem[0].replace("_", " ") if problem else header
