"""Rates whose unit is the patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm

from mammorgb_utils.evaluation.statistics.effects import UNKNOWN, Effect, mean_variance


def wilson(successes: float, n: float, *, level: float = 0.95) -> Effect:
    """A rate with its Wilson score interval; that of `scipy.stats.binomtest`, which takes whole numbers alone.

    Args:
        successes: Count, at most `n`; needn't be a whole number, as where a patient counts by a share of the pairs.
        n: Number of trials.
        level: Coverage of the interval.

    Returns:
        Rate and interval; all NaN for `n` = 0.

    Raises:
        ValueError: More successes than trials, or fewer than none.

    Source:
        Wilson 1927.
    """
    if not 0.0 <= successes <= n:
        raise ValueError(f"wilson: {successes:g} successes of {n:g}; give a count from 0 to n")
    if n == 0:
        return UNKNOWN
    share, z2 = successes / n, float(norm.ppf(0.5 + level / 2.0)) ** 2
    centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n)
    half = float(np.sqrt(z2 * (share * (1.0 - share) / n + z2 / (4.0 * n**2)))) / (1.0 + z2 / n)
    return Effect(float(share), 0.0 if successes == 0 else float(max(centre - half, 0.0)),
                  1.0 if successes == n else float(min(centre + half, 1.0)))


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
    shares = _patient_shares(flags, groups)
    if shares.size in (0, flags.size):
        return wilson(float(flags.sum()), flags.size, level=level)
    share, n = float(shares.mean()), shares.size
    plain = share * (1.0 - share) / flags.size
    if plain > 0.0 and n > 1:
        n = flags.size / max(mean_variance(shares, np.arange(n)) / plain, 1.0)
    return wilson(share * n, n, level=level)._replace(estimate=share)


def rate_row(flags: Sequence[bool] | np.ndarray, *, groups: Sequence | None = None) -> dict[str, float]:
    """What `rate` gives, as columns of a table.

    Args:
        flags: `(N,)` bool, one a pair.
        groups: Patient of each flag; without it every flag is its own.

    Returns:
        `n` (patients), `count` (sum of their shares), `rate`, `low`, `high` (95 %); the last three NaN without a flag.
    """
    shares = _patient_shares(flags, groups)
    return {"n": shares.size, "count": float(shares.sum()),
            **dict(zip(("rate", "low", "high"), rate(flags, groups=groups), strict=True))}


def _patient_shares(flags: Sequence[bool] | np.ndarray, groups: Sequence | None) -> np.ndarray:
    """`(patients,)` share of true flags of each patient, in the order of their names."""
    groups = np.arange(len(flags)) if groups is None else np.asarray(groups)
    return pd.Series(np.asarray(flags, dtype=float)).groupby(groups).mean().to_numpy()
