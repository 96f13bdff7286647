"""Breast and muscle masks of a view, by a threshold that the image itself gives or by its edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu, threshold_triangle
from skimage.segmentation import watershed
from skimage.transform import resize

AIR_MARGIN = 0.05  # threshold above the air level, as a fraction of the range from air to the brightest tissue
MIN_RANGE = 0.10  # below this range a view shows no breast
AIR_COLUMNS = 0.25  # share of the columns, farthest from the chest wall, in which the air level is looked for
_AIR_BINS = 100

SURE_AIR = 0.02  # up to it, of the range from air to the brightest tissue, the watershed takes a pixel for air
SURE_TISSUE = 0.25  # from it on, for tissue; what lies between is flooded up to the steepest edge

_FIT_SIZE = 64  # px: the muscle's edge is fitted on this grid, whatever the image's size
_EDGE_STEPS = (1.0, 2.5)  # px of that grid, from the edge to the strips compared: near for place, far for contrast
_MIN_EDGE_CONTRAST = 0.04  # of the intensity scale: muscle against the tissue beside it
_MIN_EDGE_SHARE = 0.80  # of the edge's length that must show the contrast's sign


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
    return largest_on_chest_wall(foreground(view, method))


def foreground(view: np.ndarray, method: str = "background") -> np.ndarray:
    """Every pixel that the method takes for tissue, before a component is picked.

    Args:
        view: `(H, W)` float in [0, 1], 0 = air, chest wall on the left.
        method: A name in `METHODS`.

    Returns:
        `(H, W)` bool.

    Raises:
        ValueError: The view isn't two-dimensional and finite, or the method is unknown.
    """
    return foregrounds(view, (method,))[method]


def foregrounds(view: np.ndarray, methods: Iterable[str]) -> dict[str, np.ndarray]:
    """`foreground` under several methods, the smoothing that they share done once.

    A 3 × 3 median comes first: it takes away the pixel noise that generated air has and, unlike a
    Gaussian, leaves a straight skin line where it is.

    Args:
        view: `(H, W)` float in [0, 1], 0 = air, chest wall on the left.
        methods: Names in `METHODS`.

    Returns:
        Method to `(H, W)` bool.

    Raises:
        ValueError: The view isn't two-dimensional and finite, or the method is unknown.
    """
    methods = tuple(methods)
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"mask_method {method!r} is unknown; use one of {', '.join(sorted(METHODS))}")
    smooth = ndimage.median_filter(_checked(view), size=3, mode="nearest")
    if smooth.max() - smooth.min() < MIN_RANGE:
        return {method: np.zeros(smooth.shape, dtype=bool) for method in methods}
    return {method: METHODS[method](smooth) for method in methods}


def background_threshold(view: np.ndarray) -> float:
    """Air level plus `AIR_MARGIN` of the range between air and the 99.5th percentile.

    Source:
        Plain Otsu finds dense tissue instead of the breast; 5 % of range finds the skin line.
    """
    air, span = _air_and_span(view)
    return air + AIR_MARGIN * span


def _air_and_span(view: np.ndarray) -> tuple[float, float]:
    """Air level, and the range from it to the 99.5th percentile, at least `MIN_RANGE`."""
    air = air_level(view)
    return air, max(float(np.quantile(view, 0.995)) - air, MIN_RANGE)


def watershed_foreground(view: np.ndarray) -> np.ndarray:
    """Tissue as a marker-based watershed finds it: up to the steepest edge, at whatever level that lies.

    The gradient is that of the square root, so that the step at a dim skin line outweighs one inside bright tissue.

    Args:
        view: `(H, W)` float in [0, 1], 0 = air, chest wall on the left.

    Returns:
        `(H, W)` bool.

    Source:
        Beucher and Lantuéjoul 1979; levels `SURE_AIR` and `SURE_TISSUE` place the markers.
    """
    air, span = _air_and_span(view)
    level = np.clip((view - air) / span, 0.0, 1.0)
    markers = np.where(level >= SURE_TISSUE, 2, (level <= SURE_AIR).astype(np.int32))
    root = np.sqrt(level)
    edges = np.hypot(ndimage.sobel(root, axis=0), ndimage.sobel(root, axis=1))
    open_to_both = ndimage.binary_dilation(markers == 0)  # marks farther in decide nothing, and cost time
    flooded = watershed(edges, np.where(open_to_both, markers, 0), mask=open_to_both)
    return np.where(open_to_both, flooded, markers) == 2


def air_level(view: np.ndarray) -> float:
    """Most frequent intensity in the columns farthest from the chest wall.

    The mode, unlike a mean or a quantile, ignores a label in the corner and a breast that reaches
    far into those columns, and follows air that histogram matching has turned grey.

    Args:
        view: `(H, W)` float in [0, 1], chest wall on the left.

    Returns:
        Air intensity in [0, 1].
    """
    width = view.shape[1]
    far = view[:, width - max(1, round(AIR_COLUMNS * width)):]
    counts, edges = np.histogram(far, bins=_AIR_BINS, range=(0.0, 1.0))
    peak = int(np.argmax(np.convolve(counts, (1, 2, 1), mode="same")))
    low, high = edges[max(peak - 1, 0)], edges[min(peak + 2, _AIR_BINS)]
    return float(np.median(far[(far >= low) & (far <= high)])) if counts.any() else 0.0


# From a smoothed view to its tissue. The paper's method isn't stated: two that look at grey levels from the air, one
# that divides the histogram, and one that looks at edges.
METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "background": lambda view: view > background_threshold(view),
    "otsu": lambda view: view > float(threshold_otsu(view)),
    "triangle": lambda view: view > float(threshold_triangle(view)),
    "watershed": watershed_foreground,
}


def largest_on_chest_wall(mask: np.ndarray) -> np.ndarray:
    """Keep the largest component that reaches the left edge, and fill its holes.

    Args:
        mask: `(H, W)` bool.

    Returns:
        `(H, W)` bool; empty when nothing reaches the left edge.
    """
    labels, _ = ndimage.label(mask)
    at_edge = np.unique(labels[:, :edge_columns(mask.shape[1])])
    sizes = np.bincount(labels.ravel())
    candidates = at_edge[at_edge > 0]
    if candidates.size == 0:
        return np.zeros(mask.shape, dtype=bool)
    return _without_holes(labels == candidates[np.argmax(sizes[candidates])])


def _without_holes(mask: np.ndarray) -> np.ndarray:
    """`ndimage.binary_fill_holes`, several times as fast: all but what the image's border is joined to."""
    labels, count = ndimage.label(~mask)
    outside = np.zeros(count + 1, dtype=bool)
    for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[border] = True
    outside[0] = False  # the mask itself
    return ~outside[labels]


def component_facts(mask: np.ndarray) -> tuple[bool, float]:
    """Whether the largest component touches the left edge, and its share of all foreground pixels.

    Args:
        mask: `(H, W)` bool, as `foreground` gives it.

    Returns:
        `(touches, share)`; `(False, 0.0)` for an empty mask.
    """
    labels, count = ndimage.label(mask)
    if count == 0:
        return False, 0.0
    sizes = np.bincount(labels.ravel())[1:]
    largest = int(np.argmax(sizes)) + 1
    touches = bool((labels[:, :edge_columns(mask.shape[1])] == largest).any())
    return touches, float(sizes[largest - 1] / sizes.sum())


def edge_columns(width: int) -> int:
    """Columns that count as the left edge: one at 64 px, four at 256 px."""
    return max(1, width // 64)


def pectoral_mask(view: np.ndarray) -> np.ndarray:
    """Mask of the pectoral muscle: a wedge in the upper left corner of an MLO view.

    Every straight line from the top edge to the left edge is scored by the mean drop in intensity
    across it; the best one bounds the wedge when the drop is large enough and shows along most of the line.

    Args:
        view: `(H, W)` float in [0, 1] of an MLO view, 0 = air, chest wall on the left.

    Returns:
        `(H, W)` bool; empty when no such edge is found.

    Raises:
        ValueError: The view isn't two-dimensional and finite.
    """
    view = _checked(view)
    height, width = view.shape
    breast = breast_mask(view)
    found = _muscle_edge(view, breast) if breast.any() else None
    if found is None:
        return np.zeros(view.shape, dtype=bool)
    top, bottom = found
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    return (rows[:, None] / bottom + columns[None, :] / top < 1.0) & breast


def _muscle_edge(view: np.ndarray, breast: np.ndarray) -> tuple[float, float] | None:
    """Where the muscle's edge meets the top and the left image edge, as fractions of width and height."""
    shape = (_FIT_SIZE, _FIT_SIZE)
    small = ndimage.gaussian_filter(resize(view, shape, order=1, anti_aliasing=view.shape[0] > _FIT_SIZE), 0.8)
    tissue = ndimage.binary_erosion(resize(breast.astype(float), shape, order=1) > 0.5, border_value=1)
    top, bottom = (grid.ravel() for grid in np.meshgrid(np.arange(0.10, 0.82, 0.02), np.arange(0.20, 1.12, 0.03)))
    angle = np.degrees(np.arctan2(top, bottom))
    top, bottom = (values[(angle >= 10) & (angle <= 60)] for values in (top, bottom))
    drop, known = _drop_across(small, tissue, top, bottom)
    seen = known.sum(axis=1)
    total = np.where(known, np.clip(drop, -0.15, 0.15), 0.0).sum(axis=1)  # clipped: one bright spot is no edge
    score = total / np.maximum(seen, 1) * (seen >= 0.6 * drop.shape[1])
    share = np.where(known, drop > 0.0, False).sum(axis=1) / np.maximum(seen, 1)
    score = np.where(share >= _MIN_EDGE_SHARE, score, 0.0)
    best = int(np.argmax(score))
    return (float(top[best]), float(bottom[best])) if score[best] >= _MIN_EDGE_CONTRAST else None


def _drop_across(small: np.ndarray, tissue: np.ndarray, top: np.ndarray,
                 bottom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intensity inside minus outside at points along each line, and which points lie in tissue on both sides."""
    along = np.linspace(0.03, 0.97, 32)
    x, y = top[:, None] * (1.0 - along) * _FIT_SIZE, bottom[:, None] * along * _FIT_SIZE
    length = np.hypot(top, bottom)
    drop, known = np.zeros(x.shape), y < _FIT_SIZE - 1
    for step in _EDGE_STEPS:
        across = step * np.array([top, bottom])[:, :, None] / length[:, None]  # rows, columns
        for sign in (1.0, -1.0):
            points = np.array([y, x]) - sign * across - 0.5
            drop += sign * ndimage.map_coordinates(small, points, order=1, mode="nearest") / len(_EDGE_STEPS)
            known &= ndimage.map_coordinates(tissue.astype(np.uint8), points, order=0, mode="nearest") > 0
    return drop, known


def _checked(view: np.ndarray) -> np.ndarray:
    view = np.asarray(view, dtype=np.float32)
    if view.ndim != 2 or view.size == 0 or not np.isfinite(view).all():
        raise ValueError(f"view: expected a finite (H, W) array with 0 = air, got shape {view.shape}"
                         + ("" if view.ndim != 2 else "; check it for NaN"))
    return view
