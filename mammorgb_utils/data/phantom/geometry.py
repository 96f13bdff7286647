"""Where the breast lies in an image: outline, muscle and depth of each view, on the detector's grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from mammorgb_utils.data.phantom.anatomy import Breast, Mass

SHAPE = (320, 256)  # rows along the chest wall, columns away from it
SPACING_MM = 0.9375  # 24 cm × 30 cm detector


@dataclass(frozen=True)
class Frame:
    """Material coordinates of every pixel of a view: `(H, W)` each."""

    u: np.ndarray  # depth from the posterior (CC) or the pectoral edge (MLO) over the nipple line; negative behind it
    across: np.ndarray  # offset from the nipple line over the half-extent at that depth; ±1 is the outline
    breast: np.ndarray  # bool, with muscle and abdominal tissue
    body: np.ndarray  # bool, what is in the unit half-ball: without muscle, nipple and abdomen
    muscle: np.ndarray  # depth behind the pectoral edge [mm]; ≤ 0 outside, all 0 in CC


@cache
def pixel_grid() -> tuple[np.ndarray, np.ndarray]:
    """Centres of the pixels [mm]: `(1, W)` from the chest wall and `(H, 1)` from the top."""
    row, column = np.ogrid[:SHAPE[0], :SHAPE[1]]
    return (column + 0.5) * SPACING_MM, (row + 0.5) * SPACING_MM


def axis_angle(breast: Breast, view: str) -> float:
    """Angle [rad] by which the nipple line points down; in MLO it is perpendicular to the pectoral edge."""
    place = breast.placement(view)
    return place.rotation if view == "CC" else np.radians(breast.muscle_angle_deg)


def nipple_position(breast: Breast, view: str) -> tuple[float, float]:
    """Nipple in a view: `(x, y)` in mm from the chest-wall edge and from the top."""
    place, angle = breast.placement(view), axis_angle(breast, view)
    if view == "CC":
        return place.nipple_line_mm * np.cos(angle), place.nipple_row_mm + place.nipple_line_mm * np.sin(angle)
    y = place.nipple_row_mm + place.nipple_line_mm * np.sin(place.rotation)
    # on the line at distance PNL from the pectoral edge, which crosses x = 0 at muscle_length
    return (place.nipple_line_mm - (y - breast.muscle_length_mm) * np.sin(angle)) / np.cos(angle), y


@lru_cache(maxsize=4)
def frame(breast: Breast, view: str) -> Frame:
    """Coordinates and masks of one view; shared between calls, so never written to."""
    place, angle = breast.placement(view), axis_angle(breast, view)
    x, y = pixel_grid()
    nipple_x, nipple_y = nipple_position(breast, view)
    cos, sin = np.cos(angle), np.sin(angle)
    depth = place.nipple_line_mm + (x - nipple_x) * cos + (y - nipple_y) * sin
    offset = -(x - nipple_x) * sin + (y - nipple_y) * cos
    u, extent = depth / place.nipple_line_mm, half_extent(breast, view, depth, offset)
    across = offset / np.maximum(extent, 1e-6)
    body = (np.abs(offset) < extent) & (u < 1)
    nipple = np.hypot(depth - place.nipple_line_mm + breast.nipple_mm, offset) < breast.nipple_mm
    muscle = np.zeros(SHAPE)
    whole = body | nipple
    if view == "MLO":
        along = np.clip(y / breast.muscle_length_mm, 0.0, 1.0)  # the pectoral edge, which is slightly convex
        edge = breast.muscle_bulge_mm * 4 * along * (1 - along)
        muscle = np.where(y < breast.muscle_length_mm, edge - depth, 0.0)
        fold = (np.flatnonzero(body[:, :4].any(axis=1))[-1] + 1) * SPACING_MM  # abdomen below it widens downwards
        abdomen = (y > fold - 20.0) & (x < breast.abdomen_mm * (0.8 + np.clip(y - fold, 0.0, None) / 80.0))
        whole = whole | (muscle > 0) | abdomen
    return Frame(u, across, whole, body & (muscle <= 0), muscle)


def half_extent(breast: Breast, view: str, depth: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Half-extent [mm] of the outline on either side of the nipple line, at each depth.

    In MLO the upper outline flares along the pectoral edge into the axilla.
    """
    place = breast.placement(view)
    tip = place.nipple_line_mm - 0.6 * breast.nipple_mm  # the nipple stands out from the contour
    u = np.clip(depth / tip, 0.0, 1.0)
    side = np.where(offset < 0, place.half_up_mm, place.half_down_mm)
    wave = 1 + breast.ripple[0] * np.sin(5 * u + breast.ripple[1])
    extent = side * wave * (1 - u**place.exponent_depth) ** (1 / place.exponent_width)
    if view == "CC":
        return extent
    return extent + np.where(offset < 0, breast.axilla_mm * np.exp(-u / 0.16) * (1 - u), 0.0)


def mass_position(breast: Breast, view: str, mass: Mass) -> tuple[float, float]:
    """Centre of a mass in a view: `(x, y)` in mm; its depth along the nipple line is `mass.u` times that line."""
    place, angle = breast.placement(view), axis_angle(breast, view)
    across = oblique(mass.v, mass.w, view)[0] / np.sqrt(1 - mass.u**2)
    depth = mass.u * place.nipple_line_mm
    offset = across * float(half_extent(breast, view, np.array(depth), np.array(across)))
    nipple_x, nipple_y = nipple_position(breast, view)
    back = depth - place.nipple_line_mm
    return (nipple_x + back * np.cos(angle) - offset * np.sin(angle),
            nipple_y + back * np.sin(angle) + offset * np.cos(angle))


def oblique(v: float | np.ndarray, w: float | np.ndarray, view: str) -> tuple:
    """Turn (medial–lateral, superior–inferior) into (across the image, along the ray) of a view, and back.

    The turn is its own inverse: CC looks along the superior–inferior axis, MLO halfway between the two.
    """
    if view == "CC":
        return v, w
    return (v + w) / np.sqrt(2), (v - w) / np.sqrt(2)
