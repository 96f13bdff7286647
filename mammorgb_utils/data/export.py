"""Pairs as image files, for readers and other tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mammorgb_utils.runs import atomic_path


def export_pairs(pairs: np.ndarray, folder: Path, *, prefix: str) -> int:
    """Write each view as a 16-bit grey PNG without metadata: `<prefix>_00000_CC.png`, `<prefix>_00000_MLO.png`, …

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first; 0 … 1 becomes 0 … 65535.
        folder: Made when missing.
        prefix: First part of each name, such as the encoding.

    Returns:
        Number of files written.
    """
    for number, pair in enumerate(pairs):
        for name, view in zip(("CC", "MLO"), pair, strict=True):
            grey = np.rint(np.clip(view, 0.0, 1.0) * 65535.0).astype(np.uint16)
            with atomic_path(folder / f"{prefix}_{number:05d}_{name}.png") as temporary:
                Image.fromarray(grey).save(temporary, format="PNG")
    return 2 * len(pairs)
