"""CMMD, the Chinese Mammography Database: digital, patients who had a biopsy, no BI-RADS.

Layout: `CMMD/` with the DICOM files as TCIA's downloader writes them, by patient or by study. Patient (PatientID,
D1-0001 to D2-0749), exam, side (ImageLaterality) and view (View Code Sequence) stand in the headers.
`CMMD_clinicaldata_revision.xlsx` holds age, abnormality and classification, nothing that a manifest needs, and isn't
read. BI-RADS is unknown throughout: the study needs `unknown_birads: include`.

Verified: the folder `CMMD`, ImageLaterality (0020,0062) and View Code Sequence (0054,0220) against
github.com/BiomedSciAI/fuse-med-ml (fuseimg/datasets/cmmd.py); PatientID of the form D1-0001, the columns of the table
and the view codes 399162004 (CC) and 399368009 (MLO) against a second reader, found by text search without a
repository's name.
Unverified: that every header carries StudyInstanceUID as the exam (the standard demands it).
"""

from __future__ import annotations

from pathlib import Path

from mammorgb_utils.data.adapters.base import AdapterError, Listing
from mammorgb_utils.data.adapters.headers import list_by_headers

LAYOUT = "CMMD/<patient or study>/…/1-1.dcm"


def list_images(root: Path) -> Listing:
    """The archive's images, from their headers.

    Raises:
        AdapterError: There is no folder CMMD.
    """
    folder = root if root.name == "CMMD" else root / "CMMD"
    if not folder.is_dir():
        raise AdapterError("CMMD: no such folder; ROOT must hold the folder CMMD, or be it")
    return list_by_headers(root, folder)
