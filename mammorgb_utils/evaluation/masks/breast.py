"""Breast mask of a view, by a threshold that the image itself gives or by its edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu, threshold_triangle
from skimage.segmentation import watershed

from mammorgb_utils.data.geometry import fill_holes, median3

AIR_MARGIN = 0.05  # the study's threshold: above the air level, of the range from air to the brightest tissue
MIN_RANGE = 0.10  # below this range a view shows no breast
AIR_COLUMNS = 0.25  # share of the columns, farthest from the chest wall, in which the air level is looked for
_AIR_BINS = 100
SURE_AIR = 0.02  # up to it, of the range from air to the brightest tissue, the watershed takes a pixel for air
SURE_TISSUE = 0.25  # from it on, for tissue; what lies between is flooded up to the steepest edge


class Component(NamedTuple):
    """The breast among the components of a foreground, and what tells whether it is plausible."""

    mask: np.ndarray  # `(H, W)` bool, the largest component that reaches the left edge, holes filled; or empty
    left: bool  # the largest component of all touches the left edge
    share: float  # of all foreground pixels, what the largest component holds; 0 without any


def breast_mask(view: np.ndarray, method: str = "background") -> np.ndarray:
    """Mask of the breast: the largest component on the chest wall's edge, holes filled.

    Args:
        view: `(H, W)` float in [0, 1], 0 = air, chest wall on the left.
        method: A name in `METHODS`.

    Returns:
        `(H, W)` bool; empty when no component touches the left edge.

    Raises:
        ValueError: The view isn't two-dimensional and finite, or the method is unknown.

    Source:
        Protocol field `mask_method`; the paper doesn't state its algorithm.
    """
    return breast_component(foregrounds(view, (method,))[method]).mask


def foregrounds(view: np.ndarray, methods: Iterable[str]) -> dict[str, np.ndarray]:
    """Every pixel that each method takes for tissue, `(H, W)` bool, before a component is picked.

    A 3 × 3 median comes first: it takes away the pixel noise that generated air has and, unlike a
    Gaussian, leaves a straight skin line where it is.

    Args:
        view, methods: As `breast_mask` takes them.
    """
    methods = tuple(methods)
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"mask_method {method!r} is unknown; use one of {', '.join(sorted(METHODS))}")
    smooth = median3(checked_view(view))
    if smooth.max() - smooth.min() < MIN_RANGE:
        return {method: np.zeros(smooth.shape, dtype=bool) for method in methods}
    return {method: METHODS[method](smooth) for method in methods}


def background_foreground(view: np.ndarray) -> np.ndarray:
    """Brighter than the air by `AIR_MARGIN` of the range: finds the skin line where plain Otsu finds dense tissue."""
    air, span = _air_and_span(view)
    return view > air + AIR_MARGIN * span


def watershed_foreground(view: np.ndarray) -> np.ndarray:
    """Tissue as a marker-based watershed (Beucher and Lantuéjoul 1979) finds it: up to the steepest edge, at any level.

    The gradient is that of the square root, so that the step at a dim skin line outweighs one inside bright tissue.
    """
    air, span = _air_and_span(view)
    level = np.clip((view - air) / span, 0.0, 1.0)
    markers = np.where(level >= SURE_TISSUE, 2, (level <= SURE_AIR).astype(np.int32))
    root = np.sqrt(level)
    edges = np.hypot(ndimage.sobel(root, axis=0), ndimage.sobel(root, axis=1))
    open_to_both = ndimage.binary_dilation(markers == 0)  # marks farther in decide nothing, and cost time
    flooded = watershed(edges, np.where(open_to_both, markers, 0), mask=open_to_both)
    return np.where(open_to_both, flooded, markers) == 2


# From a smoothed view to its tissue. The paper's method isn't stated: two that look at grey levels from the air, one
# that divides the histogram, and one that looks at edges.
METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "background": background_foreground,
    "otsu": lambda view: view > float(threshold_otsu(view)),
    "triangle": lambda view: view > float(threshold_triangle(view)),
    "watershed": watershed_foreground,
}


def _air_and_span(view: np.ndarray) -> tuple[float, float]:
    """Air level, and the range from it to the 99.5th percentile, at least `MIN_RANGE`."""
    air = air_level(view)
    return air, max(float(np.quantile(view, 0.995)) - air, MIN_RANGE)


def air_level(view: np.ndarray) -> float:
    """Most frequent intensity in the columns farthest from the chest wall, in [0, 1].

    The mode, unlike a mean or a quantile, ignores a label in the corner and a breast that reaches
    far into those columns, and follows air that histogram matching has turned grey.
    """
    width = view.shape[1]
    far = view[:, width - max(1, round(AIR_COLUMNS * width)):]
    counts, edges = np.histogram(far, bins=_AIR_BINS, range=(0.0, 1.0))
    peak = int(np.argmax(np.convolve(counts, (1, 2, 1), mode="same")))
    low, high = edges[max(peak - 1, 0)], edges[min(peak + 2, _AIR_BINS)]
    return float(np.median(far[(far >= low) & (far <= high)])) if counts.any() else 0.0


def breast_component(raw: np.ndarray) -> Component:
    """Pick the breast from a foreground, `(H, W)` bool."""
    labels, count = ndimage.label(raw)
    if count == 0:
        return Component(np.zeros(raw.shape, dtype=bool), False, 0.0)
    sizes, at_edge = np.bincount(labels.ravel()), np.zeros(count + 1, dtype=bool)
    sizes[0] = 0  # what isn't foreground
    at_edge[labels[:, :edge_columns(raw.shape[1])]] = True
    largest, breast = int(np.argmax(sizes)), int(np.argmax(np.where(at_edge, sizes, 0)))
    mask = fill_holes(labels == breast) if breast else np.zeros(raw.shape, dtype=bool)
    return Component(mask, bool(at_edge[largest]), float(sizes[largest] / sizes.sum()))


def edge_columns(width: int) -> int:
    """Columns that count as the left edge: one at 64 px, four at 256 px."""
    return max(1, width // 64)


def checked_view(view: np.ndarray) -> np.ndarray:
    """The view as float32; ValueError where it isn't two-dimensional and finite."""
    view = np.asarray(view, dtype=np.float32)
    if view.ndim != 2 or view.size == 0 or not np.isfinite(view).all():
        raise ValueError(f"view: expected a finite (H, W) array with 0 = air, got shape {view.shape}"
                         + ("" if view.ndim != 2 else "; check it for NaN"))
    return view
