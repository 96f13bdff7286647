"""Texture of each view inside its breast mask: a named, versioned feature set that needs no download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.feature import graycomatrix, graycoprops

from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.threads import parts_on_every_core

FEATURE_SET = "mammorgb-texture-1"  # changes whenever a feature or a constant below does
LEVELS = 32  # grey levels of histogram and co-occurrence, of equal width over [0, 1]
DISTANCES = (1, 2, 4)  # px, between the two pixels of a co-occurrence
MIN_PIXELS = 64  # of the mask without its rim: below, a view has no texture
RIM = 1 / 32  # of the width: the strip along the mask's edge, left out as the skin line would drown the texture
PATCH = 3 / 8  # of the height: longest side of the square inside the breast whose spectrum is taken
MIN_PATCH = 12  # px: side of that square, below which there is no slope
_BAND = (2.0, 0.35)  # spectral slope: from two cycles a patch to 0.35 cycles a pixel, where noise begins
_ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)

FEATURES: dict[str, str] = {  # of one view; where IBSI defines it, its name and code there
    "mean": "mean intensity (Q4LE)",
    "sd": "standard deviation: root of intensity variance (ECT3)",
    "skewness": "intensity skewness (KE2M)",
    "kurtosis": "excess intensity kurtosis (IPH6)",
    "p10": "10th intensity percentile (QG58)",
    "median": "median intensity (Y12H)",
    "p90": "90th intensity percentile (8DWT)",
    "entropy": "discretised intensity entropy, bits (TLU2)",
    **{f"glcm_{name}_{step}": f"{text}, {step} px, angles merged" for step in DISTANCES for name, text in (
        ("contrast", "contrast (ACUI)"), ("homogeneity", "inverse difference moment (WF0Z)"),
        ("correlation", "correlation (NI2N)"), ("entropy", "joint entropy, nats (TU9B is in bits)"))},
    "spectral_slope": "power-law exponent of the power spectrum of a square inside the breast",
    "gradient_mean": "mean gradient, a pixel",
    "gradient_sd": "standard deviation of that gradient",
    "gradient_p95": "95th percentile of that gradient",
    "laplacian_sd": "standard deviation of the Laplacian: fine detail and noise",
    "rim_gradient": "mean gradient in the rim: how sharp the skin line is",
}


def texture_features(pairs: np.ndarray, masks: PairMasks) -> pd.DataFrame:
    """Texture of both views of every pair, inside the breast away from its rim; the muscle counts as breast.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first, chest wall on the left.
        masks: Masks of these pairs.

    Returns:
        One row a pair: `cc_` and `mlo_` before each name in `FEATURES`, float64. NaN for a view that has fewer than
        `MIN_PIXELS`, and in `spectral_slope` where no square of `MIN_PATCH` fits. Features of two image sizes can't be
        compared, as lengths are in pixels.

    Raises:
        ValueError: The masks belong to other pairs.

    Source:
        Definitions of the Image Biomarker Standardisation Initiative where `FEATURES` gives a code, on 2D images with a
        fixed bin width; Haralick 1973.
    """
    if masks.breast.shape != pairs.shape:
        raise ValueError(f"masks: made for pairs of shape {masks.breast.shape}, got {pairs.shape}")
    rows = np.concatenate(list(parts_on_every_core(_textures, pairs, masks.breast)))
    return pd.DataFrame(rows.reshape(len(pairs), 2 * len(FEATURES)), columns=feature_columns())


def _textures(pairs: np.ndarray, breast: np.ndarray) -> np.ndarray:
    rows = [view_texture(np.asarray(view, np.float32), mask) for pair in zip(pairs, breast, strict=True)
            for view, mask in zip(*pair, strict=True)]
    return np.array(rows).reshape(len(pairs), 2, len(FEATURES))


def feature_columns(frame: pd.DataFrame | None = None) -> list[str]:
    """Names of the features of a pair, CC first; a frame that lacks one is refused with a ValueError."""
    names = [f"{view}_{name}" for view in ("cc", "mlo") for name in FEATURES]
    missing = [name for name in names if frame is not None and name not in frame]
    if missing:
        raise ValueError(f"metrics/texture.csv: column {missing[0]!r} of {FEATURE_SET} is missing; "
                         "run 04_metrics again")
    return names


def view_texture(view: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The features of one view in the order of `FEATURES`, float64; NaN where the mask is too small."""
    if not mask.any():
        return np.full(len(FEATURES), np.nan)
    box, = ndimage.find_objects(mask.astype(np.uint8))
    patch, rim = round(PATCH * view.shape[0]), max(1, round(RIM * view.shape[1]))
    view, mask = view[box], mask[box]
    depth = ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1]  # px to the nearest pixel outside
    inside = depth > rim
    if np.count_nonzero(inside) < MIN_PIXELS:
        return np.full(len(FEATURES), np.nan)
    levels = np.minimum(view * LEVELS, LEVELS - 1).astype(np.uint8)
    return np.concatenate([_first_order(view[inside].astype(float), levels[inside]), _cooccurrence(levels, inside),
                           [_slope(view, depth, patch)], _edges(view, inside, mask & ~inside)])


def _first_order(values: np.ndarray, levels: np.ndarray) -> Sequence[float]:
    mean, sd = values.mean(), values.std()
    standard = (values - mean) / sd if sd > 0 else np.zeros_like(values)
    square = standard * standard
    shares = np.bincount(levels, minlength=LEVELS) / levels.size
    shares = shares[shares > 0]
    return [mean, sd, (square * standard).mean(), (square * square).mean() - 3.0 if sd > 0 else 0.0,
            *np.quantile(values, (0.1, 0.5, 0.9)), -(shares * np.log2(shares)).sum()]


def _cooccurrence(levels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Contrast, homogeneity, correlation and entropy at each distance; other pixels take no part."""
    counts = graycomatrix(np.where(mask, levels + 1, 0).astype(np.uint8), DISTANCES, _ANGLES, levels=LEVELS + 1,
                          symmetric=True)[1:, 1:].sum(axis=3, keepdims=True).astype(float)
    counts /= np.maximum(counts.sum(axis=(0, 1)), 1.0)
    kinds = ("contrast", "homogeneity", "correlation", "entropy")
    return np.stack([graycoprops(counts, kind)[:, 0] for kind in kinds], axis=1).ravel()


def _slope(view: np.ndarray, depth: np.ndarray, longest: int) -> float:
    """Power-law exponent of the radially averaged spectrum in the largest square inside the breast.

    A Hann window keeps the square's edges from feigning fine detail.
    """
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    side = min(2 * int(depth[row, column]) - 1, longest)
    if side < MIN_PATCH:
        return float("nan")
    patch = view[row - side // 2:row - side // 2 + side, column - side // 2:column - side // 2 + side].astype(float)
    window = np.hanning(side + 2)[1:-1]
    power = np.abs(np.fft.rfft2((patch - patch.mean()) * np.outer(window, window))) ** 2
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]) * side
    rings = np.rint(radius).astype(int)
    mean = np.bincount(rings.ravel(), power.ravel()) / np.maximum(np.bincount(rings.ravel()), 1)
    used = np.arange(int(_BAND[0]), max(int(_BAND[1] * side), int(_BAND[0]) + 2) + 1)
    used = used[mean[used] > 0]
    return float(-np.polyfit(np.log(used), np.log(mean[used]), 1)[0]) if used.size > 1 else float("nan")


def _edges(view: np.ndarray, inside: np.ndarray, skin: np.ndarray) -> Sequence[float]:
    gradient = np.hypot(ndimage.sobel(view, 0), ndimage.sobel(view, 1)) / 8.0  # Sobel's weights add up to 8
    skin[:, 0] = False  # the chest wall is no skin
    away = gradient[inside]
    return [away.mean(), away.std(), np.quantile(away, 0.95), ndimage.laplace(view)[inside].std(),
            gradient[skin].mean() if skin.any() else float("nan")]
