"""Anatomy of each view of a pair: size, nipple line, and where along it the dense tissue lies.

Lengths are fractions of the image's width and areas fractions of the image, as generated pairs have no spacing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from mammorgb_utils.data.geometry import block_means
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.protocol import Protocol

VIEWS = ("cc", "mlo")
SQUASHED_RATIO = 1.25  # height over width of a 24 cm × 30 cm detector, before its picture was squashed to a square
GRID = 64  # px: intensities are measured on about this grid, whatever the image's size
BINS = 16  # of the depth profile, from the chest wall to the nipple
DENSE_LEVEL = 0.5  # dense is what lies above this place between the breast's 5th and 99th percentile
BLOB_SIGMAS = (0.018, 0.028)  # of the mass detector, of the image's width: a mass of 4 to 9 mm radius on 24 cm
BLOB_DEPTHS = (0.10, 0.90)  # of the nipple line, between which masses are looked for
BLOB_MARGIN = 0.05  # of the image's width, between skin and mass
MIN_EDGE_ROWS = 3  # rows of muscle that fix its edge
NIPPLE_ROWS = (0.15, 0.85)  # of the image's height, between which the nipple is: below lies the abdominal fold
_BLOCK = 256  # pairs in memory at once
PROFILES = {view: [f"{view}_profile_{i:02d}" for i in range(BINS)] for view in VIEWS}


class _Lines(NamedTuple):
    """`(N, 2)` each: depth is `(x + slope·y − start) / hypot(1, slope)`, in widths; `length` is the nipple line."""

    slope: np.ndarray
    start: np.ndarray
    length: np.ndarray
    nipple_row: np.ndarray


def height_over_width(protocol: Protocol) -> float:
    """Height over width of the field that a study's square images show; decides what is perpendicular.

    Padding keeps the ratio; squashing takes away that of the detector, which isn't recorded.
    """
    return SQUASHED_RATIO if protocol.aspect == "squash" else 1.0


def anatomy(pairs: np.ndarray, masks: PairMasks, *, ratio: float = SQUASHED_RATIO) -> pd.DataFrame:
    """Anatomy of every pair.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first, chest wall on the left.
        masks: Masks of these pairs.
        ratio: Height over width of the field of view, as `height_over_width` gives it.

    Returns:
        One row a pair. For CC and MLO, with the prefix `cc_` or `mlo_`: `area` (fraction of the image, MLO with
        muscle); `nipple_line` (from the nipple, the point farthest from the chest wall, to the image's edge, in MLO
        perpendicular to the pectoral edge where that was found; fraction of the width); `nipple_row` (fraction of the
        height); `centroid` (mean depth of what is brighter than the breast's mean, weighted by how much) and
        `mass_depth` (depth of the brightest compact blob, an estimate of a mass's), fractions of the nipple line;
        `dense` (share of the breast above `DENSE_LEVEL`); `profile_00` … (mean intensity in `BINS` classes of depth).
        The muscle counts for area alone. `pectoral`: the edge was found. NaN without a mask.

    Raises:
        ValueError: The masks belong to other pairs.
    """
    if masks.breast.shape != pairs.shape:
        raise ValueError(f"masks: made for pairs of shape {masks.breast.shape}, got {pairs.shape}")
    lines = _nipple_lines(masks, ratio)
    columns = {"area": masks.areas, "nipple_line": lines.length, "nipple_row": lines.nipple_row}
    blocks = (slice(first, first + _BLOCK) for first in range(0, max(len(pairs), 1), _BLOCK))
    parts = [_tissue(pairs[rows], masks.breast[rows], masks.muscle[rows], _Lines(*(x[rows] for x in lines)), ratio)
             for rows in blocks]
    columns |= {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    frame = pd.DataFrame({"pectoral": lines.slope[:, 1] > 0})
    for column, view in enumerate(VIEWS):
        scalars = {f"{view}_{name}": values[:, column] for name, values in columns.items() if values.ndim == 2}
        profile = dict(zip(PROFILES[view], columns["profile"][:, column].T, strict=True))
        frame = pd.concat([frame, pd.DataFrame(scalars | profile)], axis=1)
    return frame


def _nipple_lines(masks: PairMasks, ratio: float) -> _Lines:
    """Nipple and depth axis of both views; the farthest point lies on the outline's far side of some row."""
    n, _, height, width = masks.breast.shape
    reach = np.where(masks.breast.any(axis=3), width - np.argmax(masks.breast[..., ::-1], axis=3), np.nan) / width
    slope, start = np.zeros((n, 2)), np.zeros((n, 2))
    y = (np.arange(height) + 0.5) / height * ratio
    slope[:, 1], start[:, 1] = _pectoral_edge(masks.muscle.sum(axis=2) / width, y)
    reach[..., (y < NIPPLE_ROWS[0] * ratio) | (y > NIPPLE_ROWS[1] * ratio)] = np.nan
    depth = (reach + slope[..., None] * y - start[..., None]) / np.hypot(1.0, slope)[..., None]
    depth = np.where(np.isnan(depth), -np.inf, depth)
    length = depth.max(axis=2, initial=-np.inf)
    tip = depth >= length[..., None] - 0.5 / width  # rows that reach as far within half a pixel: the nipple is amid
    row = (tip * (np.arange(height) + 0.5)).sum(axis=2) / tip.sum(axis=2) / height
    return _Lines(slope, start, np.where(length > 0, length, np.nan), np.where(length > 0, row, np.nan))


def _pectoral_edge(widths: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and start of the line `x = start − slope·y` along the edge of a muscle `(N, H)` wide; 0 without one."""
    used = (widths > 0).astype(float)
    count = np.maximum(used.sum(axis=1), 1.0)
    mean_y, mean_x = used @ y / count, (used * widths).sum(axis=1) / count
    off = used * (y - mean_y[:, None])
    spread = (off**2).sum(axis=1)
    slope = -np.divide((off * widths).sum(axis=1), spread, out=np.zeros(len(spread)), where=spread > 0)
    found = (count >= MIN_EDGE_ROWS) & (slope > 0)
    return np.where(found, slope, 0.0), np.where(found, mean_x + slope * mean_y, 0.0)


def _tissue(pairs: np.ndarray, breast: np.ndarray, muscle: np.ndarray, lines: _Lines,
            ratio: float) -> dict[str, np.ndarray]:
    """What intensities say along the nipple line: `centroid`, `dense`, `mass_depth`, `(n, 2)`; `profile`, bins last."""
    views = _shrunk(np.asarray(pairs, np.float32))
    inside = breast.copy()
    inside[:, 1] &= ~muscle | (lines.slope[:, 1] == 0)[:, None, None]
    inside = _shrunk(inside.astype(np.float32)) > 0.5
    size = views.shape[2:]
    x, y = (np.arange(size[1]) + 0.5) / size[1], (np.arange(size[0]) + 0.5) / size[0] * ratio
    slope, start, scale = (v[..., None, None] for v in (lines.slope, lines.start, lines.length))
    with np.errstate(invalid="ignore"):
        depth = ((x + slope * y[:, None] - start) / np.hypot(1.0, slope) / scale).astype(np.float32)
        inside &= (depth >= 0.0) & (depth <= 1.0)
    return {"centroid": _centroid(views, inside, depth), "dense": _dense_share(views, inside),
            "mass_depth": _mass_depth(views, inside, depth, ratio), "profile": _profile(views, inside, depth)}


def _shrunk(stack: np.ndarray) -> np.ndarray:
    """`(n, 2, H, W)` averaged over square blocks to about `GRID` pixels; as it is where blocks don't fit."""
    height, width = stack.shape[2:]
    block = max(1, min(height, width) // GRID)
    return stack if block == 1 or height % block or width % block else block_means(stack, block, block)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(n, 2)` mean of values where a weight, or a mask, is above 0; NaN where none is."""
    total = weights.sum(axis=(2, 3), dtype=float)
    found = (np.where(weights > 0, values, 0.0) * weights).sum(axis=(2, 3), dtype=float)
    return np.divide(found, total, out=np.full(total.shape, np.nan), where=total > 0)


def _centroid(views: np.ndarray, inside: np.ndarray, depth: np.ndarray) -> np.ndarray:
    above = np.where(inside, views - np.nan_to_num(_mean(views, inside))[..., None, None], 0.0)
    return _mean(depth, np.maximum(above, 0.0))


def _dense_share(views: np.ndarray, inside: np.ndarray) -> np.ndarray:
    share = np.full(inside.shape[:2], np.nan)
    for i, view in np.argwhere(inside.any(axis=(2, 3))):
        values = views[i, view][inside[i, view]]
        low, high = np.quantile(values, (0.05, 0.99))
        share[i, view] = np.mean(values > low + DENSE_LEVEL * (high - low))
    return share


def _profile(views: np.ndarray, inside: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """`(n, 2, BINS)` mean intensity by depth; NaN where a class holds no pixel."""
    image, _, _ = np.nonzero(inside.reshape(-1, *inside.shape[2:]))
    bins = np.minimum((depth[inside] * BINS).astype(int), BINS - 1) + image * BINS
    size = inside.shape[0] * 2 * BINS
    total, count = np.bincount(bins, views[inside], size), np.bincount(bins, minlength=size)
    return np.divide(total, count, out=np.full(size, np.nan), where=count > 0).reshape(len(inside), 2, BINS)


def _mass_depth(views: np.ndarray, inside: np.ndarray, depth: np.ndarray, ratio: float) -> np.ndarray:
    """Depth of the strongest response of a Laplacian of Gaussian, away from skin and chest wall."""
    n, size = len(views), views.shape[2:]
    filled = np.where(inside, views, np.nan_to_num(_mean(views, inside))[..., None, None]).astype(np.float32)
    pixels = np.array([size[0] / ratio, size[1]])  # a width of the image
    edge = ndimage.minimum_filter(inside.astype(np.uint8), (1, 1, *(2 * np.ceil(BLOB_MARGIN * pixels).astype(int) + 1)),
                                  mode="nearest")
    with np.errstate(invalid="ignore"):
        where = (edge > 0) & (depth >= BLOB_DEPTHS[0]) & (depth <= BLOB_DEPTHS[1])
    response = np.maximum.reduce([-_laplacian(filled, sigma * pixels) for sigma in BLOB_SIGMAS])
    response = np.where(where, response, -np.inf).reshape(n, 2, size[0] * size[1])
    found = np.take_along_axis(depth.reshape(response.shape), response.argmax(axis=2)[..., None], axis=2)[..., 0]
    return np.where(where.any(axis=(2, 3)), found, np.nan)


def _laplacian(views: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Scale-normalised Laplacian of Gaussian of every view; `sigmas` by row and column [px]."""
    return sum(sigmas[axis - 2] ** 2 * ndimage.gaussian_filter(views, (0, 0, *sigmas), mode="nearest", truncate=3.0,
                                                              order=[2 if i == axis else 0 for i in range(4)])
               for axis in (2, 3))
