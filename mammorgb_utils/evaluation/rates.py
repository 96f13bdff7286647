"""Rates whose unit is the patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from mammorgb_utils.evaluation.dominance import mean_variance
from mammorgb_utils.evaluation.hypothesis_tests import Effect, wilson


def rate(flags: Sequence[bool] | np.ndarray, *, groups: Sequence | None = None, level: float = 0.95) -> Effect:
    """Share of true flags with its Wilson interval; several values of a patient count for fewer.

    Args:
        flags: `(N,)` bool, one a pair.
        groups: Patient of each flag; without it every flag is its own.
        level: Coverage of the interval.

    Returns:
        Share and interval; all NaN without a flag. Where patients have several flags, N is divided by the design
        effect, the variance of the share between patients over that of independent flags, which is at least 1.
        Where all flags are alike, N is the number of patients.

    Source:
        Wilson 1927; effective size after Korn and Graubard 1998.
    """
    flags = np.asarray(flags, dtype=bool)
    if flags.size == 0:
        return Effect(float("nan"), float("nan"), float("nan"))
    n_patients = flags.size if groups is None else len(np.unique(np.asarray(groups)))
    if n_patients == flags.size:
        return wilson(int(flags.sum()), flags.size, level=level)
    share = float(flags.mean())
    plain = share * (1.0 - share) / flags.size
    if plain == 0.0 or n_patients == 1:
        return _wilson_of(share, n_patients, level)
    effect = max(mean_variance(flags.astype(float), np.asarray(groups)) / plain, 1.0)
    return _wilson_of(share, flags.size / effect, level)


def _wilson_of(share: float, n: float, level: float) -> Effect:
    """Wilson's interval for a size that needn't be whole."""
    z2 = float(norm.ppf(0.5 + level / 2.0)) ** 2
    centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n)
    half = np.sqrt(z2 * (share * (1.0 - share) / n + z2 / (4.0 * n**2))) / (1.0 + z2 / n)
    return Effect(share, float(max(centre - half, 0.0)), float(min(centre + half, 1.0)))
