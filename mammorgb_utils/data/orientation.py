"""Bringing views upright: what Patient Orientation says is done where the pixels agree, and listed where they don't."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from mammorgb_utils.data import headers
from mammorgb_utils.data.breast_region import breast_region, chest_wall_side, unlike_a_breast

_AXES = {"A": 0, "P": 0, "L": 1, "R": 1, "H": 2, "F": 2}
_CORNER = 0.4, 0.35  # of height and width: a triangle at the chest wall's end, which the muscle fills in an MLO view
_CLEAR = 0.05  # of the intensity range, one corner over the other; upright phantoms have 0.03 to 0.65, films 0.1 to 0.9
_BELOW = 0.2  # as much, where no tag calls the view upside down: of upright phantoms it is up to 0.13
UPSIDE_DOWN = "its muscle lies below: it is upside down by its pixels, not by its tags"


@dataclass(frozen=True)
class Orientation:
    """How an image is stored by its tags: lying, and once it stands, flipped, and with its chest wall left or right.

    Flipped is with the feet or the breast's inner half up. `is_oblique` tells of an axis from head to feet, as that of
    an MLO view, not from side to side.
    """

    lying: bool
    flipped: bool
    chest_wall: str
    is_oblique: bool


def orientation_of(header: Dataset) -> Orientation | None:
    """What both values of Patient Orientation say; None where they are no two directions of a mammogram.

    Source:
        DICOM PS3.3 C.7.6.1.1.1: where rows and columns run to, the main direction first: A anterior, P posterior,
        L left, R right, H head, F feet. In hanging views the columns run to the feet, or to the middle of the body.
    """
    directions = [str(value).strip().upper() for value in headers.values(header, "PatientOrientation")]
    if len(directions) != 2 or not all(re.fullmatch("[APLRHF]{1,3}", value) for value in directions):
        return None
    rows, columns = (value[0] for value in directions)
    if _AXES[rows] == _AXES[columns] or 0 not in (_AXES[rows], _AXES[columns]):
        return None
    lying = _AXES[rows] != 0
    forward, down = (columns, rows) if lying else (rows, columns)
    outward = headers.laterality_of(header)[0]  # towards its own side; unknown sides have no inner half
    return Orientation(lying, down in ("H", outward), {"A": "left", "P": "right"}[forward], down in "HF")


def chest_wall_by_tags(header: Dataset) -> tuple[str | None, tuple[str, ...]]:
    """Where the tags put the chest wall, `"left"`, `"right"` or None, and a sentence where they expect opposite sides.

    A left breast is usually stored with its chest wall on the left, a mirrored or half-turned one on the right.
    """
    found, by_side = orientation_of(header), {"L": "left", "R": "right"}.get(headers.laterality_of(header)[0] or "")
    if found is None:
        return by_side, ()
    differs = by_side not in (None, found.chest_wall) and not (found.is_oblique and found.flipped)
    if differs:
        return found.chest_wall, ("patient orientation and laterality expect opposite chest walls",)
    below = found.flipped and not found.is_oblique and not found.lying
    return found.chest_wall, ("its patient orientation puts the breast's outer half below",) if below else ()


def upright(pixels: np.ndarray, stored: Orientation | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The picture turned as it hangs where tags and pixels agree, and a sentence on what was done or what disagrees.

    A CC view that stands is left as it is: its pixels can't tell which half is up.
    """
    if stored is None or not (stored.lying or (stored.flipped and stored.is_oblique)):
        return pixels, ()
    turned = pixels.T if stored.lying else pixels
    turned = turned[::-1] if stored.flipped else turned
    if stored.lying and not _stands(turned):
        return pixels, ("its patient orientation has it lying, its pixels don't",)
    muscle = _muscle_contrast(turned) if stored.is_oblique else 0.0
    told = f"it was stored {'lying' if stored.lying else 'upside down'} and is brought upright"
    if stored.lying and muscle < -_CLEAR:
        turned, told = turned[::-1], f"{told} by its pixels, whose other end is up than by its tags"
    elif not stored.lying and muscle < _CLEAR:
        return pixels, ("its patient orientation has it upside down, its pixels don't",)
    return np.ascontiguousarray(turned), (told,)


def is_upside_down(view: np.ndarray, region: np.ndarray) -> bool:
    """Whether an MLO view's muscle clearly lies below, by its normalised greys and breast region."""
    return _corner_contrast(view, region) < -_BELOW


def _stands(pixels: np.ndarray) -> bool:
    """Whether the breast takes more of a side edge than of the top and bottom ones."""
    region = breast_region(pixels)
    sides, ends = (max(part[0].mean(), part[-1].mean()) for part in (region.T, region))
    return unlike_a_breast(region) is None and sides > ends


def _muscle_contrast(pixels: np.ndarray) -> float:
    region = breast_region(pixels)
    if unlike_a_breast(region):
        return 0.0
    low, high = float(np.median(pixels[~region])), float(np.percentile(pixels[region], 99.5))
    return _corner_contrast((pixels - low) / max(high - low, 1e-6), region)


def _corner_contrast(view: np.ndarray, region: np.ndarray) -> float:
    """How much brighter the upper corner at the chest wall is than the lower one; what is no breast counts as air."""
    inward = np.s_[:, ::-1] if chest_wall_side(region) == "right" else np.s_[:]
    grey = np.where(region, view, 0.0)[inward]
    down, across = ((np.arange(n) + 0.5) / n for n in grey.shape)
    across = across - np.flatnonzero(region[inward].any(axis=0))[0] / grey.shape[1]
    corner = (down[:, None] / _CORNER[0] + across / _CORNER[1] < 1) & (across >= 0)
    return float(grey[corner].mean() - grey[::-1][corner].mean())
