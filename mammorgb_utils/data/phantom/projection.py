"""Rays through the compressed breast: thickness and glandular fraction of every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates, zoom

from mammorgb_utils.data.phantom.anatomy import VOLUME_SHAPE, Breast, gland_volume
from mammorgb_utils.data.phantom.geometry import SHAPE, SPACING_MM, Frame, frame, mass_position, oblique

RAY_SAMPLES = 20


@dataclass(frozen=True)
class Projection:
    """One compressed view before presentation.

    Attributes:
        frame: Material coordinates and masks.
        edge_mm: `(H, W)` distance to the nearest air.
        thickness: `(H, W)` local over full compressed thickness, in [0, 1].
        gland: `(H, W)` glandular fraction of the ray, masses included.
        calcium: `(H, W)` calcification signal.
    """

    frame: Frame
    edge_mm: np.ndarray
    thickness: np.ndarray
    gland: np.ndarray
    calcium: np.ndarray


@lru_cache(maxsize=2)
def _volume(breast: Breast) -> np.ndarray:
    return gland_volume(breast)


def project(breast: Breast, view: str) -> Projection:
    """Compress and project one view."""
    place, where = breast.placement(view), frame(breast, view)
    edge = distance_transform_edt(where.breast) * SPACING_MM
    radius = place.thickness_mm / 2
    rounded = np.minimum(edge, radius)
    thickness = np.sqrt(rounded * (2 * radius - rounded)) / radius
    gland = _ray_means(_volume(breast), where, view) * (breast.gland_cc if view == "CC" else breast.gland_mlo)
    lumps, calcium = _planted(breast, view)
    gland, calcium = np.where(where.body, gland + lumps, 0.0), np.where(where.body, calcium, 0.0)
    return Projection(where, edge, thickness, gland, calcium)


def _ray_means(volume: np.ndarray, where: Frame, view: str) -> np.ndarray:
    """Mean glandular fraction along each ray, at half resolution, brought back to the detector's grid."""
    u, across, body = where.u[1::2, 1::2], where.across[1::2, 1::2], where.body[1::2, 1::2]
    u, across = np.clip(u[body], 0.0, 1.0), across[body]
    radius = np.sqrt(1 - u**2)
    side = across * radius
    ray = np.sqrt(np.maximum(radius**2 - side**2, 0.0))
    steps = (np.arange(RAY_SAMPLES) + 0.5) / RAY_SAMPLES * 2 - 1
    along = steps[:, None] * ray[None]
    v, w = oblique(np.broadcast_to(side, along.shape), along, view)
    depth, wide, high = VOLUME_SHAPE
    points = np.stack([np.broadcast_to(u * depth - 0.5, v.shape), (v + 1) * wide / 2 - 0.5, (w + 1) * high / 2 - 0.5])
    half = np.zeros(body.shape)
    half[body] = map_coordinates(volume, points, order=1, mode="nearest").mean(0)
    return zoom(half, 2, order=1, mode="nearest", grid_mode=True)


def _planted(breast: Breast, view: str) -> tuple[np.ndarray, np.ndarray]:
    """What masses and calcifications add: chord of a sphere over the compressed thickness."""
    lumps, calcium = np.zeros(SHAPE), np.zeros(SHAPE)
    x = (np.arange(SHAPE[1])[None, :] + 0.5) * SPACING_MM
    y = (np.arange(SHAPE[0])[:, None] + 0.5) * SPACING_MM
    for mass in breast.masses:
        centre = mass_position(breast, view, mass)
        squared = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
        if mass.calcified:
            calcium += 0.35 * mass.contrast * np.exp(-squared / (2 * mass.radius_mm**2))
        else:
            chord = np.sqrt(np.maximum(mass.radius_mm**2 - squared, 0.0)) / mass.radius_mm
            lumps += 0.30 * mass.contrast * chord
    return lumps, calcium
