"""Filters on small images and masks: scipy's own where they are fast, else as few whole-array operations."""

from __future__ import annotations

from functools import reduce

import numpy as np
from scipy import ndimage


def median3(image: np.ndarray) -> np.ndarray:
    """Median of each pixel's 3 × 3 neighbourhood, edge pixels repeated; equals `scipy.ndimage.median_filter(size=3)`.

    Source:
        The median of nine is the median of three: the largest of the columns' minima, the median of their
        medians and the smallest of their maxima.
    """
    padded = np.pad(image, 1, mode="edge")
    above, here, below = padded[:-2], padded[1:-1], padded[2:]
    low, high = np.minimum(above, here), np.maximum(above, here)
    lows, middles, highs = np.minimum(low, below), _median(low, high, below), np.maximum(high, below)
    lowest = np.maximum(np.maximum(lows[:, :-2], lows[:, 1:-1]), lows[:, 2:])
    highest = np.minimum(np.minimum(highs[:, :-2], highs[:, 1:-1]), highs[:, 2:])
    first, second = middles[:, :-2], middles[:, 1:-1]
    middle = _median(np.minimum(first, second), np.maximum(first, second), middles[:, 2:])
    return _median(np.minimum(lowest, middle), np.maximum(lowest, middle), highest)


def _median(low: np.ndarray, high: np.ndarray, third: np.ndarray) -> np.ndarray:
    """Median of three where `low <= high`."""
    return np.maximum(low, np.minimum(high, third))


def dilate_cross(mask: np.ndarray, times: int, combine: np.ufunc = np.logical_or) -> np.ndarray:
    """Add the four neighbours of every pixel, `times` over, five to ten times as fast as scipy's binary morphology."""
    for _ in range(times):
        padded = np.pad(mask, 1)
        mask = reduce(combine, (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]), mask)
    return mask


def erode_cross(mask: np.ndarray, times: int) -> np.ndarray:
    """Remove pixels with one of four neighbours outside, `times` over; what is beyond the image is outside."""
    return dilate_cross(mask, times, np.logical_and)


def open_square(mask: np.ndarray, side: int) -> np.ndarray:
    """All places that a square of `side` pixels reaches within the mask and the image."""
    fits = ndimage.minimum_filter(mask.view(np.uint8), side, mode="constant")
    return ndimage.maximum_filter(fits, side, mode="constant", origin=side % 2 - 1).view(bool)


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """The mask with every hole filled that has no way out to the image's edge; several times as fast as scipy's."""
    labels, _ = ndimage.label(~mask)
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return ~np.isin(labels, edges[edges > 0])
