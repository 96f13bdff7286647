"""Intervals by bootstrap over patients: medians, and contrasts between sets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mammorgb_utils.evaluation.statistics.distances import emd
from mammorgb_utils.evaluation.statistics.effects import Effect
from mammorgb_utils.streams import Stream, generator

_BLOCK = 1_000_000  # weights held in memory at once


class Sample(NamedTuple):
    """`(N,)` finite values of a set, and the patient of each."""

    values: np.ndarray
    patients: np.ndarray

    @property
    def owner(self) -> np.ndarray:
        """`(N,)` int, the patient of each value by number."""
        return np.unique(self.patients, return_inverse=True)[1]


def median_difference(first: Sample, second: Sample, *, n_bootstrap: int, seed: int, level: float = 0.95) -> Effect:
    """Median of the first set minus that of the second, with a percentile interval.

    Args:
        first, second: Sets without a common patient.
        n_bootstrap, seed: Draws, and their seed.
        level: Coverage of the interval.
    """
    draws = [median_draws(sample, n_bootstrap, generator(seed, Stream.MEDIANS, stream))
             for stream, sample in enumerate((first, second))]
    return _percentile(np.median(first.values) - np.median(second.values), draws[0] - draws[1], level)


def closer(first: Sample, second: Sample, real: Sample, *, n_bootstrap: int, seed: int, level: float = 0.95) -> Effect:
    """How much nearer to real the first set lies than the second: EMD of the second minus EMD of the first.

    All three are drawn from. The percentile interval is biased where a distance is near 0.

    Args:
        first, second, real, n_bootstrap, seed, level: As `median_difference` takes them.
    """
    sets, draws = (first, second, real), []
    grid = np.unique(np.concatenate([sample.values for sample in sets]))
    n_values = sum(sample.values.size for sample in sets)  # the same for all, so that blocks match
    drawn = [patient_weights(int(sample.owner.max()) + 1, n_bootstrap, generator(seed, Stream.MEDIANS, stream),
                             n_values=n_values) for stream, sample in enumerate(sets)]
    for weights in zip(*drawn, strict=True):
        shares = [_distribution(grid, sample, weight) for sample, weight in zip(sets, weights, strict=True)]
        to_real = [np.diff(grid) @ np.abs(share - shares[2])[:-1] for share in shares[:2]]
        draws.append(to_real[1] - to_real[0])
    estimate = emd(second.values, real.values) - emd(first.values, real.values)
    return _percentile(estimate, np.concatenate(draws), level)


def median_draws(sample: Sample, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """`(n_draws,)` medians of a set of at least one value, by bootstrap over patients.

    Where every value is a patient of its own, the middle of n drawn places is that of n uniform numbers, whose
    distribution is known: one or two numbers are drawn instead of n.
    """
    owner, order = sample.owner, np.argsort(sample.values, kind="stable")
    n, values = owner.size, sample.values[order]
    if owner.max() + 1 < n:
        weights = patient_weights(int(owner.max()) + 1, n_draws, rng, n_values=n)
        return np.concatenate([weighted_median(values, weight[owner[order]]) for weight in weights])
    lower = rng.beta((n + 1) // 2, n // 2 + 1, size=n_draws)
    upper = lower if n % 2 else 1.0 - (1.0 - lower) * rng.random(n_draws) ** (2.0 / n)
    return (values[(lower * n).astype(int)] + values[np.minimum((upper * n).astype(int), n - 1)]) / 2.0


def patient_weights(n_patients: int, n_draws: int, rng: np.random.Generator, *, n_values: int) -> Iterator[np.ndarray]:
    """Bootstrap over patients as weights: how often each patient is drawn. A column is a draw.

    Args:
        n_patients, n_draws: Patients, and draws in all.
        rng: Source of randomness.
        n_values: Values that are weighted so; the more, the fewer draws are held in memory at once.

    Yields:
        `(n_patients, draws of this block)` int32; every column sums to `n_patients`.
    """
    block = max(1, _BLOCK // max(n_values, n_patients, 1))
    for start in range(0, n_draws, block):
        size = min(block, n_draws - start)
        drawn = rng.integers(n_patients, size=(size, n_patients)) * size + np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n_patients).reshape(n_patients, size).astype(np.int32)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(B,)` medians of `(N,)` ascending values that count as often as `(N, B)` whole weights say; NaN where all are 0.

    Weights are added up in about √N groups first, and one by one only where the middle lies: 8 times as fast.
    """
    width, last, draws = math.isqrt(len(values)), len(values) - 1, np.arange(weights.shape[1])
    groups = np.cumsum(np.add.reduceat(weights, np.arange(0, len(values), width)), axis=0)
    total, middles = groups[-1], []
    for target in ((total + 1) // 2, total // 2 + 1):
        group = np.argmax(groups >= target, axis=0)
        rows = np.minimum(group * width + np.arange(width)[:, None], last)  # the last row may repeat
        before = np.where(group > 0, groups[group - 1, draws], 0)
        inside = np.argmax(before + np.cumsum(weights[rows, draws], axis=0) >= target, axis=0)
        middles.append(values[np.minimum(group * width + inside, last)])
    return np.where(total > 0, sum(middles) / 2.0, np.nan)


def _distribution(grid: np.ndarray, sample: Sample, weight: np.ndarray) -> np.ndarray:
    """`(G, B)` empirical distribution functions on the grid, of values whose patients are weighted."""
    order = np.argsort(sample.values, kind="stable")
    total = np.cumsum(weight[sample.owner[order]], axis=0)
    total = np.concatenate([np.zeros((1, weight.shape[1])), total]) / total[-1]
    return total[np.searchsorted(sample.values[order], grid, side="right")]


def _percentile(estimate: float, draws: np.ndarray, level: float) -> Effect:
    low, high = np.quantile(draws, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return Effect(float(estimate), float(low), float(high))
