"""Where the breast is on a raw mammogram, and on which side its chest wall lies."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mammorgb_utils.data.geometry import area_resize

_MAX_SIDE = 512  # px: labels and skin line are resolved, and a full-size mammogram costs milliseconds
_ABOVE_AIR = 0.05  # of the intensity range: between the air's noise and the skin line


def breast_region(pixels: np.ndarray) -> np.ndarray:
    """Breast, muscle included, as the largest bright component on a side edge; labels are left out.

    Args:
        pixels: `(H, W)` float, low is air, chest wall on either side.

    Returns:
        `(H, W)` bool; all False where nothing stands out from air.

    Source:
        Background-level threshold: Otsu's threshold finds dense tissue, not the breast.
    """
    shrink = max(1.0, max(pixels.shape) / _MAX_SIDE)
    small = area_resize(pixels, (round(pixels.shape[0] / shrink), round(pixels.shape[1] / shrink)))
    smooth = ndimage.median_filter(small, size=3)
    air = _air_level(smooth)
    top = float(np.percentile(smooth, 99.5))
    if top - air < 1e-3:
        return np.zeros(pixels.shape, bool)
    bright = smooth > air + _ABOVE_AIR * (top - air)
    # Opening cuts the thin bridges by which labels, collimator lines and film borders hang on the breast.
    opened = ndimage.binary_opening(bright, iterations=2)
    region = ndimage.binary_fill_holes(_largest_on_a_side(opened))
    rows = (np.arange(pixels.shape[0]) * small.shape[0]) // pixels.shape[0]
    columns = (np.arange(pixels.shape[1]) * small.shape[1]) // pixels.shape[1]
    return region[np.ix_(rows, columns)]


def chest_wall_side(region: np.ndarray) -> str:
    """`"left"` or `"right"`: the edge along which the breast region is longer."""
    band = max(1, region.shape[1] // 50)
    return "left" if region[:, :band].any(axis=1).sum() >= region[:, -band:].any(axis=1).sum() else "right"


def air_level(pixels: np.ndarray, region: np.ndarray) -> float:
    """Median intensity outside the breast; 0 where the breast fills the image."""
    outside = pixels[~region]
    return float(np.median(outside)) if outside.size else 0.0


def _air_level(smooth: np.ndarray) -> float:
    """The fullest bin of the darker half of the range: air is uniform, tissue is not."""
    low, high = float(smooth.min()), float(np.percentile(smooth, 99.5))
    counts, edges = np.histogram(smooth, bins=64, range=(low, low + 0.5 * (high - low) + 1e-9))
    fullest = int(np.argmax(counts))
    return float((edges[fullest] + edges[fullest + 1]) / 2)


def _largest_on_a_side(bright: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(bright)
    if count == 0:
        return bright
    on_side = np.union1d(labels[:, :3], labels[:, -3:])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    candidates = [label for label in on_side if label] or range(1, count + 1)
    return labels == max(candidates, key=lambda label: sizes[label])
