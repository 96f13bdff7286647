"""Rates whose unit is the patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.statistics.dominance import mean_variance
from mammorgb_utils.evaluation.statistics.effects import Effect, wilson


def rate(flags: Sequence[bool] | np.ndarray, *, groups: Sequence | None = None, level: float = 0.95) -> Effect:
    """Share of true flags with its Wilson interval; a patient of several counts once, by the share of them.

    Plausible masks and artefacts are both counted so: sets with one and with two breasts a patient compare.

    Args:
        flags: `(N,)` bool, one a pair.
        groups: Patient of each flag; without it every flag is its own.
        level: Coverage of the interval.

    Returns:
        Mean of the patients' shares, and interval; all NaN without a flag. Where patients have several flags, N is
        divided by the design effect, the variance of the share between patients over that of independent flags,
        which is at least 1. Where all flags are alike, N is the number of patients.

    Source:
        Wilson 1927; effective size after Korn and Graubard 1998.
    """
    flags = np.asarray(flags, dtype=float)
    shares = patient_shares(flags, np.arange(flags.size) if groups is None else groups)
    if shares.size in (0, flags.size):
        return wilson(float(flags.sum()), flags.size, level=level)
    share = float(shares.mean())
    plain = share * (1.0 - share) / flags.size
    if plain == 0.0 or shares.size == 1:
        return _of_share(share, shares.size, level)
    effect = max(mean_variance(shares, np.arange(shares.size)) / plain, 1.0)
    return _of_share(share, flags.size / effect, level)


def rate_row(flags: Sequence[bool] | np.ndarray, *, groups: Sequence | None = None) -> dict[str, float]:
    """What `rate` gives, as columns of a table.

    Args:
        flags: `(N,)` bool, one a pair.
        groups: Patient of each flag; without it every flag is its own.

    Returns:
        `n` (patients), `count` (sum of their shares), `rate`, `low`, `high` (95 %); the last three NaN without a flag.
    """
    shares = patient_shares(flags, np.arange(len(flags)) if groups is None else groups)
    return {"n": shares.size, "count": float(shares.sum()),
            **dict(zip(("rate", "low", "high"), rate(flags, groups=groups), strict=True))}


def patient_shares(flags: Sequence[bool] | np.ndarray, groups: Sequence) -> np.ndarray:
    """`(patients,)` share of true flags of each patient, in the order of their names."""
    return pd.Series(np.asarray(flags, dtype=float)).groupby(np.asarray(groups)).mean().to_numpy()


def _of_share(share: float, n: float, level: float) -> Effect:
    return wilson(share * n, n, level=level)._replace(estimate=share)
