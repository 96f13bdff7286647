"""Distances between two samples, with the two nulls that give them meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp, wasserstein_distance

from mammorgb_utils.streams import Stream, generator

Statistic = Callable[[np.ndarray, np.ndarray], float]

_CHUNK = 200_000  # labels at once: what fits a core's cache is done twice as fast as what doesn't
_TIE = 1e-12  # a draw that differs from the observed value by rounding alone counts as a tie


class NullBand(NamedTuple):
    """Central band of a statistic under equality, and the p-value of the observed value."""

    low: float
    median: float
    high: float
    p: float


class NoiseFloor(NamedTuple):
    """Central band of a statistic between disjoint parts of one sample, and the size of the drawn part."""

    low: float
    median: float
    high: float
    n: int


def emd(x: np.ndarray, y: np.ndarray) -> float:
    """Earth Mover's Distance (first Wasserstein distance) of two samples, in the unit of the values.

    Args:
        x, y: One-dimensional samples, any lengths ≥ 1, finite.

    Returns:
        Area between the two empirical distribution functions, ≥ 0.

    Raises:
        ValueError: A sample is empty or holds NaN, which must be counted and left out first.

    Source:
        The paper reports it as EMD; unnormalised, as its 0.020 of an IoU implies.
    """
    return float(wasserstein_distance(_sample(x, "x"), _sample(y, "y")))


def ks(x: np.ndarray, y: np.ndarray) -> float:
    """Two-sample Kolmogorov–Smirnov statistic: the largest gap between the distribution functions.

    Args:
        x, y: One-dimensional samples, any lengths ≥ 1, finite.

    Returns:
        Statistic in [0, 1].

    Raises:
        ValueError: A sample is empty or holds NaN, which must be counted and left out first.
    """
    return float(ks_2samp(_sample(x, "x"), _sample(y, "y"), method="asymp").statistic)


def null_band(x: np.ndarray, y: np.ndarray, statistic: Statistic, *, n_draws: int, level: float, seed: int,
              groups: Sequence | None = None) -> NullBand:
    """Distribution of a statistic when the labels *x* and *y* mean nothing, by permutation.

    Args:
        x, y: One-dimensional samples, finite.
        statistic: `emd` or `ks` (vectorised), or any function of two samples.
        n_draws: Permutations of the pooled labels.
        level: Coverage of the central band, as 0.95.
        seed: Seed of the permutations.
        groups: Patient of each value, first those of `x`, then those of `y`. A patient's values then keep
            one label together; without it, every value is its own patient.

    Returns:
        Band and p = (b + 1) / (B + 1), b being the draws at least as large as the observed value.

    Raises:
        ValueError: A sample is empty or holds NaN, the groups have another length, or a patient is in both samples.
    """
    x, y = _sample(x, "x"), _sample(y, "y")
    pooled = np.concatenate([x, y])
    codes, n_groups, n_first = _groups(groups, x.size, y.size)
    rng, order = generator(seed, Stream.NULL_BAND), np.argsort(pooled, kind="stable")
    pooled, codes = pooled[order], codes[order]
    draws = np.concatenate([_batch(statistic, pooled, labels[:, codes])
                            for labels in _label_draws(rng, n_draws, n_groups, n_first, pooled.size)])
    observed = _batch(statistic, pooled, (order < x.size)[None])[0]
    p = (np.count_nonzero(draws >= observed - _TIE) + 1) / (n_draws + 1)
    return NullBand(*_band(draws, level), float(p))


def noise_floor(real: np.ndarray, n: int, statistic: Statistic, *, n_draws: int, seed: int, level: float = 0.95,
                groups: Sequence | None = None) -> NoiseFloor:
    """How far real data lie from real data: `n` drawn without replacement against all the others.

    Args:
        real: One-dimensional sample, finite.
        n: Patients drawn (values, when `groups` isn't given); fewer than the sample has.
        statistic: `emd` or `ks` (vectorised), or any function of two samples.
        n_draws: Number of divisions.
        seed: Seed of the divisions.
        level: Coverage of the central band.
        groups: Patient of each value; a patient's values stay together.

    Raises:
        ValueError: `n` leaves one side empty.
    """
    real = _sample(real, "real")
    codes = np.unique(np.asarray(groups), return_inverse=True)[1] if groups is not None else np.arange(real.size)
    n_groups = int(codes.max()) + 1
    if not 0 < n < n_groups:
        raise ValueError(f"n: {n} of {n_groups} real patients leave one side empty; draw fewer")
    rng, order = generator(seed, Stream.NOISE_FLOOR), np.argsort(real, kind="stable")
    real, codes = real[order], codes[order]
    draws = np.concatenate([_batch(statistic, real, labels[:, codes])
                            for labels in _label_draws(rng, n_draws, n_groups, n, real.size)])
    return NoiseFloor(*_band(draws, level), int(n))


def _groups(groups: Sequence | None, n_x: int, n_y: int) -> tuple[np.ndarray, int, int]:
    """Group number of each pooled value, the number of groups, and how many belong to `x`."""
    if groups is None:
        return np.arange(n_x + n_y), n_x + n_y, n_x
    if len(groups) != n_x + n_y:
        raise ValueError(f"groups: {len(groups)} patients for {n_x} + {n_y} values; name one a value, x first")
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    in_x, in_y = np.unique(codes[:n_x]), np.unique(codes[n_x:])
    if np.intersect1d(in_x, in_y).size:
        shared = names[np.intersect1d(in_x, in_y)[0]]
        raise ValueError(f"groups: patient {str(shared)!r} is in both samples; make the sets patient-disjoint")
    return codes, len(names), len(in_x)


def _label_draws(rng: np.random.Generator, n_draws: int, n_groups: int, n_first: int,
                 n_values: int) -> Iterator[np.ndarray]:
    """Blocks of `(draws, groups)` bool in which each row marks `n_first` groups at random."""
    block = max(1, _CHUNK // n_values)
    for start in range(0, n_draws, block):
        rows = min(block, n_draws - start)
        yield rng.permuted(np.broadcast_to(np.arange(n_groups) < n_first, (rows, n_groups)), axis=1)


def _batch(statistic: Statistic, values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The statistic of `values[label]` against `values[~label]`, for each row of labels; values ascend."""
    if statistic is not emd and statistic is not ks:
        return np.array([statistic(values[row], values[~row]) for row in labels])
    width = np.diff(values)
    first = np.cumsum(labels, axis=1, dtype=np.int32)
    n = first[:, -1:]
    m = values.size - n
    gap = first[:, :-1] * (1.0 / n + 1.0 / m)  # first / n − (rank − first) / m
    gap -= np.arange(1, values.size) / m
    np.abs(gap, out=gap)
    if statistic is emd:
        return gap @ width
    gap[:, width == 0.0] = 0.0  # inside a run of ties the distribution functions haven't been read yet
    return gap.max(axis=1, initial=0.0)


def _band(draws: np.ndarray, level: float) -> tuple[float, float, float]:
    tail = (1.0 - level) / 2.0
    low, median, high = np.quantile(draws, [tail, 0.5, 1.0 - tail])
    return float(low), float(median), float(high)


def _sample(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).ravel()
    if values.size == 0:
        raise ValueError(f"{name}: empty sample; a distance needs at least one value")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: holds NaN or infinity; count such values and leave them out first")
    return values
