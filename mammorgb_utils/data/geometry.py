"""Exact area averaging."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def area_resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Shrink or grow an image so that each output pixel is the mean of the area it covers.

    Args:
        image: `(H, W)` float.
        shape: Rows and columns of the result [px].

    Returns:
        `shape` float32; the mean intensity is kept.

    Source:
        Protocol: resize by area averaging. Pillow's box filter takes whole input pixels only, and skimage's
        anti-aliased resize is over ten times slower.
    """
    rows = _area_weights(image.shape[0], shape[0])
    columns = _area_weights(image.shape[1], shape[1])
    return np.ascontiguousarray((columns @ (rows @ image.astype(np.float32, copy=False)).T).T)


def _area_weights(n_in: int, n_out: int) -> sparse.csr_array:
    """`(n_out, n_in)` overlap of every output interval with every input pixel; rows sum to 1."""
    edges = np.linspace(0, n_in, n_out + 1)
    first = np.minimum(np.floor(edges[:-1]).astype(int), n_in - 1)
    span = int(np.ceil(n_in / n_out)) + 1
    index = first[:, None] + np.arange(span)
    overlap = np.minimum(index + 1, edges[1:, None]) - np.maximum(index, edges[:-1, None])
    inside = (overlap > 1e-9) & (index < n_in)
    row = np.broadcast_to(np.arange(n_out)[:, None], index.shape)
    weights = (overlap * n_out / n_in)[inside].astype(np.float32)
    return sparse.csr_array((weights, (row[inside], index[inside])), shape=(n_out, n_in))


def pad_to_square(image: np.ndarray, air: float = 0.0) -> np.ndarray:
    """Add air on the right, away from the chest wall, or in equal parts above and below, up to a square."""
    height, width = image.shape
    side = max(height, width)
    top = (side - height) // 2
    return np.pad(image, ((top, side - height - top), (0, side - width)), constant_values=air)
