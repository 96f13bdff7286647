"""Drawn views whose breast and muscle are known."""

import numpy as np


def breast(size: int, depth: float, half_height: float = 0.38, centre: float = 0.5) -> np.ndarray:
    """Half-ellipse on the left edge; depth and half height as fractions of the image."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    return (x / depth) ** 2 + ((y - centre) / half_height) ** 2 < 1.0


def wedge(size: int, top: float, bottom: float) -> np.ndarray:
    """Triangle in the upper left corner, from `top` of the width to `bottom` of the height."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    return x / top + y / bottom < 1.0


def mlo_breast(size: int) -> np.ndarray:
    """Breast that reaches the top edge, as an MLO view's does."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    body = (x / 0.75) ** 2 + ((y - 0.55) / 0.42) ** 2 < 1.0
    return body | ((y < 0.55) & (x < 0.55 + 0.3 * y))


def view(mask: np.ndarray, tissue: float = 0.5, air: float = 0.0, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Float32 view of a mask, with textured tissue and noise everywhere, clipped to [0, 1]."""
    rng = np.random.default_rng(seed)
    image = np.where(mask, tissue + 0.05 * np.sin(np.arange(mask.shape[1]) / 5.0), air)
    return np.clip(image + noise * rng.standard_normal(mask.shape), 0.0, 1.0).astype(np.float32)


def pairs_of(depths: list[tuple[float, float]], size: int = 64) -> np.ndarray:
    """Pairs of half-ellipse views from the depths of CC and MLO."""
    return np.stack([np.stack([view(breast(size, depth)) for depth in pair]) for pair in depths])


def pairs_that_part_methods() -> np.ndarray:
    """Six pairs, the first two with a bright core, beside which Otsu's method loses the rest of the breast."""
    drawn = pairs_of([(0.5, 0.55), (0.6, 0.7), (0.4, 0.45), (0.7, 0.75), (0.55, 0.5), (0.45, 0.6)])
    core = breast(64, 0.3, 0.2)
    drawn[:2, :, core] = 0.98
    return drawn
