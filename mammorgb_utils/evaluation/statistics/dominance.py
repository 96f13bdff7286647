"""How often the values of one sample exceed those of another: what the rank statistics are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

_STEP = 1e-9  # of an area, beside the observed one


def dominance(x: np.ndarray, y: np.ndarray, *, groups: Sequence | None = None) -> tuple[float, float]:
    """Cliff's delta and its variance, from the mean dominance of each value over the other sample.

    Args:
        x, y: One-dimensional samples, finite.
        groups: Patient of each value, `x` first; the variance is then that between patients.

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
    """Variance of a mean whose independent units are groups; NaN with one group alone.

    Args:
        values: `(N,)` values.
        groups: Group of each value.
    """
    _, codes = np.unique(groups, return_inverse=True)
    sums = np.bincount(codes, weights=values - values.mean())
    n = sums.size
    return float(n / (n - 1) * np.sum(sums**2) / values.size**2) if n > 1 else float("nan")


def patients_in(n: int, m: int, groups: Sequence | None) -> tuple[int, int]:
    """How many patients two samples of `n` and `m` values have; without groups, every value is its own."""
    if groups is None:
        return n, m
    groups = np.asarray(groups)
    return len(np.unique(groups[:n])), len(np.unique(groups[n:]))


def separated_area(area: float, n: int, m: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of an area under the ROC curve at the sizes of its two samples: for samples that don't overlap.

    Args:
        area: Observed area in [0, 1].
        n, m: Sample sizes.
        level: Coverage of the interval.

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


def ranked_differences(x: np.ndarray, y: np.ndarray, ranks: Sequence[int]) -> list[float]:
    """Some of the differences `x − y` in rising order, without making and sorting them all.

    Args:
        x, y: One-dimensional samples, finite.
        ranks: Places asked for, from 1 to the number of differences.
    """
    x, y = np.sort(np.asarray(x, float)), np.sort(np.asarray(y, float))
    slack = 1e-12 * max(np.ptp(x), np.ptp(y), abs(x[0] - y[0]))  # rounding at the bracket's ends
    return [_ranked_difference(x, y, rank, slack) for rank in ranks]


def _ranked_difference(x: np.ndarray, y: np.ndarray, rank: int, slack: float) -> float:
    """Halve a bracket around the difference until few are in it, then sort those."""
    low, high = x[0] - y[-1], x[-1] - y[0]
    first, end = np.zeros(x.size, int), np.full(x.size, y.size)  # of y, the places whose differences are in it
    while np.sum(end - first) > 4 * (x.size + y.size) and high - low > 4.0 * slack:
        middle = (low + high) / 2.0
        places = np.searchsorted(y, x - middle - slack, side="left")
        if np.sum(y.size - places) >= rank:
            high, first = middle, places
        else:
            low, end = middle, np.searchsorted(y, x - middle + slack, side="right")
    size = end - first
    column = np.arange(size.sum()) + np.repeat(first - np.cumsum(size) + size, size)
    below = int(np.sum(y.size - end))
    return float(np.partition(np.repeat(x, size) - y[column], rank - 1 - below)[rank - 1 - below])
