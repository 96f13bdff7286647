"""Named artefacts of a pair: each has a score on images and masks, and a threshold beyond which it is flagged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.stats import norm

from mammorgb_utils.evaluation.masks import edge_columns, pectoral_mask
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.resampling import SET_ORDER, patient_of

# Fitted by benchmarks/artefact_thresholds.py on one phantom cohort and scored on another; a test compares.
THRESHOLDS = {
    "background_offset": 0.03,  # air's level [of the intensity scale]
    "edge_line": 0.8,  # the straight line's unbroken share [of its run]
    "label_remnant": 0.002,  # an object's brightness times its area [of a white image]
    "cut_breast": 0.5,  # width at the image's edge [of the breast's depth]
    "view_mismatch": 0.5,  # areas' ratio, apart from the usual one [natural logarithm]
    "checkerboard": 1.0,  # power at the grid's own frequencies over that beside them [log10]
}
ANY = "any"  # the column that says whether a pair carries one of them

_MARGIN = 0.03  # of the side, around the breast: the skin line's blur is no air
_LEAST_AIR = 0.01  # of the image: with less, nothing is said about air
_AIR_QUANTILE = 0.25  # of what is outside the mask: still air where a mask misses the fatty rim
_LINE_CONTRAST = 0.04  # of the intensity scale: of a line against its surroundings
_AIR_RUN, _TISSUE_RUN = 0.40, 0.35  # of the side: shorter runs are no line
_OBJECT_CONTRAST = 0.30  # of the intensity scale above air: labels are printed bright
_OBJECT_EXTENT = 0.5  # of the side: what is longer is a line
_NECK = 0.06  # of the side: thinner parts of the mask are no breast, and may be a label that touches it
_COLLAPSED = 0.02  # of the image: less is no breast, as in preprocessing
_USUAL_RATIO = 1.12  # MLO area over CC area: the middle of what is expected with muscle, 1.05 to 1.4
_SWAPPED = 1.0  # score of a pair in which CC shows a muscle and MLO none
_PERIODS = (2, 4)  # px: the grids that doubling once or twice leaves


@dataclass(frozen=True)
class Look:
    """One pair as the detectors see it.

    Attributes:
        views: `(2, H, W)` float in [0, 1], CC first, 0 = air, chest wall on the left.
        breast: `(2, H, W)` bool.
        muscle: `(H, W)` bool, of the MLO view.
        air: `(2, H, W)` bool, outside the breast and its blur.
        level: Intensity of each view's air.
    """

    views: np.ndarray
    breast: np.ndarray
    muscle: np.ndarray
    air: np.ndarray
    level: tuple[float, float]


class Detector(NamedTuple):
    """A score, larger where the artefact is plainer, and what it must exceed."""

    score: Callable[[Look], float]
    threshold: float


def background_offset(look: Look) -> float:
    """Level of the air, which preprocessing sets to 0: the brighter of the two views [of the intensity scale]."""
    return max(look.level)


def edge_line(look: Look) -> float:
    """Largest share of a row or column that differs from its surroundings in one direction, in air or in tissue."""
    shares = []
    for view, breast, air, level in zip(look.views, look.breast, look.air, look.level, strict=True):
        tissue = ndimage.minimum_filter(breast, size=_odd(_MARGIN, view))
        for turn in (np.asarray, np.transpose):
            shares += _standing_out(turn(view) - level, turn(air), _AIR_RUN)
            shares += _standing_out(_ridge(turn(view)), turn(tissue), _TISSUE_RUN)
    return max(shares)


def label_remnant(look: Look) -> float:
    """Brightness times area of the largest bright compact object in air or on the skin [of a white image]."""
    return max(_object(*part) for part in zip(look.views, look.breast, look.level, strict=True))


def cut_breast(look: Look) -> float:
    """Width of the breast at the image's upper or lower edge [of its depth]; 1 where it is collapsed.

    An MLO view's upper edge cuts the muscle of every breast, and isn't looked at.
    """
    (cc_top, cc_bottom), (_, mlo_bottom) = (_width_at_edges(mask) for mask in look.breast)
    return max(cc_top, cc_bottom, mlo_bottom)


def view_mismatch(look: Look) -> float:
    """How far the ratio of areas is from the usual one [natural logarithm]; 1 at least for swapped views."""
    cc, mlo = np.count_nonzero(look.breast, axis=(1, 2))
    if not cc or not mlo:
        return _SWAPPED if cc or mlo else 0.0
    apart = abs(float(np.log(mlo / cc / _USUAL_RATIO)))
    swapped = not look.muscle.any() and pectoral_mask(look.views[0]).any()
    return max(apart, _SWAPPED) if swapped else apart


def checkerboard(look: Look) -> float:
    """Power at periods of 2 and 4 px over that of the frequencies beside them [log10], the plainest of both views."""
    return max(_grid_power(view) for view in look.views)


DETECTORS = {score.__name__: Detector(score, THRESHOLDS[score.__name__])
             for score in (background_offset, edge_line, label_remnant, cut_breast, view_mismatch, checkerboard)}


def artefact_scores(pairs: np.ndarray, masks: PairMasks) -> pd.DataFrame:
    """Score of every detector on every pair.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first, 0 = air, chest wall on the left.
        masks: Masks of these pairs.

    Returns:
        One row a pair, one float column a detector, in the unit that `THRESHOLDS` states.

    Raises:
        ValueError: The masks belong to other pairs, or a view holds values that aren't finite.
    """
    if masks.breast.shape != pairs.shape:
        raise ValueError(f"masks: made for pairs of shape {masks.breast.shape}, got {pairs.shape}")
    rows = []
    for pair, breast, muscle in zip(pairs, masks.breast, masks.muscle, strict=True):
        look = look_at(pair, breast, muscle)
        rows.append({name: detector.score(look) for name, detector in DETECTORS.items()})
    return pd.DataFrame(rows, columns=list(DETECTORS), dtype=float)


def artefact_flags(pairs: np.ndarray, masks: PairMasks) -> pd.DataFrame:
    """Which artefacts every pair carries.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first, 0 = air, chest wall on the left.
        masks: Masks of these pairs.

    Returns:
        One row a pair, one bool column a detector in `DETECTORS`, and `any`.

    Raises:
        ValueError: The masks belong to other pairs, or a view holds values that aren't finite.
    """
    return flags_from_scores(artefact_scores(pairs, masks))


def flags_from_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """The same from what `artefact_scores` gave."""
    flags = pd.DataFrame({name: scores[name] > detector.threshold for name, detector in DETECTORS.items()})
    return flags.assign(**{ANY: flags.any(axis=1)})


def artefact_rates(flags: pd.DataFrame) -> pd.DataFrame:
    """How many patients' pairs carry each artefact, by set.

    A patient of several pairs counts once, by the share of them that is flagged, so that sets with one and with two
    breasts a patient compare; the interval takes patients as its number, which is never too narrow.

    Args:
        flags: One row a pair: `set`, `patient` (a synthetic pair's is its own), and bool columns of `artefact_flags`.

    Returns:
        One row a set and artefact, `any` last: `set`, `artefact`, `n` (patients), `count`, `rate`, `low`, `high` (95 %
        Wilson interval).

    Raises:
        ValueError: `flags` lacks a column.
    """
    kinds = [*DETECTORS, ANY]
    absent = [name for name in ("set", "patient", *kinds) if name not in flags]
    if absent:
        raise ValueError(f"flags: columns {', '.join(absent)} are missing; take them from artefact_flags, and add set "
                         "and patient of each pair")
    known = [name for name in SET_ORDER if (flags["set"] == name).any()]
    rows = []
    for name in [*known, *sorted(set(flags["set"]) - set(known))]:
        part = flags[flags["set"] == name]
        shares = part[kinds].astype(float).groupby(patient_of(part.assign(pair=part.index))).mean()
        rows += [{"set": name, "artefact": kind, "n": len(shares), **wilson_share(shares[kind].sum(), len(shares))}
                 for kind in kinds]
    return pd.DataFrame(rows, columns=["set", "artefact", "n", "count", "rate", "low", "high"])


def wilson_share(count: float, n: int, *, level: float = 0.95) -> dict[str, float]:
    """A rate with its Wilson score interval, where the count needn't be a whole number.

    Returns:
        `count`, `rate`, `low`, `high`; the last three are NaN for `n` = 0.

    Source:
        Wilson 1927; for whole counts it is `hypothesis_tests.wilson`.
    """
    if n == 0:
        return {"count": count, "rate": np.nan, "low": np.nan, "high": np.nan}
    rate, z = count / n, float(norm.isf((1.0 - level) / 2.0))
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return {"count": count, "rate": rate, "low": max(0.0, centre - half), "high": min(1.0, centre + half)}


def look_at(pair: np.ndarray, breast: np.ndarray, muscle: np.ndarray) -> Look:
    """What every detector needs, computed once a pair.

    Args:
        pair: `(2, H, W)` float in [0, 1], CC first.
        breast: `(2, H, W)` bool.
        muscle: `(H, W)` bool.

    Raises:
        ValueError: A view holds values that aren't finite.
    """
    views = np.asarray(pair, dtype=np.float32)
    if not np.isfinite(views).all():
        raise ValueError("pairs: a view holds NaN or infinity; preprocess or draw it again")
    air = ~ndimage.maximum_filter(breast, size=(1, *(2 * [_odd(2 * _MARGIN, breast[0])])))
    levels = [float(np.quantile(view[outside], _AIR_QUANTILE)) if outside.mean() > _LEAST_AIR else 0.0
              for view, outside in zip(views, air, strict=True)]
    return Look(views, breast, muscle, air, tuple(levels))


def _odd(share: float, image: np.ndarray) -> int:
    """An odd number of pixels, about `share` of the image's side."""
    return 2 * round(share * image.shape[-1] / 2) + 1


def _standing_out(contrast: np.ndarray, zone: np.ndarray, run: float) -> list[float]:
    """Largest share of a row's zone that is brighter, and that is darker, than its surroundings."""
    length = np.count_nonzero(zone, axis=1)
    long = length >= run * zone.shape[1]
    if not long.any():
        return [0.0]
    return [float((np.count_nonzero(zone & beyond, axis=1)[long] / length[long]).max())
            for beyond in (contrast > _LINE_CONTRAST, contrast < -_LINE_CONTRAST)]


def _ridge(view: np.ndarray) -> np.ndarray:
    """How far a row's pixel is above both neighbours across the row, or below both; a slope gives 0."""
    width = edge_columns(len(view))
    smooth = ndimage.uniform_filter1d(view, width, axis=0, mode="nearest")
    padded = np.pad(smooth, ((2 * width, 2 * width), (0, 0)), mode="edge")
    before, after = smooth - padded[:len(view)], smooth - padded[4 * width:]
    return np.where(before * after > 0, np.sign(before) * np.minimum(np.abs(before), np.abs(after)), 0.0)


def _object(view: np.ndarray, breast: np.ndarray, level: float) -> float:
    neck = _odd(_NECK, view)
    body = ndimage.maximum_filter(ndimage.minimum_filter(breast, size=neck), size=neck)
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


def _grid_power(view: np.ndarray) -> float:
    height, width = view.shape
    window = np.outer(np.hanning(height), np.hanning(width))  # the chest wall's edge would leak along the axes
    power = np.abs(np.fft.fft2((view - view.mean()) * window)) ** 2
    found = []
    for period in _PERIODS:
        for row, column in ((1, 1), (1, 0), (0, 1)):
            y, x = row * height // period, column * width // period
            near, around = (np.ix_(np.arange(y - r, y + r + 1) % height, np.arange(x - r, x + r + 1) % width)
                            for r in (1, 6))
            found.append(power[near].mean() / max(float(np.median(power[around])), 1e-12))
    return float(np.log10(max(*found, 1e-12)))
