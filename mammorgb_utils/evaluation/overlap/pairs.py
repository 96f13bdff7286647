"""Overlap of the two breast masks of a pair, and whether the masks are plausible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.masks import METHODS, breast_component, foregrounds, pectoral_mask
from mammorgb_utils.evaluation.threads import parts_on_every_core

MIN_LARGEST_SHARE = 0.95  # of the foreground, in one component
AREA_QUANTILES = (0.01, 0.99)  # of the reference's areas


@dataclass(frozen=True)
class PairMasks:
    """Masks of N pairs, and the facts about them that are known only before a component is picked."""

    breast: np.ndarray  # `(N, 2, H, W)` bool, CC first
    muscle: np.ndarray  # `(N, H, W)` bool, of the MLO view
    left: np.ndarray  # `(N, 2)` bool, the largest component touches the left edge
    largest: np.ndarray  # `(N, 2)` share of the foreground that the largest component holds

    def __len__(self) -> int:
        return len(self.breast)

    @classmethod
    def joined(cls, parts: Iterable[PairMasks]) -> PairMasks:
        """Masks of several parts of a set as one."""
        parts = list(parts)
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @property
    def areas(self) -> np.ndarray:
        """`(N, 2)` fraction of the image that each breast covers; NaN without a mask."""
        covered = self.breast.mean(axis=(2, 3))
        return np.where(covered > 0.0, covered, np.nan)

    @property
    def found(self) -> np.ndarray:
        """`(N,)` bool: both views have a mask; what compares views leaves the other pairs out, and counts them."""
        return np.isfinite(self.areas).all(axis=1)

    @property
    def mlo_no_muscle(self) -> np.ndarray:
        """`(N, H, W)` bool: MLO breast masks without the muscle."""
        return self.breast[:, 1] & ~self.muscle


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks.

    Args:
        a, b: `(H, W)` bool masks on the same pixel grid.

    Returns:
        `|a ∧ b| / |a ∨ b|` in [0, 1]; NaN when a mask is empty: a failed segmentation is no overlap of 0, and two
        of them are no agreement.

    Raises:
        ValueError: The shapes differ or a mask is not boolean.

    Source:
        Jaccard 1912; the paper reports it as IoU.
    """
    a, b = _same_grid(a, b)
    return np.count_nonzero(a & b) / np.count_nonzero(a | b) if a.any() and b.any() else float("nan")


def dsc(a: np.ndarray, b: np.ndarray) -> float:
    """Dice similarity coefficient of two masks.

    Args:
        a, b: `(H, W)` bool masks on the same pixel grid.

    Returns:
        `2·|a ∧ b| / (|a| + |b|)` in [0, 1]; NaN when a mask is empty, as in `iou`.

    Source:
        Dice 1945; the paper reports it as DSC.
    """
    a, b = _same_grid(a, b)
    both, total = np.count_nonzero(a & b), np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * both / total if a.any() and b.any() else float("nan")


def pair_masks(pairs: np.ndarray, method: str = "background") -> PairMasks:
    """Breast and muscle masks of every pair, computed once for overlap and shuffled overlap.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first, chest wall on the left.
        method: A name in `masks.METHODS`.
    """
    return masks_by_method(pairs, (method,))[method]


def masks_by_method(pairs: np.ndarray, methods: Iterable[str] = tuple(METHODS), *,
                    known: Mapping[str, PairMasks] | None = None) -> dict[str, PairMasks]:
    """`pair_masks` under several methods; what doesn't depend on the method is computed once.

    Args:
        pairs, methods: As `pair_masks` takes them.
        known: Method to what `pair_masks` gave for these pairs; handed back as it is, not made again.
    """
    if pairs.ndim != 4 or pairs.shape[1] != 2:
        raise ValueError(f"pairs: expected (N, 2, H, W), CC first, got shape {pairs.shape}")
    methods, found = tuple(methods), dict(known or {})
    if missing := [method for method in methods if method not in found]:
        muscle = [found["background"].muscle] if "background" in found else []
        parts = list(parts_on_every_core(partial(_masks_of, methods=missing), pairs, *muscle))
        found |= {method: PairMasks.joined(part[method] for part in parts) for method in missing}
    return {method: found[method] for method in methods}


def _masks_of(pairs: np.ndarray, muscle: np.ndarray | None = None, *, methods: Sequence[str]) -> dict[str, PairMasks]:
    """The muscle is looked for inside the masks of `background`, whatever the method."""
    n, _, height, width = pairs.shape
    wanted = methods if muscle is not None else dict.fromkeys((*methods, "background"))
    found = {method: PairMasks(np.zeros(pairs.shape, bool), np.zeros((n, height, width), bool),
                               np.zeros((n, 2), bool), np.zeros((n, 2))) for method in wanted}
    for place in np.ndindex(n, 2):
        for method, raw in foregrounds(pairs[place], wanted).items():
            made = found[method]
            made.breast[place], made.left[place], made.largest[place] = breast_component(raw)
    for i in range(n):
        wedge = pectoral_mask(pairs[i, 1], found["background"].breast[i, 1]) if muscle is None else muscle[i]
        for made in found.values():
            made.muscle[i] = wedge & made.breast[i, 1]
    return found


def pair_metrics(pairs: np.ndarray, *, method: str = "background", masks: PairMasks | None = None) -> pd.DataFrame:
    """Overlap and shape of every pair's masks.

    Args:
        pairs, method: As `pair_masks` takes them.
        masks: What that gave for these pairs, when it was called before.

    Returns:
        One row a pair: `iou`, `dsc`, `iou_no_muscle`, `dsc_no_muscle`; `cc_area`, `mlo_area` (fraction of
        the image, NaN without a mask); `cc_left`, `mlo_left` (largest component touches the left edge); `cc_largest`,
        `mlo_largest` (its share of the foreground).
    """
    masks = pair_masks(pairs, method) if masks is None else masks
    if masks.breast.shape != pairs.shape:
        raise ValueError(f"masks: made for pairs of shape {masks.breast.shape}, got {pairs.shape}")
    cc, mlo, bare = masks.breast[:, 0], masks.breast[:, 1], masks.mlo_no_muscle
    frame = {f"{measure.__name__}{suffix}": [measure(a, b) for a, b in zip(cc, other, strict=True)]
             for suffix, other in (("", mlo), ("_no_muscle", bare)) for measure in (iou, dsc)}
    for name, values in (("area", masks.areas), ("left", masks.left), ("largest", masks.largest)):
        frame |= {f"cc_{name}": values[:, 0], f"mlo_{name}": values[:, 1]}
    return pd.DataFrame(frame)


def plausible(frame: pd.DataFrame, reference: pd.DataFrame) -> pd.Series:
    """Whether both masks of a pair could be those of a real breast, row by row.

    Args:
        frame, reference: What `pair_metrics` returns, for the pairs and for the real ones.

    Returns:
        Bool: in both views the area lies within the reference's 1st to 99th percentile, the largest component touches
        the left edge, and it holds at least 95 % of the foreground.
    """
    if len(reference) == 0:
        raise ValueError("reference: no real pairs; the area's plausible range can't be known")
    verdict = pd.Series(True, index=frame.index, name="plausible")
    for view in ("cc", "mlo"):
        low, high = reference[f"{view}_area"].quantile(list(AREA_QUANTILES))
        verdict &= frame[f"{view}_area"].between(low, high)
        verdict &= frame[f"{view}_left"].astype(bool) & (frame[f"{view}_largest"] >= MIN_LARGEST_SHARE)
    return verdict


def _same_grid(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != bool or b.dtype != bool:
        raise ValueError(f"masks must be boolean, got {a.dtype} and {b.dtype}; threshold them first")
    if a.shape != b.shape:
        raise ValueError(f"masks must share a pixel grid, got shapes {a.shape} and {b.shape}")
    return a, b
