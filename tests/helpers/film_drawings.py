"""Drawings of mammograms on film whose breast is known: borders, rounded corners, labels."""

from __future__ import annotations

import numpy as np

SHAPE = (640, 512)
EDGES = {"top": np.s_[:13], "bottom": np.s_[-13:], "wall": np.s_[:, :11], "far": np.s_[:, -11:]}


def drawing(height: float = 0.35, width: float = 0.6, air: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """Half an ellipse with texture on noisy air, chest wall left; its semi-axes are parts of the image's sides.

    Returns:
        `(640, 512)` float32 intensities and the truth, `(640, 512)` bool.
    """
    y, x = np.mgrid[:SHAPE[0], :SHAPE[1]]
    truth = ((y - SHAPE[0] / 2) / (height * SHAPE[0])) ** 2 + (x / (width * SHAPE[1])) ** 2 < 1
    texture = 0.45 + 0.08 * np.sin(x / 17) * np.cos(y / 23)
    noise = np.random.default_rng(4).normal(0, 0.004, SHAPE)
    return (np.where(truth, texture, air) + noise).clip(0, 1).astype(np.float32), truth


def with_borders(pixels: np.ndarray, truth: np.ndarray, edges: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """White, 2 % wide; what lies beneath is no breast."""
    pixels, truth = pixels.copy(), truth.copy()
    for edge in edges:
        pixels[EDGES[edge]], truth[EDGES[edge]] = 1.0, False
    return pixels, truth


def with_round_corners(pixels: np.ndarray, radius: int = 40) -> np.ndarray:
    """White outside a rectangle with rounded corners that touches all edges."""
    y, x = (np.abs(np.arange(n) - (n - 1) / 2) - (n / 2 - radius) for n in SHAPE)
    outside = np.maximum(y, 0)[:, None] ** 2 + np.maximum(x, 0)[None] ** 2 > radius**2
    return np.where(outside, np.float32(1), pixels)


def with_box(pixels: np.ndarray, rows: slice, columns: slice, grey: float) -> np.ndarray:
    """A box of one grey on top."""
    pixels = pixels.copy()
    pixels[rows, columns] = grey
    return pixels
