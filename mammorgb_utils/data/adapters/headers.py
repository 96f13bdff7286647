"""Images whose DICOM headers are the only index: what a header says of patient, exam, side, view and implant."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from tqdm import tqdm

from mammorgb_utils.data import headers
from mammorgb_utils.data.adapters.base import Listing

_TAGS = [*headers.TAGS, "PatientID", "StudyInstanceUID"]


def list_by_headers(root: Path, folder: Path) -> Listing:
    """Read the header of every file below a folder; pixels aren't touched.

    Args:
        root: The archive's folder, which paths are relative to.
        folder: The folder to search; links to folders aren't followed.

    Returns:
        CC and MLO mammograms for presentation; everything else counted. BI-RADS stands in no header: unknown.

    Source:
        DICOM PS3.3 C.8.11.7: View Code Sequence with its modifiers inside; it supersedes View Position.
    """
    files = sorted(_visible_files(folder))
    listing = Listing()
    with ThreadPoolExecutor() as pool:
        read = tqdm(pool.map(_header, files), total=len(files), desc="headers", unit="file", mininterval=2,
                    disable=None)  # shown on a terminal only
        for path, header in zip(files, read, strict=True):
            if isinstance(header, str):
                listing.skipped[header] += 1
                continue
            listing.add(patient=headers.text(header, "PatientID"), exam=headers.text(header, "StudyInstanceUID"),
                        laterality=headers.laterality_of(header)[0] or "", view=headers.view_of(header)[0] or "",
                        implant=str(headers.implant_of(header)), path=path.relative_to(root))
    return listing


def _visible_files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place) / name for name in names if not name.startswith("."))


def _header(path: Path) -> Dataset | str:
    """The header, or why the file isn't a mammogram for the study."""
    try:
        with warnings.catch_warnings(action="ignore"):  # they quote header values
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        problem = headers.rejection(header)
    except headers.READ_ERRORS:
        return "not a DICOM file"
    if headers.is_for_processing(header):
        return "for processing, not for presentation"
    return problem[0].replace("_", " ") if problem else header
