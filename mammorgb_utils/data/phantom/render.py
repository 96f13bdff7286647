"""Rays through the compressed breast, and their grey levels as a scanner presents them: edges equalised, air black."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import fft
from scipy.ndimage import distance_transform_edt, map_coordinates, zoom

from mammorgb_utils.data.phantom.anatomy import TEXTURE_EXPONENT, VOLUME_SHAPE, Breast, gland_volume
from mammorgb_utils.data.phantom.geometry import SHAPE, SPACING_MM, Frame, frame, mass_position, oblique, pixel_grid

RAY_SAMPLES = 20
_VIEW_STREAM = {"CC": 2, "MLO": 3}


@dataclass(frozen=True)
class Projection:
    """One compressed view before presentation; arrays are `(H, W)` float64."""

    frame: Frame
    edge_mm: np.ndarray  # distance to the nearest air
    thickness: np.ndarray  # local over full compressed thickness, in [0, 1]
    gland: np.ndarray  # glandular fraction of the ray, masses included
    calcium: np.ndarray  # calcification signal


def project(breast: Breast, view: str) -> Projection:
    """Compress and project one view."""
    place, where = breast.placement(view), frame(breast, view)
    edge = distance_transform_edt(where.breast) * SPACING_MM
    radius = place.thickness_mm / 2
    rounded = np.minimum(edge, radius)
    thickness = np.sqrt(rounded * (2 * radius - rounded)) / radius
    gland = _ray_means(gland_volume(breast), where, view) * (breast.gland_cc if view == "CC" else breast.gland_mlo)
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
    x, y = pixel_grid()
    for mass in breast.masses:
        centre = mass_position(breast, view, mass)
        squared = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
        if mass.calcified:
            calcium += 0.35 * mass.contrast * np.exp(-squared / (2 * mass.radius_mm**2))
        else:
            chord = np.sqrt(np.maximum(mass.radius_mm**2 - squared, 0.0)) / mass.radius_mm
            lumps += 0.30 * mass.contrast * chord
    return lumps, calcium


def render_view(breast: Breast, view: str) -> np.ndarray:
    """One view as a display shows it: `SHAPE` float64 in [0, 1], 0 = air, chest wall on the left, without label."""
    projection = project(breast, view)
    rng = breast.rng(_VIEW_STREAM[view])
    exponent = round(TEXTURE_EXPONENT + breast.roughness, 1)
    detail, streaks = _texture(rng, 0.06, exponent), _texture(rng, 0.015, exponent)
    tissue = breast.fat_level + breast.contrast * np.minimum(projection.gland, 1.2) ** 0.9
    gland = np.minimum(projection.gland, 1.0)
    tissue += detail * (0.012 + 0.03 * np.sqrt(gland)) + 0.05 * np.exp(-((streaks / 0.06) ** 2)) * (0.6 + gland)
    tissue = _with_muscle(tissue, projection, breast, view, streaks)
    tissue += projection.calcium
    rim = projection.thickness**0.3
    skin = 0.05 * np.exp(-(((projection.edge_mm - 1.4) / 1.0) ** 2))
    return np.where(projection.frame.breast, np.clip(tissue * rim + skin, 0.06, 1.0), 0.0)


def view_truth_mask(breast: Breast, view: str) -> np.ndarray:
    """True breast mask of a view, muscle and abdominal tissue included: `SHAPE` bool."""
    return frame(breast, view).breast


def muscle_truth_mask(breast: Breast, view: str = "MLO") -> np.ndarray:
    """True pectoral muscle of a view: `SHAPE` bool, empty in CC."""
    return frame(breast, view).muscle > 0


def _with_muscle(tissue: np.ndarray, projection: Projection, breast: Breast, view: str,
                 streaks: np.ndarray) -> np.ndarray:
    if view == "CC":
        return tissue
    depth = projection.frame.muscle
    share = np.clip(depth / 4.0, 0.0, 1.0)
    level = breast.fat_level + 0.27 + 0.12 * np.clip(depth / 45.0, 0.0, 1.0)
    angle, (y, x) = np.radians(breast.muscle_angle_deg), np.ogrid[:SHAPE[0], :SHAPE[1]]
    fibres = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.55 + 2.0 * streaks)
    return tissue * (1 - share) + share * (level + 0.014 * fibres + 0.02 * streaks)


@cache
def _texture_filter(onset: float, exponent: float) -> np.ndarray:
    """Power law that fades in above `onset` [cycles/mm], where the volume's voxels resolve no more."""
    rows, columns = np.ix_(fft.fftfreq(SHAPE[0], SPACING_MM), fft.rfftfreq(SHAPE[1], SPACING_MM))
    frequency = np.maximum(np.hypot(rows, columns), 1e-6)
    return frequency ** (-exponent / 2) / (1 + (onset / frequency) ** 3)


def _texture(rng: np.random.Generator, onset: float, exponent: float) -> np.ndarray:
    field = fft.irfft2(fft.rfft2(rng.standard_normal(SHAPE)) * _texture_filter(onset, exponent), SHAPE)
    return field / field.std()
