"""Effect sizes with intervals, tests, and adjustments for many of them; the unit is the patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control, kstwo, mannwhitneyu, norm

from mammorgb_utils.evaluation.statistics.dominance import dominance, patients_in, ranked_differences, separated_area
from mammorgb_utils.streams import Stream, generator

MIN_POWER = 0.80  # a test below it prints *underpowered*
_FEW = 20  # patients a sample, below which a variance is at least that under equality


class Effect(NamedTuple):
    """An estimate with its interval."""

    estimate: float
    low: float
    high: float


def mann_whitney(x: np.ndarray, y: np.ndarray, *, groups: Sequence | None = None) -> float:
    """Two-sided p-value of the Mann–Whitney test.

    Args:
        x, y: One-dimensional samples, finite.
        groups: Patient of each value, first those of `x`, then those of `y`. When a patient has several values,
            the variance is that between patients; otherwise scipy's test is used as it is.
    """
    if not _clustered(groups):
        return float(mannwhitneyu(x, y, alternative="two-sided").pvalue)
    delta, variance = dominance(x, y, groups=groups)
    if variance == 0.0:
        return 0.0 if delta else 1.0
    return float(2.0 * norm.sf(abs(delta) / np.sqrt(variance)))


def cliffs_delta(x: np.ndarray, y: np.ndarray, *, level: float = 0.95, groups: Sequence | None = None) -> Effect:
    """Cliff's delta: the chance that a value of `x` exceeds one of `y`, minus the reverse.

    Args:
        x, y: One-dimensional samples, finite, at least two values each for an interval.
        level: Coverage of the interval.
        groups: Patient of each value, `x` first; the variance is then that between patients.

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
        x, y: One-dimensional samples, finite.
        level: Coverage of the interval.
        groups: Patient of each value, `x` first; the interval then takes the variance between patients.

    Returns:
        Estimate and interval in the unit of the values; positive when `x` lies above `y`. Bounds are NaN when the
        samples are too small for an interval of this level.

    Source:
        Hodges and Lehmann 1963. The interval's ranks are Moses', from the normal approximation of the Mann–Whitney
        statistic, with its variance at the shift found (Fligner and Policello 1981) instead of that under equality:
        sets that differ in spread are covered too.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    count = x.size * y.size
    estimate = sum(ranked_differences(x, y, [(count + 1) // 2, count // 2 + 1])) / 2.0
    reach = norm.ppf(0.5 + level / 2.0) * _spread_of_wins(x - estimate, y, groups)
    if not reach < 0.5 - 1.0 / count:
        return Effect(estimate, float("nan"), float("nan"))
    rank = int(np.floor(count * (0.5 - reach)))
    return Effect(estimate, *ranked_differences(x, y, [rank, count - rank + 1]))


def _spread_of_wins(x: np.ndarray, y: np.ndarray, groups: Sequence | None) -> float:
    """Standard deviation of the share of pairs in which `x` wins, for samples moved onto each other."""
    found = dominance(x, y, groups=groups)[1] / 4.0
    if min(patients_in(x.size, y.size, groups)) < _FEW:  # too few to know it; NaN for a patient alone stays
        found = np.maximum(found, (x.size + y.size + 1.0) / (12.0 * x.size * y.size))
    return float(np.sqrt(found))


def equivalence(x: np.ndarray, y: np.ndarray, *, margin: float, alpha: float = 0.05,
                groups: Sequence | None = None) -> str:
    """Whether the shift between two samples lies inside ±margin: two one-sided tests at `alpha`.

    Args:
        x, y: One-dimensional samples, finite.
        margin: Equivalence margin in the unit of the values, fixed beforehand.
        alpha: Level of each one-sided test.
        groups: Patient of each value, `x` first.

    Returns:
        "equivalent" when the 1 − 2·alpha interval of the shift lies inside ±margin, "beyond margin" when the
        1 − alpha interval lies outside it, otherwise "inconclusive".
    """
    inner = hodges_lehmann(x, y, level=1.0 - 2.0 * alpha, groups=groups)
    if -margin < inner.low and inner.high < margin:
        return "equivalent"
    outer = hodges_lehmann(x, y, level=1.0 - alpha, groups=groups)
    return "beyond margin" if outer.low > margin or outer.high < -margin else "inconclusive"


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment, which holds the family-wise error rate.

    Args:
        p: p-values; NaN marks a test that couldn't run, is kept, and isn't counted.

    Source:
        Holm 1979.
    """
    p = np.asarray(p, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1)))
    return adjusted


def benjamini_hochberg(p: Sequence[float]) -> np.ndarray:
    """Benjamini–Hochberg adjustment, which holds the false discovery rate of the exploratory tests.

    Args:
        p: p-values; NaN marks a test that couldn't run, is kept, and isn't counted.
    """
    p = np.asarray(p, dtype=float)
    known = ~np.isnan(p)
    adjusted = np.full(p.shape, np.nan)
    if known.any():
        adjusted[known] = false_discovery_control(p[known], method="bh")
    return adjusted


def wilson(successes: float, n: float, *, level: float = 0.95) -> Effect:
    """A rate with its Wilson score interval.

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
        return Effect(float("nan"), float("nan"), float("nan"))
    share, z2 = successes / n, float(norm.ppf(0.5 + level / 2.0)) ** 2
    centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n)
    half = float(np.sqrt(z2 * (share * (1.0 - share) / n + z2 / (4.0 * n**2)))) / (1.0 + z2 / n)
    return Effect(float(share), 0.0 if successes == 0 else float(max(centre - half, 0.0)),
                  1.0 if successes == n else float(min(centre + half, 1.0)))


def ks_p(statistic: float, n: int, m: int) -> float:
    """Large-sample p-value of a two-sample Kolmogorov–Smirnov statistic."""
    return float(kstwo.sf(statistic, round(n * m / (n + m))))


def ks_critical(n: int, m: int, *, alpha: float = 0.05) -> float:
    """Large-sample critical value of the two-sample Kolmogorov–Smirnov statistic."""
    return float(kstwo.isf(alpha, round(n * m / (n + m))))


def ks_power(n: int, m: int, shift_sd: float, *, alpha: float = 0.05, n_draws: int = 400, seed: int = 0) -> float:
    """Power of the Kolmogorov–Smirnov test against a shift of two normal samples, by simulation.

    Args:
        n, m: Sample sizes.
        shift_sd: Shift in standard deviations.
        alpha: Level of the test.
        n_draws: Simulated studies.
        seed: Seed of the simulation.

    Returns:
        Share of the studies that reject equality.
    """
    rng = generator(seed, Stream.KS_POWER)
    statistics = _ks_rows(rng.normal(shift_sd, 1.0, (n_draws, n)), rng.normal(0.0, 1.0, (n_draws, m)))
    return float(np.mean(statistics >= ks_critical(n, m, alpha=alpha)))


def ks_null_mean(n: int, m: int, *, n_draws: int = 2000, seed: int = 0) -> float:
    """Mean Kolmogorov–Smirnov statistic of two samples from one continuous population."""
    rng = generator(seed, Stream.KS_NULL_MEAN)
    return float(np.mean(_ks_rows(rng.random((n_draws, n)), rng.random((n_draws, m)))))


def _ks_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kolmogorov–Smirnov statistic of each row of `x` against the same row of `y`; no ties."""
    n, m = x.shape[1], y.shape[1]
    is_x = np.argsort(np.concatenate([x, y], axis=1), axis=1) < n
    return np.abs(np.cumsum(np.where(is_x, 1.0 / n, -1.0 / m), axis=1)).max(axis=1)


def _clustered(groups: Sequence | None) -> bool:
    return groups is not None and len(np.unique(np.asarray(groups))) < len(groups)
