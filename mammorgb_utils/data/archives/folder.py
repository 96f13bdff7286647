"""Archives without an index: each header says what of patient, exam, side, view and implant it knows.

PatientID and StudyInstanceUID only group the images and are never written. BI-RADS stands in no mammogram's header:
fill the manifest's column by hand, or let the study take unknown ones (`unknown_birads: include`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from tqdm import tqdm

from mammorgb_utils.data import headers, kinds
from mammorgb_utils.data.archives.base import AdapterError, Listing, find_folder
from mammorgb_utils.data.synthetic import REASON, is_synthetic

# TCIA found images with the same pixels under two patients (D1-0202 and D2-0284, D1-0808 and D1-1292) and can't say
# whose they are: these four aren't taken, or one woman could stand on both sides of the split.
_DOUBTFUL = {"D1-0202", "D2-0284", "D1-0808", "D1-1292"}
# PatientID of CBIS-DDSM's whole films, which state their view nowhere else; that of a crop or mask ends in a number.
_CBIS = re.compile(r"(?:Mass|Calc)-(?:Training|Test)_(P_\d+)_(LEFT|RIGHT)_(CC|MLO)")


def cmmd(root: Path) -> Listing:
    """CMMD's images, patient, exam, side and view from their headers; its table holds nothing that a manifest needs."""
    folder = find_folder(root, "CMMD")
    if folder is None:
        raise AdapterError("CMMD: no such folder; ROOT must hold the folder CMMD, at most two folders below, or be it")
    listing = list_images(root, folder)
    kept = [record for record in listing.records if record.patient not in _DOUBTFUL]
    if doubtful := len(listing.records) - len(kept):
        listing.skipped["patient whose images TCIA found under another one, too"] = doubtful
    listing.records = kept
    return listing


def list_images(root: Path, folder: Path | None = None) -> Listing:
    """CC and MLO mammograms below `root`, or a folder of it; For Processing only where none is for presentation."""
    listing, images = Listing(), []
    files = sorted(_visible_files(folder or root, listing))
    with ThreadPoolExecutor() as pool:
        read = tqdm(pool.map(_header, files), total=len(files), desc="headers", unit="file", mininterval=2,
                    disable=None)  # shown on a terminal only
        for path, header in zip(files, read, strict=True):
            if isinstance(header, str):
                listing.skipped[header] += 1
            else:
                facts = _facts(header) | {"path": path.relative_to(root)}
                images.append((headers.is_for_processing(header), bool(kinds.doubts(header)), facts))
    listing.notes += _part_patients([facts for *_, facts in images]) + _part_exams([facts for *_, facts in images])
    for processing, doubtful, facts in images:
        if not processing and listing.add(**facts) and doubtful:
            listing.skipped["kind of image not known here (kept, and named by --check)"] += 1
    shown = {(record.patient, record.exam, record.laterality, record.view) for record in listing.records}
    for facts in (facts for processing, _, facts in images if processing):
        if (facts["patient"], facts["exam"], facts["laterality"], facts["view"]) in shown:
            listing.skipped["for processing, not for presentation"] += 1
        elif listing.add(**facts):
            listing.skipped["for processing (kept, but rejected by the study unless for_processing: convert)"] += 1
    return listing


def _facts(header: Dataset) -> dict[str, str]:
    facts = {"patient": headers.text(header, "PatientID"), "exam": headers.word(header, "StudyInstanceUID"),
             "laterality": headers.laterality_of(header)[0] or "", "view": headers.view_of(header)[0] or "",
             "implant": str(headers.implant_of(header))}
    if film := _CBIS.fullmatch(facts["patient"]):  # one study a film
        facts |= {"patient": film[1], "exam": "film", "laterality": film[2], "view": film[3]}
    return facts


def _part_patients(images: list[dict]) -> list[str]:
    """Where all files have one PatientID, a placeholder of whoever took the names out, part them by study or folder."""
    if len({facts["patient"] for facts in images}) != 1:
        return []
    for name, keys in (("study", [facts["exam"] for facts in images]),
                       ("folder", [facts["path"].parent.as_posix() for facts in images])):
        if len(set(keys)) > 1 and "" not in keys and _hold_breasts(keys, images):
            for key, facts in zip(keys, images, strict=True):
                facts["patient"] = key
            return [f"All files have one PatientID, or none: each {name} counts as a patient of its own. Of one woman "
                    f"with two of them, one could be trained on and the other held out"]
    return []


def _part_exams(images: list[dict]) -> list[str]:
    """Where files state no study, their folder stands for it if folders hold breasts in both views."""
    untold = [facts for facts in images if not facts["exam"]]
    places = [(facts["patient"], facts["path"].parent.as_posix()) for facts in untold]
    whole = _hold_breasts(places, untold)
    for facts, (_, place) in zip(untold, places, strict=True):
        facts["exam"] = place if whole else ""
    rule = "each folder counts as one" if whole else "all of one patient count as one, and may be of several visits"
    return [f"{len(untold)} files state no study: {rule}"] if untold else []


def _hold_breasts(keys: list, images: list[dict]) -> bool:
    """Whether under some key there are both views of one side."""
    views = {(key, facts["laterality"], facts["view"]) for key, facts in zip(keys, images, strict=True)}
    return any((key, side, "MLO") in views for key, side, view in views if view == "CC")


def _visible_files(folder: Path, listing: Listing) -> Iterator[Path]:
    """All but hidden ones, also in folders that are linked in, each once; what can't be opened is counted."""
    seen, closed = set(), "folder that can't be opened (its images are not in the manifest)"
    for place, folders, names in os.walk(folder, onerror=lambda _: listing.skipped.update([closed]), followlinks=True):
        known = len(seen)
        seen.add(os.path.realpath(place))
        folders[:] = [name for name in folders if name[0] != "."] if len(seen) > known else []
        yield from (Path(place) / name for name in names if name[0] != "." and len(seen) > known)


def _header(path: Path) -> Dataset | str:
    """The header, or why the file isn't a mammogram for the study."""
    if is_synthetic(path):
        return REASON
    try:
        header = headers.read_header(path, ("PatientID", "StudyInstanceUID"))
        if "SOPClassUID" not in header and "Modality" not in header:
            return "not a DICOM file"
        problem = kinds.rejection(header)
    except InvalidDicomError:
        return "not a DICOM file"
    except headers.READ_ERRORS:
        return "header that can't be read"
    return problem[0].replace("_", " ") if problem else header
