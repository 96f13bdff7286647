"""Archives without an index: each header says what of patient, exam, side, view and implant it knows.

PatientID and StudyInstanceUID only group the images and are never written. BI-RADS stands in no mammogram's header:
fill the manifest's column by hand, or let the study take unknown ones (`unknown_birads: include`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydicom.dataset import Dataset
from tqdm import tqdm

from mammorgb_utils.data import headers
from mammorgb_utils.data.archives.base import AdapterError, Listing

# TCIA found images with the same pixels under two patients (D1-0202 and D2-0284, D1-0808 and D1-1292) and can't say
# whose they are: these four aren't taken, or one woman could stand on both sides of the split.
_DOUBTFUL = {"D1-0202", "D2-0284", "D1-0808", "D1-1292"}


def cmmd(root: Path) -> Listing:
    """CMMD's images, patient, exam, side and view from their headers; its table holds nothing that a manifest needs."""
    folder = root if root.name == "CMMD" else root / "CMMD"
    if not folder.is_dir():
        raise AdapterError("CMMD: no such folder; ROOT must hold the folder CMMD, or be it")
    listing = list_images(root, folder)
    kept = [record for record in listing.records if record.patient not in _DOUBTFUL]
    if len(kept) < len(listing.records):
        listing.skipped["patient whose images TCIA found under another one, too"] = len(listing.records) - len(kept)
    return Listing(kept, listing.skipped)


def list_images(root: Path, folder: Path | None = None) -> Listing:
    """CC and MLO mammograms below `root`, or a folder of it; For Processing only where none is for presentation."""
    files = sorted(_visible_files(folder or root))
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
    shown = {(record.patient, record.exam, record.laterality, record.view) for record in listing.records}
    for facts in detector_values:
        if (facts["patient"], facts["exam"], facts["laterality"], facts["view"]) in shown:
            listing.skipped["for processing, not for presentation"] += 1
        elif listing.add(**facts):
            listing.skipped["for processing (kept, but rejected by the study unless for_processing: convert)"] += 1
    return listing


def _visible_files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        yield from (Path(place) / name for name in names if name[0] != ".")


def _header(path: Path) -> Dataset | str:
    """The header, or why the file isn't a mammogram for the study."""
    try:
        header = headers.read_header(path, ("PatientID", "StudyInstanceUID"))
        problem = headers.rejection(header)
    except headers.READ_ERRORS:
        return "not a DICOM file"
    return problem[0].replace("_", " ") if problem else header
