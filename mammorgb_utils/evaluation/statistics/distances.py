"""Distances between two samples, the two nulls that give them meaning, and the power of KS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp, kstwo, wasserstein_distance
from scipy.stats.distributions import rv_frozen

from mammorgb_utils.streams import Stream, generator

Statistic = Callable[[np.ndarray, np.ndarray], float]

_BLOCK = 200_000  # labels at once: what fits a core's cache is done twice as fast as what doesn't
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
        `∫ |F_x(t) − F_y(t)| dt` ≥ 0, the area between the two empirical distribution functions.

    Raises:
        ValueError: A sample is empty or holds NaN, which must be counted and left out first.

    Source:
        The paper reports it as EMD; unnormalised, as its 0.020 of an IoU implies.
    """
    return float(wasserstein_distance(_sample(x, "x"), _sample(y, "y")))


def ks(x: np.ndarray, y: np.ndarray) -> float:
    """Two-sample Kolmogorov–Smirnov statistic.

    Args:
        x, y: As `emd` takes them.

    Returns:
        `max |F_x(t) − F_y(t)|` in [0, 1], the largest gap between the two empirical distribution functions.

    Source:
        The paper reports it as KS.
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
        ValueError: The groups have another length, or a patient is in both samples.
    """
    x, y = _sample(x, "x"), _sample(y, "y")
    names, codes = _patients(groups, x.size, y.size)
    shared = np.intersect1d(codes[:x.size], codes[x.size:])
    if shared.size:
        raise ValueError(f"groups: patient {str(names[shared[0]])!r} is in both samples; make the sets "
                         "patient-disjoint")
    n_first = len(np.unique(codes[:x.size]))
    draws = _draws(statistic, np.concatenate([x, y]), codes, n_first, n_draws, generator(seed, Stream.NULL_BAND))
    p = (np.count_nonzero(draws >= statistic(x, y) - _TIE) + 1) / (n_draws + 1)
    return NullBand(*_band(draws, level), float(p))


def noise_floor(real: np.ndarray, n: int, statistic: Statistic, *, n_draws: int, seed: int, level: float = 0.95,
                groups: Sequence | None = None) -> NoiseFloor:
    """How far real data lie from real data: `n` patients drawn without replacement against all the others.

    Args:
        real, statistic, level, seed: As `null_band` takes them.
        n: Patients drawn, fewer than the sample has.
        n_draws: Number of divisions.
        groups: Patient of each value; without it, every value is its own.

    Raises:
        ValueError: `n` leaves one side empty.
    """
    real = _sample(real, "real")
    names, codes = _patients(groups, real.size)
    if not 0 < n < len(names):
        raise ValueError(f"n: {n} of {len(names)} real patients leave one side empty; draw fewer")
    draws = _draws(statistic, real, codes, n, n_draws, generator(seed, Stream.NOISE_FLOOR))
    return NoiseFloor(*_band(draws, level), int(n))


def ks_null(n: int, m: int) -> rv_frozen:
    """Large-sample distribution of the two-sample Kolmogorov–Smirnov statistic under equality."""
    return kstwo(round(n * m / (n + m)))


def ks_power(n: int, m: int, shift_sd: float, *, alpha: float = 0.05, n_draws: int = 400, seed: int = 0) -> float:
    """Power of the Kolmogorov–Smirnov test against a shift of two normal samples: of `n_draws` simulated studies.

    Args:
        n, m: Sample sizes.
        shift_sd: Shift in standard deviations.
        alpha: Level of the test.
    """
    rng = generator(seed, Stream.KS_POWER)
    statistics = _ks_rows(rng.normal(shift_sd, 1.0, (n_draws, n)), rng.normal(0.0, 1.0, (n_draws, m)))
    return float(np.mean(statistics >= ks_null(n, m).isf(alpha)))


def ks_null_mean(n: int, m: int, *, n_draws: int = 2000, seed: int = 0) -> float:
    """Mean Kolmogorov–Smirnov statistic of two samples from one continuous population."""
    rng = generator(seed, Stream.KS_NULL_MEAN)
    return float(np.mean(_ks_rows(rng.random((n_draws, n)), rng.random((n_draws, m)))))


def _ks_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kolmogorov–Smirnov statistic of each row of `x` against the same row of `y`; no ties."""
    n, m = x.shape[1], y.shape[1]
    is_x = np.argsort(np.concatenate([x, y], axis=1), axis=1) < n
    return np.abs(np.cumsum(np.where(is_x, 1.0 / n, -1.0 / m), axis=1)).max(axis=1)


def _draws(statistic: Statistic, values: np.ndarray, codes: np.ndarray, n_first: int, n_draws: int,
           rng: np.random.Generator) -> np.ndarray:
    """`(n_draws,)` statistics of the values of `n_first` patients, drawn at random, against those of all others."""
    order = np.argsort(values, kind="stable")
    values, codes = values[order], codes[order]
    first, block, found = np.arange(codes.max() + 1) < n_first, max(1, _BLOCK // values.size), []
    for start in range(0, n_draws, block):
        rows = np.broadcast_to(first, (min(block, n_draws - start), first.size))
        found.append(_of_labels(statistic, values, rng.permuted(rows, axis=1)[:, codes]))
    return np.concatenate(found)


def _of_labels(statistic: Statistic, values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The statistic of `values[label]` against `values[~label]`, for each row of labels; values ascend."""
    if statistic is not emd and statistic is not ks:
        return np.array([statistic(values[row], values[~row]) for row in labels])
    width, first = np.diff(values), np.cumsum(labels, axis=1, dtype=np.int32)
    n = first[:, -1:]
    m = values.size - n
    gap = first[:, :-1] * (1.0 / n + 1.0 / m)  # first / n − (rank − first) / m
    gap -= np.arange(1, values.size) / m
    np.abs(gap, out=gap)
    if statistic is emd:
        return gap @ width
    gap[:, width == 0.0] = 0.0  # inside a run of ties the distribution functions haven't been read yet
    return gap.max(axis=1, initial=0.0)


def _band(draws: np.ndarray, level: float) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(draws, [0.5 - level / 2.0, 0.5, 0.5 + level / 2.0]))


def _patients(groups: Sequence | None, *sizes: int) -> tuple[np.ndarray, np.ndarray]:
    """Names of the patients, and the number of each value's patient."""
    if groups is not None and len(groups) != sum(sizes):
        raise ValueError(f"groups: {len(groups)} patients for {' + '.join(map(str, sizes))} values; name one a value, "
                         "x first")
    return np.unique(np.arange(sum(sizes)) if groups is None else np.asarray(groups), return_inverse=True)


def _sample(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).ravel()
    if values.size == 0:
        raise ValueError(f"{name}: empty sample; a distance needs at least one value")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: holds NaN or infinity; count such values and leave them out first")
    return values
