"""Sets, patients and bootstrap weights of the metrics tables."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from mammorgb_utils.protocol import Protocol

SET_ORDER = ("real", "sum", "absdiff", "zero")  # the order of every table and figure
CANDIDATE = "candidate"  # pairs from elsewhere that are scored like an encoding's
_CHUNK = 1_000_000  # weights held in memory at once


def sets_in(overlap: pd.DataFrame, protocol: Protocol, *, with_real: bool = False) -> list[str]:
    """Encodings of the study that the table holds, in the order of every table, then pairs from elsewhere.

    Args:
        overlap: metrics/overlap.csv, or another table with `set`; rows of sets that aren't synthetic, such as `train`,
            don't matter.
        protocol: Gives the encodings; one that isn't the study's is left out.
        with_real: Put `real` first.

    Raises:
        ValueError: The table has no `set` column or no real rows.
    """
    present = set(overlap["set"]) if "set" in overlap else set()
    if "real" not in present:
        raise ValueError("metrics/overlap.csv: no rows of the set 'real' to compare against; run 04_metrics again")
    asked = {*protocol.encodings, CANDIDATE, *(["real"] if with_real else [])}
    return [name for name in (*SET_ORDER, CANDIDATE) if name in present & asked]


def patient_of(frame: pd.DataFrame) -> np.ndarray:
    """Patient of each row as text; a synthetic pair, which has none, is its own.

    Args:
        frame: Rows of metrics/overlap.csv, with `pair` and, where known, `set` and `patient`.
    """
    own = "pair " + frame["pair"].astype(str)
    if "set" in frame:
        own = frame["set"].astype(str) + " " + own
    if "patient" not in frame:
        return own.to_numpy(str)
    return frame["patient"].astype(object).where(frame["patient"].notna(), own).astype(str).to_numpy(str)


def patient_weights(n_patients: int, n_draws: int, rng: np.random.Generator, *, n_values: int) -> Iterator[np.ndarray]:
    """Bootstrap over patients as weights: how often each patient is drawn. A column is a draw.

    Args:
        n_patients: Number of patients.
        n_draws: Bootstrap draws in all.
        rng: Source of randomness.
        n_values: Values that are weighted so; the more, the fewer draws are held in memory at once.

    Yields:
        `(n_patients, draws of this block)` int32; every column sums to `n_patients`.
    """
    block = max(1, _CHUNK // max(n_values, n_patients, 1))
    for start in range(0, n_draws, block):
        size = min(block, n_draws - start)
        drawn = rng.integers(n_patients, size=(size, n_patients)) * size + np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_patients).reshape(n_patients, size).astype(np.int32)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median of values that each count as often as their weight says.

    Weights are added up in about √N groups first, and one by one only where the middle lies.

    Args:
        values: `(N,)` values, ascending.
        weights: `(N, B)` whole numbers ≥ 0.

    Returns:
        `(B,)` medians; NaN where all weights are 0.
    """
    width = max(1, math.isqrt(len(values)))
    groups = np.cumsum([weights[start:start + width].sum(axis=0) for start in range(0, len(values), width)], axis=0)
    total = groups[-1]
    lower, upper = (_place(weights, groups, target, width) for target in ((total + 1) // 2, total // 2 + 1))
    return np.where(total > 0, (values[lower] + values[upper]) / 2.0, np.nan)


def _place(weights: np.ndarray, groups: np.ndarray, target: np.ndarray, width: int) -> np.ndarray:
    """`(B,)` first rows at which each column's running sum reaches its target."""
    draws = np.arange(weights.shape[1])
    group = np.argmax(groups >= target, axis=0)
    rows = np.minimum(group * width + np.arange(width)[:, None], len(weights) - 1)  # the last row may repeat
    before = np.where(group > 0, groups[group - 1, draws], 0)
    return np.minimum(group * width + np.argmax(before + np.cumsum(weights[rows, draws], axis=0) >= target, axis=0),
                      len(weights) - 1)
