"""Sets, patients and bootstrap weights of the metrics tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mammorgb_utils.protocol import Protocol

SET_ORDER = ("real", "sum", "absdiff", "zero")  # the order of every table and figure
CANDIDATE = "candidate"  # pairs from elsewhere that are scored like an encoding's


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


def patient_weights(n_patients: int, n_draws: int, rng: np.random.Generator, *, block: int) -> Iterator[np.ndarray]:
    """Bootstrap over patients as weights: how often each patient is drawn.

    Args:
        n_patients: Number of patients.
        n_draws: Bootstrap draws in all.
        rng: Source of randomness.
        block: Draws held in memory at once.

    Yields:
        `(≤ block, n_patients)` int32; every row sums to `n_patients`.
    """
    for start in range(0, n_draws, block):
        size = min(block, n_draws - start)
        drawn = rng.integers(n_patients, size=(size, n_patients)) + n_patients * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_patients).reshape(size, n_patients).astype(np.int32)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median of values that each count as often as their weight says.

    Args:
        values: `(N,)` values.
        weights: `(B, N)` whole numbers ≥ 0.

    Returns:
        `(B,)` medians; NaN where all weights are 0.
    """
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[:, order], axis=1, dtype=np.int64)
    total = below[:, -1:]
    lower = np.argmax(2 * below >= total, axis=1)
    upper = np.argmax(2 * below > total, axis=1)
    medians = (values[order][lower] + values[order][upper]) / 2.0
    return np.where(total[:, 0] > 0, medians, np.nan)
