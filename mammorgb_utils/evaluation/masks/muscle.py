"""Mask of the pectoral muscle in an MLO view."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage, sparse

from mammorgb_utils.data.geometry import area_resize
from mammorgb_utils.evaluation.masks.breast import breast_mask, checked_view

_FIT_SIZE = 64  # px: the muscle's edge is fitted on this grid, whatever the image's size
_POINTS = 32  # looked at along each line
_SEEN = 0.6  # of the points that must lie in tissue
_FIND, _PLACE = (1.0, 2.5), (0.5,)  # px of that grid, from the edge to the strips compared: to find it, to place it
_CLIPS = 0.10, 0.40  # drop that counts at most in each: one bright spot is no edge, but its place is where it is steep
_MAX_MUSCLE = 0.35  # of the breast: a larger "muscle" is an edge within the tissue, and isn't looked for
_NEAR = 0.13, 0.19  # of width and height: the edge is placed so near to where it was found
_MIN_EDGE_CONTRAST = 0.04  # of the intensity scale: muscle against the tissue beside it
_MIN_EDGE_SHARE = 0.80  # of the edge's length that must show the contrast's sign


class Lines(NamedTuple):
    """Straight lines from the top edge to the left edge, and where the image is looked at beside them."""

    top: np.ndarray  # `(L,)` where each line meets the top image edge, as fraction of the width
    bottom: np.ndarray  # `(L,)` where it meets the left one, as fraction of the height
    drop: sparse.csr_array  # `(L · 32, 64 · 64)`; times the image it gives intensity inside minus outside at each point
    beside: np.ndarray  # `(2 · steps, L · 32)` pixels nearest to the places compared
    inside: np.ndarray  # `(L · 32,)` bool, the point lies in the image
    width: np.ndarray  # `(L, 64)` columns of each row that lie in the corner which the line cuts off


def pectoral_mask(view: np.ndarray, breast: np.ndarray | None = None) -> np.ndarray:
    """Mask of the pectoral muscle: a wedge in the upper left corner of an MLO view.

    Every straight line from the top edge to the left edge is scored by the mean drop in intensity across it, looked at
    from some way off and so that a high drop counts no more than a clear one. The best one is an edge when the drop is
    large enough and shows along most of the line; among lines near it, the one of the steepest drop bounds the wedge.

    Args:
        view: `(H, W)` float in [0, 1] of an MLO view, 0 = air, chest wall on the left.
        breast: `(H, W)` bool, its `breast_mask` where that was made before.

    Returns:
        `(H, W)` bool; empty when no such edge is found.

    """
    view = checked_view(view)
    height, width = view.shape
    breast = breast_mask(view) if breast is None else breast
    found = _muscle_edge(view, breast) if breast.any() else None
    if found is None:
        return np.zeros(view.shape, dtype=bool)
    top, bottom = found
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    return (rows[:, None] / bottom + columns[None, :] / top < 1.0) & breast


def _muscle_edge(view: np.ndarray, breast: np.ndarray) -> tuple[float, float] | None:
    """Where the muscle's edge meets the top and the left image edge, as fractions of width and height."""
    shape = (_FIT_SIZE, _FIT_SIZE)
    small = ndimage.gaussian_filter(area_resize(view, shape), 0.8)
    tissue = ndimage.binary_erosion(area_resize(breast, shape) > 0.5, border_value=1)
    lines = _lines(_FIND)
    so_far = np.pad(np.cumsum(tissue, axis=1), ((0, 0), (1, 0)))  # tissue in each row's first columns
    small_enough = so_far[np.arange(_FIT_SIZE), lines.width].sum(axis=1) <= _MAX_MUSCLE * np.count_nonzero(tissue)
    score = np.where(small_enough, _scores(lines, small, tissue, _CLIPS[0]), 0.0)
    found = int(np.argmax(score))
    if score[found] < _MIN_EDGE_CONTRAST:
        return None
    near = (np.abs(lines.top - lines.top[found]) < _NEAR[0]) & (np.abs(lines.bottom - lines.bottom[found]) < _NEAR[1])
    placed = np.where(near & small_enough, _scores(_lines(_PLACE), small, tissue, _CLIPS[1]), 0.0)
    best = int(np.argmax(placed)) if placed.any() else found
    return float(lines.top[best]), float(lines.bottom[best])


def _scores(lines: Lines, small: np.ndarray, tissue: np.ndarray, clip: float) -> np.ndarray:
    """`(L,)` mean drop across each line; 0 where too little of it lies in tissue or shows a drop."""
    drop = (lines.drop @ small.ravel()).reshape(-1, _POINTS)
    known = (tissue.ravel()[lines.beside].all(axis=0) & lines.inside).reshape(-1, _POINTS)
    seen = known.sum(axis=1)
    mean = np.where(known, np.clip(drop, -clip, clip), 0.0).sum(axis=1) / np.maximum(seen, 1)
    share = (known & (drop > 0.0)).sum(axis=1) / np.maximum(seen, 1)
    return np.where((seen >= _SEEN * _POINTS) & (share >= _MIN_EDGE_SHARE), mean, 0.0)


@cache
def _lines(steps: tuple[float, ...]) -> Lines:
    """Lines of 10 to 60 degrees; the same for every image, so that one sparse product compares along all of them."""
    top, bottom = (grid.ravel() for grid in np.meshgrid(np.arange(0.10, 0.82, 0.02), np.arange(0.20, 1.12, 0.03)))
    angle = np.degrees(np.arctan2(top, bottom))
    top, bottom = (values[(angle >= 10) & (angle <= 60)] for values in (top, bottom))
    along = np.linspace(0.03, 0.97, _POINTS)
    x, y = top[:, None] * (1.0 - along) * _FIT_SIZE, bottom[:, None] * along * _FIT_SIZE
    normal = np.array([top, bottom])[:, :, None] / np.hypot(top, bottom)[:, None]  # rows, columns
    drop, beside = sparse.csr_array((x.size, _FIT_SIZE**2)), []
    for step in steps:
        for sign in (1.0, -1.0):
            places = (np.array([y, x]) - sign * step * normal).reshape(2, -1)
            places = np.clip(places - 0.5, 0.0, _FIT_SIZE - 1.0)
            drop = drop + sign / len(steps) * _bilinear(places)
            beside.append(np.ravel_multi_index(np.floor(places + 0.5).astype(int), (_FIT_SIZE, _FIT_SIZE)))
    place = (np.arange(_FIT_SIZE) + 0.5) / _FIT_SIZE
    width = (place[:, None] / bottom[:, None, None] + place / top[:, None, None] < 1.0).sum(axis=2)
    return Lines(top, bottom, drop.tocsr(), np.array(beside), (y < _FIT_SIZE - 1).ravel(), width)


def _bilinear(places: np.ndarray) -> sparse.csr_array:
    """Matrix that reads a flattened image at `(2, N)` places, rows first, all within the grid."""
    lower = np.minimum(np.floor(places).astype(int), _FIT_SIZE - 2)
    share, number = places - lower, np.arange(places.shape[1])
    matrix = sparse.csr_array((number.size, _FIT_SIZE**2))
    for down, right in np.ndindex(2, 2):
        weight = np.abs(1 - down - share[0]) * np.abs(1 - right - share[1])
        pixel = (lower[0] + down) * _FIT_SIZE + lower[1] + right
        matrix = matrix + sparse.csr_array((weight, (number, pixel)), shape=matrix.shape)
    return matrix
