"""Every measure of every real pair, as it is and under each degradation, taken once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from mammorgb_utils.data.geometry import block_means
from mammorgb_utils.data.pairs import HELDOUT, TRAIN
from mammorgb_utils.evaluation.anatomy import anatomy, height_over_width
from mammorgb_utils.evaluation.artefacts import artefact_flags
from mammorgb_utils.evaluation.controls.degrade import NONE, degradations, degraded
from mammorgb_utils.evaluation.fidelity import DISTANCES, nearest_training, texture_features
from mammorgb_utils.evaluation.overlap import PairMasks, pair_masks, pair_metrics
from mammorgb_utils.evaluation.sets import Indexed
from mammorgb_utils.evaluation.statistics import patient_of
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

TO_TRAINING = [f"{name}_distance" for name in DISTANCES]  # columns of what has training pairs to be near to
_FINE = 64  # px: as fine as the search for training pairs looks


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
