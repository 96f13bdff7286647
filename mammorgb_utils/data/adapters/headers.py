"""Images whose DICOM headers are the only index: what a header says of patient, exam, side, view and implant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from tqdm import tqdm

from mammorgb_utils.data.adapters.base import Listing
from mammorgb_utils.data.dicom import FOR_PROCESSING, READ_ERRORS, VIEW_CODES

_TAGS = ["SOPClassUID", "Modality", "PresentationIntentType", "NumberOfFrames", "PatientID", "StudyInstanceUID",
         "ImageLaterality", "Laterality", "ViewPosition", "ViewCodeSequence", "ViewModifierCodeSequence",
         "BreastImplantPresent"]


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
        headers = tqdm(pool.map(_header, files), total=len(files), desc="headers", unit="file", mininterval=2,
                       disable=None)  # shown on a terminal only
        for path, header in zip(files, headers, strict=True):
            reason = "not a DICOM file" if header is None else _unusable(header)
            if reason:
                listing.skipped[reason] += 1
                continue
            listing.add(patient=_text(header, "PatientID"), exam=_text(header, "StudyInstanceUID"),
                        laterality=_text(header, "ImageLaterality") or _text(header, "Laterality"), view=_view(header),
                        implant=_text(header, "BreastImplantPresent"), path=path.relative_to(root))
    return listing


def _visible_files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place) / name for name in names if not name.startswith("."))


def _header(path: Path) -> Dataset | None:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except READ_ERRORS:
        return None


def _text(header: Dataset, name: str) -> str:
    return str(header.get(name) or "").strip()


def _unusable(header: Dataset) -> str:
    """Why a file isn't a mammogram for the study, or nothing."""
    frames = _text(header, "NumberOfFrames")
    if _text(header, "Modality") != "MG":
        return "not mammography"
    if header.get("SOPClassUID") == FOR_PROCESSING or _text(header, "PresentationIntentType") == "FOR PROCESSING":
        return "for processing, not for presentation"
    if frames not in ("", "1"):
        return "more than one frame"
    items = [header, *(header.get("ViewCodeSequence") or ())]
    if any(item.get("ViewModifierCodeSequence") for item in items):
        return "modified view (spot, magnification, displaced implant …)"
    return ""


def _view(header: Dataset) -> str:
    for item in header.get("ViewCodeSequence") or ():
        return VIEW_CODES.get(_text(item, "CodeValue"), "")
    return _text(header, "ViewPosition")
