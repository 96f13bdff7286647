"""The mark of a view that a model drew for a breast of a patient: no manifest takes such a file for an image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

KEY = "Synthetic"  # of the PNG's text that tells what the view is
REASON = "synthetic view, drawn by a model for a breast whose own is missing"
_NAME = re.compile(r".+_(?:CC|MLO)_synthetic-\d+(?:\.\w+)*", re.IGNORECASE)
_PNG = b"\x89PNG\r\n\x1a\n"


def synthetic_name(breast: str, view: str, draw: int) -> str:
    """File name of a drawn view: `P0001_E1_L_MLO_synthetic-00.png`."""
    return f"{breast}_{view}_synthetic-{draw:02d}.png"


def is_synthetic_name(path: str | Path) -> bool:
    """Whether a file is named as `synthetic_name` does, whatever its ending."""
    return bool(_NAME.fullmatch(Path(path).name))


def is_synthetic(path: Path) -> bool:
    """Whether name or content marks a file as a drawn view; one that can't be read isn't known as such."""
    if is_synthetic_name(path):
        return True
    try:
        with path.open("rb") as file:
            if file.read(len(_PNG)) != _PNG:
                return False
        with Image.open(path) as image:
            return KEY in image.info
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return False


def png_text(facts: Mapping[str, object]) -> PngInfo:
    """Facts as the text of a PNG, `KEY` first, which says that nobody's breast is shown."""
    text = PngInfo()
    text.add_text(KEY, "drawn by a diffusion model beside the other view; not an image of a patient, not for diagnosis")
    for name, value in facts.items():
        text.add_text(name, str(value))
    return text
