"""Effect sizes and rates with intervals, and rank tests; the unit is the patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import mannwhitneyu, norm, rankdata

_FEW = 20  # patients a sample, below which a variance is at least that under equality
_STEP = 1e-9  # of an area, beside the observed one


class Effect(NamedTuple):
    """An estimate with its interval."""

    estimate: float
    low: float
    high: float

    def columns(self, name: str) -> dict[str, float]:
        """As columns of a table: `name`, `name_low`, `name_high`."""
        return dict(zip((name, f"{name}_low", f"{name}_high"), self, strict=True))


UNKNOWN = Effect(np.nan, np.nan, np.nan)


def mann_whitney(x: np.ndarray, y: np.ndarray, *, groups: Sequence | None = None) -> float:
    """Two-sided p-value of the Mann–Whitney test; scipy's, unless patients have several values.

    Args:
        x, y, groups: As `dominance` takes them.
    """
    if groups is None or len(set(groups)) == len(groups):
        return float(mannwhitneyu(x, y, alternative="two-sided").pvalue)
    delta, variance = dominance(x, y, groups=groups)
    if variance == 0.0:
        return 0.0 if delta else 1.0
    return float(2.0 * norm.sf(abs(delta) / np.sqrt(variance)))


def cliffs_delta(x: np.ndarray, y: np.ndarray, *, level: float = 0.95, groups: Sequence | None = None) -> Effect:
    """Cliff's delta: the chance that a value of `x` exceeds one of `y`, minus the reverse.

    Args:
        x, y, groups: As `dominance` takes them.
        level: Coverage of the interval.

    Returns:
        Estimate in [−1, 1] with Cliff's asymmetric interval, which stays inside that range. Where the samples don't
        overlap or don't vary, placement values have no variance, and the interval is `separated_area`'s. Bounds are
        NaN when a sample has one patient alone.

    Source:
        Cliff 1993; variance by placement values (DeLong 1988; for clusters, Obuchowski 1997).
    """
    delta, variance = dominance(x, y, groups=groups)
    if not np.isfinite(variance):
        return Effect(delta, np.nan, np.nan)
    if variance == 0.0:
        low, high = separated_area((delta + 1.0) / 2.0, *patients_in(len(x), len(y), groups), level=level)
        return Effect(delta, 2.0 * low - 1.0, 2.0 * high - 1.0)
    z2 = norm.ppf(0.5 + level / 2.0) ** 2
    half = np.sqrt(z2 * variance * ((1.0 - delta**2) ** 2 + z2 * variance))
    scale = 1.0 - delta**2 + z2 * variance
    centre = delta - delta**3
    return Effect(delta, float(max((centre - half) / scale, -1.0)), float(min((centre + half) / scale, 1.0)))


def hodges_lehmann(x: np.ndarray, y: np.ndarray, *, level: float = 0.95, groups: Sequence | None = None) -> Effect:
    """Hodges–Lehmann shift: the median of all differences `x − y`, with a rank interval.

    Args:
        x, y, groups: As `dominance` takes them.
        level: Coverage of the interval.

    Returns:
        Estimate and interval in the unit of the values; positive when `x` lies above `y`. Bounds are NaN when the
        samples are too small for an interval of this level.

    Source:
        Hodges and Lehmann 1963. The interval's ranks are Moses', from the normal approximation of the Mann–Whitney
        statistic, with its variance at the shift found (Fligner and Policello 1981) instead of that under equality:
        sets that differ in spread are covered too.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    differences = np.subtract.outer(x, y).ravel()
    estimate = float(np.median(differences))
    variance = dominance(x - estimate, y, groups=groups)[1] / 4.0  # of the share of wins, the samples moved together
    if min(patients_in(x.size, y.size, groups)) < _FEW:  # too few to know it; NaN for a patient alone stays
        variance = np.maximum(variance, (x.size + y.size + 1.0) / (12.0 * differences.size))
    reach = norm.ppf(0.5 + level / 2.0) * np.sqrt(variance)
    if not reach < 0.5 - 1.0 / differences.size:
        return Effect(estimate, np.nan, np.nan)
    rank = int(differences.size * (0.5 - reach))
    bounds = np.partition(differences, (rank - 1, -rank))
    return Effect(estimate, float(bounds[rank - 1]), float(bounds[-rank]))


def equivalence(x: np.ndarray, y: np.ndarray, *, margin: float, alpha: float = 0.05,
                groups: Sequence | None = None) -> str:
    """Whether the shift between two samples lies inside ±margin: two one-sided tests at `alpha`.

    Args:
        x, y, groups: As `dominance` takes them.
        margin: Equivalence margin in the unit of the values, fixed beforehand.
        alpha: Level of each one-sided test.

    Returns:
        "equivalent" when the 1 − 2·alpha interval of the shift lies inside ±margin, "beyond margin" when the
        1 − alpha interval lies outside it, otherwise "inconclusive".
    """
    inner = hodges_lehmann(x, y, level=1.0 - 2.0 * alpha, groups=groups)
    if -margin < inner.low and inner.high < margin:
        return "equivalent"
    outer = hodges_lehmann(x, y, level=1.0 - alpha, groups=groups)
    return "beyond margin" if outer.low > margin or outer.high < -margin else "inconclusive"


def dominance(x: np.ndarray, y: np.ndarray, *, groups: Sequence | None = None) -> tuple[float, float]:
    """Cliff's delta and its variance, from the mean dominance of each value over the other sample.

    Args:
        x, y: One-dimensional samples, finite.
        groups: Patient of each value, first those of `x`, then those of `y`; the variance is then that between
            patients.

    Returns:
        `(delta, variance)`; the variance is NaN when a sample has one patient alone. The area under the ROC curve
        is `(delta + 1) / 2`.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    ranks = rankdata(np.concatenate([x, y]))
    over_y = 2.0 * (ranks[:x.size] - rankdata(x)) / y.size - 1.0
    over_x = 2.0 * (ranks[x.size:] - rankdata(y)) / x.size - 1.0
    groups = np.arange(x.size + y.size) if groups is None else np.asarray(groups)
    variance = mean_variance(over_y, groups[:x.size]) + mean_variance(over_x, groups[x.size:])
    return float(over_y.mean()), variance


def mean_variance(values: np.ndarray, groups: np.ndarray) -> float:
    """Variance of the mean of `(N,)` values whose independent units are groups; NaN with one group alone."""
    codes = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(codes, weights=values - values.mean())
    n = sums.size
    return float(n / (n - 1) * np.sum(sums**2) / values.size**2) if n > 1 else float("nan")


def patients_in(n: int, m: int, groups: Sequence | None) -> tuple[int, int]:
    """How many patients two samples of `n` and `m` values have; without groups, every value is its own."""
    return (n, m) if groups is None else (len(set(groups[:n])), len(set(groups[n:])))


def separated_area(area: float, n: int, m: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of an area under the ROC curve at the sizes of its two samples: for samples that don't overlap.

    Returns:
        The areas whose own variance, that of Hanley and McNeil, doesn't exclude the observed one.

    Source:
        Newcombe 2006, method 5.
    """
    z = norm.ppf(0.5 + level / 2.0)

    def excess(truth: float) -> float:
        alike = (1.0 - truth) / (2.0 - truth) + truth / (1.0 + truth)
        variance = truth * (1.0 - truth) * (1.0 + ((n + m) / 2.0 - 1.0) * alike) / (n * m)
        return abs(truth - area) - z * np.sqrt(variance)

    # at 0 and 1 the excess has a second, trivial root, which the small step leaves out
    low = brentq(excess, 0.0, area - _STEP) if area > _STEP else 0.0
    high = brentq(excess, area + _STEP, 1.0) if area < 1.0 - _STEP else 1.0
    return float(low), float(high)


def wilson(successes: float, n: float, *, level: float = 0.95) -> Effect:
    """A rate with its Wilson score interval; that of `scipy.stats.binomtest`, which takes whole numbers alone.

    Args:
        successes: Count; needn't be a whole number, as where a patient counts by a share of the pairs.
        n: Number of trials.
        level: Coverage of the interval.

    Returns:
        Rate and interval; all NaN for `n` = 0.

    Raises:
        ValueError: More successes than trials, or fewer than none.
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


def rate(flags: Sequence[bool] | np.ndarray, *, groups: Sequence | None = None) -> Effect:
    """Share of true flags with its 95 % Wilson interval; a patient of several counts once, by the share of them.

    Plausible masks and artefacts are both counted so: sets with one and with two breasts a patient compare.

    Args:
        flags: `(N,)` bool, one a pair.
        groups: Patient of each flag; without it every flag is its own.

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
        return wilson(float(flags.sum()), flags.size)
    share, n = float(shares.mean()), shares.size
    plain = share * (1.0 - share) / flags.size
    if plain > 0.0 and n > 1:
        n = flags.size / max(mean_variance(shares, np.arange(n)) / plain, 1.0)
    return wilson(share * n, n)._replace(estimate=share)


def rate_row(flags: Sequence[bool] | np.ndarray, *, groups: Sequence | None = None) -> dict[str, float]:
    """What `rate` gives, as the columns `n` (patients), `count` (sum of their shares), `rate`, `low`, `high`."""
    shares = _patient_shares(flags, groups)
    share, low, high = rate(flags, groups=groups)
    return {"n": shares.size, "count": float(shares.sum()), "rate": share, "low": low, "high": high}


def _patient_shares(flags: Sequence[bool] | np.ndarray, groups: Sequence | None) -> np.ndarray:
    """`(patients,)` share of true flags of each patient, in the order of their names."""
    groups = np.arange(len(flags)) if groups is None else np.asarray(groups)
    return pd.Series(np.asarray(flags, dtype=float)).groupby(groups).mean().to_numpy()
