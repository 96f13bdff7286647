"""Real pairs, degraded by a stated dose of one fault, and everything that is measured of them, taken once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from scipy import ndimage

from mammorgb_utils.data.geometry import block_means
from mammorgb_utils.data.pairs import HELDOUT, TRAIN
from mammorgb_utils.evaluation.anatomy import anatomy, height_over_width
from mammorgb_utils.evaluation.artefacts import artefact_flags
from mammorgb_utils.evaluation.consistency import nearest_area_pairing
from mammorgb_utils.evaluation.fidelity import DISTANCES, nearest_training, texture_features
from mammorgb_utils.evaluation.overlap import PairMasks, pair_masks, pair_metrics
from mammorgb_utils.evaluation.sets import Indexed
from mammorgb_utils.evaluation.statistics import patient_of
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

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
TO_TRAINING = [f"{name}_distance" for name in DISTANCES]  # columns of what has training pairs to be near to
_FINE = 64  # px: as fine as the search for training pairs looks


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
        partner, known = np.arange(len(pairs)), np.flatnonzero(masks.found)
        partner[known] = known[nearest_area_pairing(*masks.areas[known].T, patients=patients[known])]
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


@dataclass(frozen=True)
class Part:
    """Pairs, all that is measured of them (a row a pair, with `pair` and `patient`), and their masks."""

    rows: pd.DataFrame
    masks: PairMasks

    def take(self, rows: np.ndarray) -> Part:
        masks = PairMasks(*(getattr(self.masks, field.name)[rows] for field in fields(PairMasks)))
        return Part(self.rows.iloc[rows].reset_index(drop=True), masks)


Parts = dict[tuple[str, float], Part]  # by control and dose


def measured_pairs(heldout: Indexed, train: Indexed, n: int, protocol: Protocol) -> Parts:
    """All real pairs, held-out ones first, as they are; and the first `n` of them, all held out, under each change."""
    order = generator(protocol.seed, Stream.CONTROLS, 0).permutation(len(heldout[0]))
    pairs = np.concatenate([np.asarray(heldout[0])[order], np.asarray(train[0])]).astype(np.float32, copy=False)
    index = pd.concat([heldout[1].iloc[order], train[1]], ignore_index=True)
    names = pd.DataFrame({"pair": index["pair"], "patient": patient_of(index),
                          "heldout": np.arange(len(pairs)) < len(order)})
    n = min(n, len(order))
    small = {TRAIN: _fine(train[0]), HELDOUT: _fine(pairs[:len(order)])}
    parts = {NONE: _part(pairs, names, protocol)}
    masks, patients = parts[NONE].take(np.arange(n)).masks, names["patient"].to_numpy()[:n]
    for number, (control, dose) in enumerate(degradations()[1:]):
        rng = generator(protocol.seed, Stream.CONTROLS, 1, number)
        changed = degraded(pairs[:n], masks, patients, control, dose, rng)
        parts[control, dose] = _part(changed, names.head(n), protocol)
        if control == "copies" and len(train[0]):  # where a training pair is looked for, it is one that was copied
            source = np.asarray(train[0])[rng.permutation(len(train[0]))[np.arange(n) % len(train[0])]]
            changed = degraded(source, masks, patients, control, dose, rng)
        small[f"{control} {dose}"] = _fine(changed)
    return _with_distances(parts, small) if len(train[0]) else parts


def _fine(pairs: np.ndarray) -> np.ndarray:
    step = max(1, pairs.shape[-1] // _FINE)
    return block_means(np.asarray(pairs), step, step)


def _part(pairs: np.ndarray, names: pd.DataFrame, protocol: Protocol) -> Part:
    masks = pair_masks(pairs, protocol.mask_method)
    overlap = pair_metrics(pairs, masks=masks).drop(columns=["cc_area", "mlo_area"])  # anatomy has them, NaN for none
    found = (overlap, anatomy(pairs, masks, ratio=height_over_width(protocol)), texture_features(pairs, masks),
             artefact_flags(pairs, masks))
    return Part(pd.concat([names.reset_index(drop=True), *found], axis=1), masks)


def _with_distances(parts: Parts, small: dict[str, np.ndarray]) -> Parts:
    """The parts with the distances of every pair to its nearest training pair; of pairs held out alone."""
    nearest = nearest_training(small, {name: range(len(pairs)) for name, pairs in small.items()})
    for key, part in parts.items():
        rows = nearest[nearest["set"] == (HELDOUT if key == NONE else f"{key[0]} {key[1]}")].reset_index(drop=True)
        parts[key] = Part(part.rows.join(rows[TO_TRAINING]), part.masks)
    return parts
