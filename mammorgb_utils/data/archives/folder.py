"""A folder of DICOM files with no index: everything from the headers.

Layout: any. PatientID and StudyInstanceUID only group the images and are never written. BI-RADS stands in no
mammogram's header: fill the manifest's column by hand, or let the study take unknown ones (`unknown_birads: include`).

Unverified: attribute names and view codes are believed to follow DICOM PS3.3 and PS3.16 CID 4014; no copy was read.
"""

from __future__ import annotations

from pathlib import Path

from mammorgb_utils.data.archives.base import Listing
from mammorgb_utils.data.archives.headers import list_by_headers

LAYOUT = "any folders of DICOM files"


def list_images(root: Path) -> Listing:
    """The mammograms below `root`, from their headers."""
    return list_by_headers(root, root)
