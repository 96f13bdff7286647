"""CMMD, the Chinese Mammography Database: digital, patients who had a biopsy, no BI-RADS.

Layout: `CMMD/` with the DICOM files as TCIA's downloader writes them, by patient or by study. Patient (PatientID,
D1-0001 to D2-0749), exam, side (ImageLaterality) and view (View Code Sequence) stand in the headers.
`CMMD_clinicaldata_revision.xlsx` holds age, abnormality and classification, nothing that a manifest needs, and isn't
read. BI-RADS is unknown throughout: the study needs `unknown_birads: include`.

TCIA found images with the same pixels under two patients (D1-0202 and D2-0284, D1-0808 and D1-1292) and can't say
whose they are: these four patients aren't taken, or one woman could stand on both sides of the split.

Verified: the folder `CMMD`, ImageLaterality (0020,0062), View Code Sequence (0054,0220) and the names of the tables
against github.com/BiomedSciAI/fuse-med-ml (fuseimg/datasets/cmmd.py); PatientID of the form D1-0001 and the doubtful
patients against github.com/lejeunel/breast-cancer-cmmd (breastclf/cmmd.py, which quotes TCIA).
Unverified: that every header carries StudyInstanceUID as the exam (the standard demands it).
"""

from __future__ import annotations

from pathlib import Path

from mammorgb_utils.data.archives.base import AdapterError, Listing
from mammorgb_utils.data.archives.folder import list_by_headers

_DOUBTFUL = {"D1-0202", "D2-0284", "D1-0808", "D1-1292"}
LAYOUT = "CMMD/<patient or study>/…/1-1.dcm"


def list_images(root: Path) -> Listing:
    """The archive's images, from their headers.

    Raises:
        AdapterError: There is no folder CMMD.
    """
    folder = root if root.name == "CMMD" else root / "CMMD"
    if not folder.is_dir():
        raise AdapterError("CMMD: no such folder; ROOT must hold the folder CMMD, or be it")
    listing = list_by_headers(root, folder)
    kept = [record for record in listing.records if record.patient not in _DOUBTFUL]
    if len(kept) < len(listing.records):
        listing.skipped["patient whose images TCIA found under another one, too"] = len(listing.records) - len(kept)
    return Listing(kept, listing.skipped)
