"""Real pairs, degraded by a stated dose of one fault."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mammorgb_utils.evaluation.consistency import nearest_area_pairing
from mammorgb_utils.evaluation.overlap import PairMasks

NONE = ("none", 0.0)  # the positive control: real pairs as they are
# Each control and its doses, smallest first.
CONTROLS: dict[str, tuple[float, ...]] = {
    "none": (0.0,),
    "strangers": (0.1, 0.25, 0.5, 1.0),  # share of CC views beside the MLO of nearest area of another patient
    "blur": (0.25, 0.5, 1.0, 2.0),  # SD of a Gaussian [64ths of the width]
    "noise": (0.01, 0.02, 0.05, 0.1),  # SD [of the intensity scale]
    "collapse": (0.25, 0.5, 0.75, 0.9),  # share of pairs that repeat another of their set
    "copies": (0.01, 0.05, 0.25, 1.0),  # share of pairs that are training pairs with a little noise
    "contour": (0.02, 0.05, 0.1, 0.2),  # brightness of the other view's outline in each view [of the intensity scale]
}
_OF_PAIRS = ("strangers", "copies")  # whose dose is a share of pairs, each changed wholly
COPY_NOISE = 0.02  # SD of a copy's noise, as `planted_copies` has it


def degradations() -> list[tuple[str, float]]:
    """The changes of pixels that all sets are composed of: every control at its full dose, or at each where pairs are
    changed by degrees."""
    return [NONE, *((name, 1.0) for name in _OF_PAIRS),
            *((name, dose) for name in ("blur", "noise", "contour") for dose in CONTROLS[name])]


def degraded(pairs: np.ndarray, masks: PairMasks, patients: np.ndarray, control: str, dose: float,
             rng: np.random.Generator) -> np.ndarray:
    """Pairs, every one of them changed.

    Args:
        pairs: `(N, 2, H, W)` float32 in [0, 1], CC first.
        masks, patients: Of these pairs.
        control, dose: One of `degradations`.
        rng: Of the noise.

    Returns:
        `(N, 2, H, W)` float32 in [0, 1].
    """
    pixel = pairs.shape[-1] / 64
    if control == "strangers":
        area = masks.breast.mean(axis=(2, 3))
        partner = nearest_area_pairing(area[:, 0], area[:, 1], patients=patients)
        return np.stack([pairs[:, 0], pairs[partner, 1]], axis=1)
    if control == "blur":
        return ndimage.gaussian_filter(pairs, (0, 0, dose * pixel, dose * pixel), mode="nearest")
    if control in ("noise", "copies"):
        noise = rng.standard_normal(pairs.shape, dtype=np.float32)
        return np.clip(pairs + (COPY_NOISE if control == "copies" else dose) * noise, 0.0, 1.0)
    if control == "contour":
        around = (1, 1, *(2 * round(pixel) + 1,) * 2)
        outline = masks.breast & ~ndimage.minimum_filter(masks.breast, around, mode="nearest")
        return np.clip(pairs + np.float32(dose) * outline[:, ::-1], 0.0, 1.0)
    return np.asarray(pairs, np.float32)


def composed(control: str, dose: float, rows: np.ndarray) -> dict[tuple[str, float], np.ndarray]:
    """What a set under a control is made of: which of the pairs `rows`, in random order, under which degradation."""
    if control in _OF_PAIRS:
        changed = max(1, round(dose * len(rows)))
        return {(control, 1.0): rows[:changed], NONE: rows[changed:]}
    if control == "collapse":
        return {NONE: np.resize(rows[:max(1, round((1.0 - dose) * len(rows)))], len(rows))}
    return {(control, dose): rows}
