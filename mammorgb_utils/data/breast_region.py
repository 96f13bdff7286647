"""Where the breast is on a raw mammogram, on which side its chest wall lies, and what else is in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mammorgb_utils.data.geometry import area_resize, dilate_cross, erode_cross, fill_holes, inner, median3, open_square

_MAX_SIDE = 512  # px: labels and skin line are resolved, and a full-size mammogram costs milliseconds
_ABOVE_AIR = 0.05  # of the intensity range: between the air's noise and the skin line
_BINS = 64  # of the darker half of the range: each is wider than air's noise, narrower than the step to tissue
_NOISES = 6  # pixel noises between air and tissue: the brightest of a picture of noise alone stays below
_LEAST = 0.02  # of the image: less is no breast
_MOST = 0.97  # of the image: more has no skin line; the largest breasts cover four fifths
_STRIP = 0.05  # of the longer side: film borders are thinner, breasts and muscles thicker
_WHITE = 0.9  # of the intensity range: unexposed film is the scan's brightest, tissue hardly ever is
_ALONG = 0.9  # of an edge that is white: a film's border, as breasts leave air at some end of every edge
_MOST_WHITE = 0.25  # of the image: more is the picture itself, overexposed
_SIDE = 0.05  # of the width: a breast begins here, or behind a film border
_FRAME_SHARE = 0.45  # of the four edges: the largest breasts take the chest wall's and parts of top and bottom
_CORNER = 5  # px: a corner's pixels, with room for a thin black line around the scan
_GLOW = 2  # px over which white borders, labels and the skin line fade into air


@dataclass(frozen=True)
class _Reduced:
    """Of a mammogram of at most 512 px a side: its film border, and what stands out from air in either direction."""

    border: np.ndarray
    bright: np.ndarray
    dark: np.ndarray


def breast_region(pixels: np.ndarray) -> np.ndarray:
    """Breast, muscle included, as the largest bright part on a side edge; labels and film borders are left out.

    Args:
        pixels: `(H, W)` float, low is air, chest wall on either side.

    Returns:
        `(H, W)` bool; all False where nothing stands out from air.

    Source:
        Background-level threshold: Otsu's threshold finds dense tissue, not the breast.
    """
    reduced = _reduce(pixels)
    # Opening cuts the thin bridges by which labels, collimator lines and film borders hang on the breast.
    opened = dilate_cross(erode_cross(reduced.bright, 2), 2)
    part = _largest_on_a_side(opened)
    if _is_film(reduced, part):
        part = _without_strips(part, reduced.border)
    return _on_grid(fill_holes(part), pixels.shape)


def chest_wall_side(region: np.ndarray) -> str:
    """`"left"` or `"right"`: where the breast region is taller.

    A fifth of the width is looked at on either side, so that neither a border cut off at the chest wall nor an
    axillary tail that reaches the other edge decides.
    """
    band = max(1, region.shape[1] // 5)
    return "left" if np.count_nonzero(region[:, :band]) >= np.count_nonzero(region[:, -band:]) else "right"


def foreign_objects(pixels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """What stands out from air outside the breast: labels, film borders, collimator edges, blackened names.

    Returns:
        `(H, W)` bool, disjoint from the breast's `region`; the air's own noise isn't in it.
    """
    reduced = _reduce(pixels)
    # The skin line fades, and opening took slivers off it: both are breast. A label fades too: all of it goes.
    breast = dilate_cross(_on_grid(region, reduced.border.shape), 2 * _GLOW)
    objects = dilate_cross((reduced.bright | reduced.dark | reduced.border) & ~breast, _GLOW)
    return _on_grid(objects, pixels.shape) & ~region


def unlike_a_breast(region: np.ndarray) -> str | None:
    """Why a region, as from `breast_region`, can't be a breast, as a sentence's end; None where it can."""
    share, band = float(region.mean()), max(1, round(_SIDE * region.shape[1]))
    if share < _LEAST:
        return f"no breast stands out from the background: what does covers {share:.1%} of the image"
    if share > _MOST:
        return f"no air lies around a breast: what stands out covers {share:.1%} of the image"
    if not region[:, :band].any() and not region[:, -band:].any():
        return "what stands out from the background touches neither side edge, as a breast's chest wall does"
    return None


def frames_the_picture(region: np.ndarray) -> bool:
    """Whether the region takes most of the picture's four edges, as air does and breasts don't."""
    return float(np.concatenate([region[0], region[-1], region[:, 0], region[:, -1]]).mean()) > _FRAME_SHARE


def air_level(pixels: np.ndarray, region: np.ndarray) -> float:
    """Median intensity outside the breast; 0 where the breast fills the image."""
    outside = pixels[~region]
    return float(np.median(outside)) if outside.size else 0.0


def _reduce(pixels: np.ndarray) -> _Reduced:
    shrink = max(1.0, max(pixels.shape) / _MAX_SIDE)
    small = area_resize(pixels, tuple(max(1, round(side / shrink)) for side in pixels.shape))
    smooth = median3(small)
    top = float(np.percentile(smooth, 99.5))
    air = _air_level(smooth, top)
    border = _white_border(smooth, air)
    if border.any() and not border.all():
        top = float(np.percentile(smooth[~border], 99.5))
    noise = 1.4826 * float(np.median(np.abs(small - smooth)[::3, ::3]))
    if top - air < max(1e-3, _NOISES * noise):
        return _Reduced(border, np.zeros_like(border), np.zeros_like(border))
    step = _ABOVE_AIR * (top - air)
    return _Reduced(border, (smooth > air + step) & ~border, smooth < air - step)


def _on_grid(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mask on another grid, by the pixel that each one lies in."""
    rows, columns = ((np.arange(n) * small) // n for n, small in zip(shape, mask.shape, strict=True))
    return np.take(np.take(mask, columns, axis=1), rows, axis=0)


def _air_level(smooth: np.ndarray, top: float) -> float:
    """The fullest bin of the darker half of the range: air is uniform, tissue is not."""
    low = float(smooth.min())
    width = (0.5 * (top - low) + 1e-9) / _BINS
    bins = np.minimum((smooth - np.float32(low)) * np.float32(1 / width), _BINS).astype(np.intp)
    return low + (int(np.argmax(np.bincount(bins.ravel(), minlength=_BINS)[:_BINS])) + 0.5) * width


def _largest_on_a_side(bright: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(bright)
    if count == 0:
        return bright
    sizes, band = np.bincount(labels.ravel()), max(3, round(_SIDE * bright.shape[1]))
    on_side = np.union1d(labels[:, :band], labels[:, -band:])
    return labels == max(on_side[on_side > 0].tolist() or range(1, count + 1), key=sizes.__getitem__)


def _white_border(smooth: np.ndarray, air: float) -> np.ndarray:
    """Unexposed film: white parts that hang on an edge which is white nearly from end to end, and their glow."""
    white = smooth > air + _WHITE * (float(smooth.max()) - air)
    edges = [edge for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]) if white[edge].mean() >= _ALONG]
    if not edges:
        return np.zeros_like(white)
    labels, _ = ndimage.label(white)
    border = white & np.isin(labels, np.concatenate([labels[edge] for edge in edges]))
    if border.mean() > _MOST_WHITE:
        return np.zeros_like(white)
    for edge in edges:
        border[edge] = True  # where dust or a label darkens it too
    return dilate_cross(border, _GLOW)


def _is_film(reduced: _Reduced, part: np.ndarray) -> bool:
    """Whether a corner away from the chest wall is bright: frames go around scans, not around detectors' pictures."""
    if reduced.border.any():
        return True
    far = np.s_[-_CORNER:] if chest_wall_side(part) == "left" else np.s_[:_CORNER]
    return bool(reduced.bright[:_CORNER, far].any() or reduced.bright[-_CORNER:, far].any())


def _without_strips(part: np.ndarray, border: np.ndarray) -> np.ndarray:
    """The breast on film without the grey borders at its picture's edges, and without what a thin neck joins to it.

    The white film `border` is already left out of `part`.
    """
    width = 2 * (round(_STRIP * max(part.shape)) // 2) + 1
    core = _largest_on_a_side(open_square(part, width))
    if not core.any():
        return part  # a breast as thin as a strip
    labels, count = ndimage.label(part & ~core)
    kept = np.zeros(count + 1, bool)
    kept[labels[dilate_cross(core, 1)]] = True
    ends = np.zeros(count + 1, bool)
    ends[labels[_frame(border, width)]] = True
    # The breast's own tips along the chest wall are short or end before the corner.
    long = [max(side.stop - side.start for side in box) > 1.5 * width for box in ndimage.find_objects(labels)]
    strips = np.array([False, *long]) & ends
    kept &= ~strips
    kept[0] = False
    return _peeled(core | kept[labels], strips[labels], width)


def _frame(border: np.ndarray, width: int) -> np.ndarray:
    """Top and bottom row of the picture within the white border, and squares of a strip's width in its corners."""
    (top, bottom), (left, right) = ((side.start, side.stop) for side in inner(border))
    frame = np.zeros_like(border)
    frame[[top, bottom - 1]] = True
    for row in (np.s_[top:top + width], np.s_[bottom - width:bottom]):
        frame[row, left:left + width] = frame[row, right - width:right] = True
    return frame


def _peeled(region: np.ndarray, strips: np.ndarray, width: int) -> np.ndarray:
    """Strips along top and bottom go on under the breast, where they can't be told from it: as many rows are cut."""
    for inward in (np.s_[:], np.s_[::-1]):
        depths = strips[inward][:width][:, strips[inward][0]].sum(axis=0)
        if depths.size > 2 * width:
            region[inward][:int(np.median(depths))] = False
    return region
