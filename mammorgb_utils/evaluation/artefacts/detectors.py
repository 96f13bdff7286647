"""Named artefacts of a pair: how plainly it shows each, and which it carries by thresholds frozen beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import fft, ndimage

from mammorgb_utils.data.geometry import block_means
from mammorgb_utils.evaluation.masks import edge_columns, pectoral_mask
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.threads import parts_on_every_core

# Fitted by benchmarks/artefact_thresholds.py on one phantom cohort and scored on another; a test compares.
THRESHOLDS = {
    "background_offset": 0.032,  # air's level [of the intensity scale]
    "edge_line": 0.46,  # the straight line's unbroken share [of its run]
    "label_remnant": 0.00026,  # an object's brightness times its area [of a white image]
    "cut_breast": 0.46,  # width at the image's edge [of the breast's depth]
    "view_mismatch": 0.46,  # areas' ratio, apart from the usual one [natural logarithm]
    "checkerboard": 0.92,  # power at the grid's own frequencies over that beside them [log10]
    "other_contour": 0.3,  # how far the other view's outline stands out [its spread along it]
}
ANY = "any"  # the column that says whether a pair carries one of them

_SIDE = 128  # px: larger views are averaged to this or a little more; the grid's frequencies need every pixel
_MARGIN = 0.03  # of the side, around the breast: the skin line's blur is no air
_LEAST_AIR = 0.01  # of the image: with less, nothing is said about air
_AIR_QUANTILE = 0.25  # of what is outside the mask: still air where a mask misses the fatty rim
_AIR_CONTRAST, _TISSUE_CONTRAST = 0.04, 0.06  # of the intensity scale: of a line against its surroundings
_AIR_RUN, _TISSUE_RUN = 0.40, 0.35  # of the side: shorter runs are no line
_OBJECT_CONTRAST = 0.40  # of the intensity scale above air: labels are printed bright
_OBJECT_EXTENT = 0.5  # of the side: what is longer is a line
_NECK = 0.06  # of the side: thinner parts of the mask are no breast, and may be a label that touches it
_COLLAPSED = 0.04  # of the image: half of what the smallest breasts cover, 60 of 720 cm²
_USUAL_TOP = 0.80  # of the depth: phantoms' CC views lie high and reach it uncut; only what is beyond it counts
_USUAL_RATIO = 1.12  # MLO area over CC area: the middle of what is expected with muscle, 1.05 to 1.4
_SWAPPED = 1.0  # score of a pair whose muscle is in the wrong view, or in none
_REACHES_TOP = 0.3  # of the depth: MLO views are wider at the upper edge, as the muscle goes on beyond it
_OUTLINE_LEAST = 0.08  # of the side: a shorter part of the other view's outline, away from the own one, says nothing
_OUTLINE_CONTRAST = 0.02  # of the intensity scale: its share counts that stands out by more, in one direction
_OUTLINE_FULL = 0.5  # of the side: a shorter part counts for less
_FEW_BESIDE = 0.05  # of the pixels around a point: with fewer beside the outline, nothing is said of it
_GRAIN = 0.01  # of the intensity scale: least spread along an outline
_PERIODS = (2, 4)  # px: the grids that doubling once or twice leaves


@dataclass(frozen=True)
class Look:
    """One pair as the detectors see it, CC first, 0 = air, chest wall on the left; all but `full` of about 128 px."""

    full: np.ndarray  # (2, H, W) float32 in [0, 1]
    views: np.ndarray  # (2, h, w), the same, averaged where it is larger
    breast: np.ndarray  # (2, h, w) bool, as body and air
    muscle: np.ndarray  # (h, w) bool, of the MLO view
    body: np.ndarray  # the breast without what hangs on it by a thin part
    air: np.ndarray  # outside the body and its blur
    level: tuple[float, float]  # intensity of each view's air

    @property
    def seen(self) -> list[int]:
        """Views with a mask: of one without it only `cut_breast`, as collapsed, and `checkerboard` say something."""
        return [i for i, mask in enumerate(self.breast) if mask.any()]


def look_at(pair: np.ndarray, breast: np.ndarray, muscle: np.ndarray) -> Look:
    """What every detector needs of a pair and its masks, computed once; a ValueError where values aren't finite."""
    views = np.asarray(pair, dtype=np.float32)
    if not np.isfinite(views).all():
        raise ValueError("pairs: a view holds NaN or infinity; preprocess or draw it again")
    small, breast, muscle = _reduced(views), _reduced(breast) > 0.5, _reduced(muscle) > 0.5
    neck, margin = ((1, size, size) for size in (_odd(_NECK, muscle), _odd(2 * _MARGIN, muscle)))
    body = ndimage.maximum_filter(ndimage.minimum_filter(breast, size=neck), size=neck)
    air = ~ndimage.maximum_filter(body, size=margin)
    levels = [float(np.quantile(view[outside], _AIR_QUANTILE)) if outside.mean() > _LEAST_AIR else 0.0
              for view, outside in zip(small, air, strict=True)]
    return Look(views, small, breast, muscle, body, air, tuple(levels))


def background_offset(look: Look) -> float:
    """Level of the air, which preprocessing sets to 0: the brighter of the two views [of the intensity scale]."""
    return _plainest(look.level[i] for i in look.seen if look.air[i].mean() > _LEAST_AIR)


def edge_line(look: Look) -> float:
    """Largest share of a row or column that differs from its surroundings in one direction, in air or in tissue."""
    shares = []
    for view, body, air, level in ((look.views[i], look.body[i], look.air[i], look.level[i]) for i in look.seen):
        tissue = ndimage.minimum_filter(body, size=_odd(_MARGIN, view))
        for turn in (np.asarray, np.transpose):
            shares += _standing_out(turn(view) - level, turn(air), _AIR_RUN, _AIR_CONTRAST)
            shares += _standing_out(_ridge(turn(view)), turn(tissue), _TISSUE_RUN, _TISSUE_CONTRAST)
    return _plainest(shares)


def label_remnant(look: Look) -> float:
    """Brightness times area of the largest bright compact object in air or on the skin [of a white image]."""
    return _plainest(_object(look.views[i], look.body[i], look.level[i]) for i in look.seen)


def cut_breast(look: Look) -> float:
    """Width of the breast at the image's upper or lower edge [of its depth]; 1 where it is collapsed.

    An MLO view's upper edge cuts the muscle of every breast, and isn't looked at; of a CC view's upper edge what is
    beyond `_USUAL_TOP` counts, 1 at the full depth.
    """
    (cc_top, cc_bottom), (_, mlo_bottom) = (_width_at_edges(mask) for mask in look.breast)
    return max((cc_top - _USUAL_TOP) / (1.0 - _USUAL_TOP), cc_bottom, mlo_bottom)


def view_mismatch(look: Look) -> float:
    """How far the ratio of areas is from the usual one [natural logarithm]; 1 at least where the muscle is misplaced.

    It is where CC shows a wedge like a muscle's and MLO none, or where MLO shows none and ends below the upper edge,
    as a CC view does.
    """
    if len(look.seen) < 2:
        return np.nan
    cc, mlo = np.count_nonzero(look.breast, axis=(1, 2))
    apart = abs(float(np.log(mlo / cc / _USUAL_RATIO)))
    if look.muscle.any():
        return apart
    like_cc = _width_at_edges(look.breast[1])[0] < _REACHES_TOP
    return max(apart, _SWAPPED) if like_cc or pectoral_mask(look.views[0]).any() else apart


def checkerboard(look: Look) -> float:
    """Power at periods of 2 and 4 px over that of the frequencies beside them [log10], the plainest of both views."""
    return max(_grid_power(view) for view in look.full)


def other_contour(look: Look) -> float:
    """How far the other view's outline stands out in a view from what is on both sides of it: mean over standard
    deviation along it, times the share that does so; the plainest of both views. Packing them in channels invites it.
    """
    if len(look.seen) < 2:
        return np.nan
    edge = look.muscle & ~_grown(look.muscle, -2 * _grain(look.muscle))
    muscles = np.zeros_like(edge), _grown(edge, 2 * _grain(edge))
    return _plainest(score for i in look.seen for score in
                     _outline_contrast(look.views[i], look.breast[i], look.breast[1 - i], muscles[i]))


# Larger where it is plainer.
DETECTORS = {score.__name__: score for score in (background_offset, edge_line, label_remnant, cut_breast,
                                                 view_mismatch, checkerboard, other_contour)}


def artefact_scores(pairs: np.ndarray, masks: PairMasks) -> pd.DataFrame:
    """Score of every detector on every pair.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first, 0 = air, chest wall on the left; a ValueError where not finite.
        masks: Masks of these pairs.

    Returns:
        One row a pair, one float column a detector, in the unit that `THRESHOLDS` states; NaN where the views that it
        looks at have no mask.
    """
    if masks.breast.shape != pairs.shape:
        raise ValueError(f"masks: made for pairs of shape {masks.breast.shape}, got {pairs.shape}")
    scores = np.concatenate(list(parts_on_every_core(_scores, pairs, masks.breast, masks.muscle)))
    return pd.DataFrame(scores, columns=list(DETECTORS))


def _scores(pairs: np.ndarray, breast: np.ndarray, muscle: np.ndarray) -> np.ndarray:
    looks = (look_at(*views) for views in zip(pairs, breast, muscle, strict=True))
    rows = [[score(look) for score in DETECTORS.values()] for look in looks]
    return np.array(rows, dtype=float).reshape(len(pairs), len(DETECTORS))


def artefact_flags(pairs: np.ndarray, masks: PairMasks) -> pd.DataFrame:
    """Which artefacts every pair carries: as `artefact_scores`, with bool columns, and `any`."""
    return flags_from_scores(artefact_scores(pairs, masks))


def flags_from_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """The same from what `artefact_scores` gave; where a score is missing, so is the flag."""
    flags = scores[list(THRESHOLDS)] > pd.Series(THRESHOLDS)
    return flags.where(scores[list(THRESHOLDS)].notna()).assign(**{ANY: flags.any(axis=1)})


def _plainest(scores: Iterable[float]) -> float:
    return max(scores, default=np.nan)


def _reduced(image: np.ndarray) -> np.ndarray:
    step = max(1, min(image.shape[-2:]) // _SIDE)
    return image if step == 1 else block_means(image, step, step)


def _odd(share: float, image: np.ndarray) -> int:
    """An odd number of pixels, about `share` of the image's side."""
    return 2 * round(share * image.shape[-1] / 2) + 1


def _standing_out(contrast: np.ndarray, zone: np.ndarray, run: float, least: float) -> list[float]:
    """Largest share of a row's zone that is brighter, and that is darker, than its surroundings."""
    length = np.count_nonzero(zone, axis=1)
    long = length >= run * zone.shape[1]
    if not long.any():
        return [0.0]
    return [float((np.count_nonzero(zone & beyond, axis=1)[long] / length[long]).max())
            for beyond in (contrast > least, contrast < -least)]


def _ridge(view: np.ndarray) -> np.ndarray:
    """How far a row's pixel is above both neighbours across the row, or below both; a slope gives 0."""
    width = edge_columns(len(view))
    smooth = ndimage.uniform_filter1d(view, width, axis=0, mode="nearest")
    padded = np.pad(smooth, ((2 * width, 2 * width), (0, 0)), mode="edge")
    before, after = smooth - padded[:len(view)], smooth - padded[4 * width:]
    return np.where(before * after > 0, np.sign(before) * np.minimum(np.abs(before), np.abs(after)), 0.0)


def _object(view: np.ndarray, body: np.ndarray, level: float) -> float:
    labels, count = ndimage.label((view > level + _OBJECT_CONTRAST) & ~body)
    if not count:
        return 0.0
    boxes = ndimage.find_objects(labels)
    longest = _OBJECT_EXTENT * len(view)
    compact = [i + 1 for i, (rows, columns) in enumerate(boxes)
               if columns.start >= edge_columns(view.shape[1])  # at the chest wall it is a fold of skin
               and max(rows.stop - rows.start, columns.stop - columns.start) <= longest]
    return float(max(ndimage.sum(view - level, labels, compact))) / view.size if compact else 0.0


def _width_at_edges(mask: np.ndarray) -> tuple[float, float]:
    if mask.mean() < _COLLAPSED:
        return 1.0, 1.0
    widths, rows = mask.sum(axis=1), edge_columns(len(mask))
    return float(widths[:rows].mean() / widths.max()), float(widths[-rows:].mean() / widths.max())


def _outline_contrast(view: np.ndarray, own: np.ndarray, other: np.ndarray, left_out: np.ndarray) -> list[float]:
    """The score of one view, unsigned, as bright and dark lines count; nothing where the two outlines hardly part.

    Tissue and air are looked at apart, so that the view's own skin line stands beside nothing.
    """
    step, side, apart = _grain(view), len(view), []
    within = _grown(other, -step)
    outline, bands = other & ~within & ~left_out, (within & ~_grown(other, -3 * step), _grown(other, 2 * step) & ~other)
    outline[:2 * step] = outline[-2 * step:] = outline[:, :2 * step] = outline[:, -2 * step:] = False
    for zone in (_grown(own, -2 * step), ~_grown(own, step)):
        near = [ndimage.uniform_filter((band & zone).astype(np.float32), 4 * step + 1) for band in bands]
        seen = outline & zone & (near[0] > _FEW_BESIDE) & (near[1] > _FEW_BESIDE)
        beside = [ndimage.uniform_filter(view * (band & zone), 4 * step + 1)[seen] / share[seen]
                  for band, share in zip(bands, near, strict=True)]
        apart.append(view[seen] - 0.5 * sum(beside))
    apart = np.concatenate(apart)
    length = apart.size / step
    if length < _OUTLINE_LEAST * side:
        return []
    one_way = abs(np.mean(apart > _OUTLINE_CONTRAST) - np.mean(apart < -_OUTLINE_CONTRAST))
    long = min(1.0, np.sqrt(length / (_OUTLINE_FULL * side)))
    return [float(one_way * long * abs(apart.mean()) / (apart.std() + _GRAIN))]


def _grain(image: np.ndarray) -> int:
    """Pixels of a line that is drawn one pixel wide at 64 px."""
    return max(1, image.shape[-1] // 64)


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask and what is so near to it; below 0, the mask without its rim."""
    wider = ndimage.maximum_filter if pixels > 0 else ndimage.minimum_filter
    return wider(mask, 2 * abs(pixels) + 1, mode="nearest")


def _grid_power(view: np.ndarray) -> float:
    height, width = view.shape
    power = np.abs(fft.rfft2((view - view.mean()) * _window(height, width))) ** 2
    found = []
    for period in _PERIODS:
        for row, column in ((1, 1), (1, 0), (0, 1)):
            y, x = row * height // period, column * width // period
            near, around = (power[np.arange(y - reach, y + reach + 1) % height, max(x - reach, 0):x + reach + 1]
                            for reach in (1, 6))
            found.append(float(near.mean()) / max(float(np.median(around)), 1e-12))
    return float(np.log10(max(*found, 1e-12)))


@cache
def _window(height: int, width: int) -> np.ndarray:
    """Falls to 0 at every edge: the chest wall's would leak along the axes of the spectrum."""
    return np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
