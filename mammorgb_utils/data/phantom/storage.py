"""How a view is stored: side, burnt-in label, and the artefacts that some views carry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mammorgb_utils.data.phantom.anatomy import Breast
from mammorgb_utils.data.phantom.geometry import SHAPE, SPACING_MM
from mammorgb_utils.data.phantom.render import view_truth_mask

ARTEFACTS = ("background_offset", "paddle_line", "label_remnant", "cut_breast", "view_mismatch")
_GLYPHS = {  # 5 × 7 bitmaps, one hexadecimal pair a row
    "L": "10101010101f1f", "R": "1e11111e141211", "C": "0e11101010110e", "M": "111b1515111111",
    "O": "0e11111111110e", " ": "00000000000000"}
LABEL_LEVEL = 0.97


def text_bitmap(text: str, scale: int = 2) -> np.ndarray:
    """Text as a bool bitmap, in a font of our own; letters other than L, R, C, M, O aren't drawn."""
    rows = [np.frombuffer(bytes.fromhex(_GLYPHS[letter]), np.uint8)[:, None] for letter in text]
    letters = [np.pad(np.unpackbits(row, axis=1)[:, 3:], ((0, 0), (0, 1))) for row in rows]
    return np.kron(np.hstack(letters)[:, :-1], np.ones((scale, scale), np.uint8)).astype(bool)


def store(image: np.ndarray, laterality: str, view: str, *, label_at: tuple[int, int] | None = None) -> np.ndarray:
    """A rendered view on the side on which scanners store it, a right breast's chest wall on the right, and labelled.

    `label_at` is the label's row and distance from the edge away from the chest wall [px]; by default the upper corner.
    """
    stored = np.array(image if laterality == "L" else image[:, ::-1])
    bitmap, (row, margin) = text_bitmap(f"{laterality} {view}"), label_at or (10, 8)
    height, width = bitmap.shape
    left = stored.shape[1] - margin - width if laterality == "L" else margin
    stored[row:row + height, left:left + width][bitmap] = LABEL_LEVEL
    return stored


def add_artefact(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one artefact on a rendered view; kinds that aren't drawn here leave it unchanged.

    `label_remnant` is made by the label, `cut_breast` and `view_mismatch` by another breast.
    """
    if kind == "background_offset":
        return np.maximum(image, rng.uniform(0.07, 0.14))
    if kind != "paddle_line":
        return image
    lined, level = image.copy(), rng.uniform(0.25, 0.45)
    along = rng.random() < 0.5  # the paddle's edge, along the chest wall or across the field
    start = int(rng.integers(150, 230) if along else rng.integers(285, 310))
    line = np.s_[:, start:start + 2] if along else np.s_[start:start + 2]
    lined[line] = np.maximum(lined[line], level)
    return lined


def cut_breast(breast: Breast, view: str, rng: np.random.Generator) -> Breast:
    """The same breast positioned so low in one view that its lower part leaves the field."""
    rows = np.flatnonzero(view_truth_mask(breast, view).sum(axis=1) > 30)  # a fold of abdominal skin is narrower
    shift = (SHAPE[0] - int(rows[-1]) + int(rng.integers(30, 65))) * SPACING_MM
    place = breast.placement(view)
    place = replace(place, nipple_row_mm=place.nipple_row_mm + shift)
    if view == "CC":
        return replace(breast, cc=place)
    return replace(breast, mlo=place, muscle_length_mm=breast.muscle_length_mm + shift)


def add_implant(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bright smooth dome behind the gland, as silicone shows."""
    inside = image > 0.05
    height = np.flatnonzero(inside.any(axis=1))
    width = np.flatnonzero(inside.any(axis=0))[-1]
    centre, half = height.mean(), 0.32 * height.size
    y, x = np.ogrid[:image.shape[0], :image.shape[1]]
    radius = np.hypot((y - centre) / half, x / (rng.uniform(0.55, 0.68) * width))
    share = np.clip((1 - radius) * half * SPACING_MM / 3.0, 0.0, 1.0) * inside
    return image * (1 - share) + share * (0.94 - 0.06 * radius)


def touching_label_spot(image: np.ndarray, view: str, rng: np.random.Generator) -> tuple[int, int]:
    """Where a label must stand to touch the breast: for `store(label_at=…)`."""
    width = text_bitmap(f"L {view}").shape[1]
    row = int(rng.integers(60, 200))
    columns = np.flatnonzero((image[row:row + 14] > 0.05).any(axis=0))
    edge = int(columns[-1]) if columns.size else 40
    margin = image.shape[1] - (edge - int(rng.integers(0, 5))) - width
    return row, int(np.clip(margin, 2, image.shape[1] - width - 2))
