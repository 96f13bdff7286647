"""From a projection to grey levels as a scanner presents them: periphery equalised, air black."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import fft

from mammorgb_utils.data.phantom.anatomy import TEXTURE_EXPONENT, Breast
from mammorgb_utils.data.phantom.geometry import SHAPE, SPACING_MM, axis_angle, frame
from mammorgb_utils.data.phantom.projection import Projection, project

_VIEW_STREAM = {"CC": 2, "MLO": 3}


def render_view(breast: Breast, view: str) -> np.ndarray:
    """One view as a display shows it, chest wall on the left, before label, storage side and quantisation.

    Args:
        breast: From `make_breast`.
        view: `"CC"` or `"MLO"`.

    Returns:
        `SHAPE` float64 in [0, 1], 0 = air.
    """
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
    image = np.where(projection.frame.breast, tissue * rim + skin, 0.0)
    floor = np.where(projection.frame.breast, 0.06, 0.0)
    return np.clip(image, floor, 1.0)


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
    x, y = np.arange(SHAPE[1])[None, :], np.arange(SHAPE[0])[:, None]
    angle = axis_angle(breast, view)
    fibres = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.55 + 2.0 * streaks)
    return tissue * (1 - share) + share * (level + 0.014 * fibres + 0.02 * streaks)


@cache
def _texture_filter(onset: float, exponent: float) -> np.ndarray:
    """Power law that fades in above `onset` [cycles/mm], where the volume's voxels resolve no more."""
    rows, columns = fft.fftfreq(SHAPE[0], SPACING_MM)[:, None], fft.rfftfreq(SHAPE[1], SPACING_MM)[None, :]
    frequency = np.maximum(np.hypot(rows, columns), 1e-6)
    return frequency ** (-exponent / 2) / (1 + (onset / frequency) ** 3)


def _texture(rng: np.random.Generator, onset: float, exponent: float) -> np.ndarray:
    field = fft.irfft2(fft.rfft2(rng.standard_normal(SHAPE)) * _texture_filter(onset, exponent), SHAPE)
    return field / field.std()
