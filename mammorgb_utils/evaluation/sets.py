"""Pairs from anywhere beside the real pairs of a study, with the masks that every measure works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.overlap import PairMasks, pair_masks
from mammorgb_utils.evaluation.statistics import CANDIDATE, MIN_PAIRS
from mammorgb_utils.protocol import Protocol

SETS = ("real", CANDIDATE)


class ScoreError(ValueError):
    """Pairs can't be scored; the message says why and what to do."""


@dataclass(frozen=True)
class ScoredSets:
    """What every measure of a score works on; both sets by name.

    Attributes:
        pairs: `(N, 2, H, W)` float32 in [0, 1], CC first.
        masks: Of these pairs, by the protocol's method.
        names, patients: `(N,)` text.
        train: `(N, 2, H, W)` the study's training pairs.
        protocol: The study's.
    """

    pairs: dict[str, np.ndarray]
    masks: dict[str, PairMasks]
    names: dict[str, np.ndarray]
    patients: dict[str, np.ndarray]
    train: np.ndarray
    protocol: Protocol


def scored_sets(candidate: np.ndarray, real: np.ndarray, index: pd.DataFrame, train: np.ndarray, protocol: Protocol, *,
                patients: np.ndarray | None = None) -> ScoredSets:
    """Put candidate and real pairs side by side and find their masks.

    Args:
        candidate: `(N, 2, H, W)` float in [0, 1], CC first, chest wall on the left.
        real: `(M, 2, H, W)` real pairs of the study.
        index: Row by row `pair` and `patient` of `real`.
        train: Training pairs of the study.
        protocol: The study's.
        patients: `(N,)` who belongs together in `candidate`; by default each pair is a patient.

    Raises:
        ScoreError: Sizes differ, or a set is too small for any test.
    """
    for name, pairs in (("candidate", candidate), ("real", real)):
        if len(pairs) < MIN_PAIRS:
            raise ScoreError(f"{len(pairs)} {name} pairs; at least {MIN_PAIRS} are needed, and some hundreds for "
                             "intervals that say something")
    if len(index) != len(real):
        raise ScoreError(f"the study's index names {len(index)} real pairs, its array {len(real)}: one of them is "
                         "of another study; run 01_preprocess again")
    if candidate.shape[1:] != real.shape[1:]:
        raise ScoreError(f"candidate pairs are {candidate.shape[2]} × {candidate.shape[3]}, the study's "
                         f"{real.shape[2]} × {real.shape[3]}; score them against a study of their size")
    owner = np.arange(len(candidate)) if patients is None else np.asarray(patients)
    return ScoredSets(
        pairs={"real": real, CANDIDATE: candidate},
        masks={name: pair_masks(pairs, protocol.mask_method) for name, pairs in zip(SETS, (real, candidate),
                                                                                   strict=True)},
        names={"real": index["pair"].to_numpy(str), CANDIDATE: _numbered(np.arange(len(candidate)))},
        patients={"real": index["patient"].to_numpy(str), CANDIDATE: _numbered(owner)}, train=train, protocol=protocol)


def _numbered(numbers: np.ndarray) -> np.ndarray:
    return np.array([f"{CANDIDATE}-{number:05d}" for number in numbers])
