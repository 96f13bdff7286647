"""Named artefacts of a pair: which it carries by thresholds frozen beforehand, and how often a set's pairs do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.artefacts.detectors import (
    Look,
    background_offset,
    checkerboard,
    cut_breast,
    edge_line,
    label_remnant,
    look_at,
    view_mismatch,
)
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.statistics import patient_of, rate_row
from mammorgb_utils.evaluation.threads import parts_on_every_core
from mammorgb_utils.protocol import SET_ORDER

# Fitted by benchmarks/artefact_thresholds.py on one phantom cohort and scored on another; a test compares.
THRESHOLDS = {
    "background_offset": 0.032,  # air's level [of the intensity scale]
    "edge_line": 0.46,  # the straight line's unbroken share [of its run]
    "label_remnant": 0.00026,  # an object's brightness times its area [of a white image]
    "cut_breast": 0.46,  # width at the image's edge [of the breast's depth]
    "view_mismatch": 0.46,  # areas' ratio, apart from the usual one [natural logarithm]
    "checkerboard": 0.92,  # power at the grid's own frequencies over that beside them [log10]
}
ANY = "any"  # the column that says whether a pair carries one of them


class Detector(NamedTuple):
    """A score, larger where the artefact is plainer, and what it must exceed."""

    score: Callable[[Look], float]
    threshold: float


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
    scores = np.concatenate(list(parts_on_every_core(_scores, pairs, masks.breast, masks.muscle)))
    return pd.DataFrame(scores, columns=list(DETECTORS))


def _scores(pairs: np.ndarray, breast: np.ndarray, muscle: np.ndarray) -> np.ndarray:
    looks = (look_at(*views) for views in zip(pairs, breast, muscle, strict=True))
    rows = [[detector.score(look) for detector in DETECTORS.values()] for look in looks]
    return np.array(rows, dtype=float).reshape(len(pairs), len(DETECTORS))


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

    By the rule of `rates.rate`, as plausible masks: a patient of several pairs counts once, by the share of them that
    is flagged.

    Args:
        flags: One row a pair: `set`, `patient` (a synthetic pair's is its own), and bool columns of `artefact_flags`.

    Returns:
        One row a set and artefact, `any` last: `set`, `artefact`, `n` (patients), `count` (sum of the
        patients' shares), `rate`, `low`, `high` (95 % Wilson interval).

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
        patients = patient_of(part.assign(pair=part.index))
        for kind in kinds:
            rows.append({"set": name, "artefact": kind} | rate_row(part[kind], groups=patients))
    return pd.DataFrame(rows, columns=["set", "artefact", "n", "count", "rate", "low", "high"])
