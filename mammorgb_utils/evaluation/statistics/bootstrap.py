"""Intervals of contrasts between sets, by bootstrap over patients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mammorgb_utils.evaluation.statistics.distances import emd
from mammorgb_utils.evaluation.statistics.effects import Effect
from mammorgb_utils.evaluation.statistics.resampling import patient_weights, weighted_median
from mammorgb_utils.streams import Stream, generator


class Sample(NamedTuple):
    """`(N,)` finite values of a set, and the patient of each."""

    values: np.ndarray
    patients: np.ndarray


def median_difference(first: Sample, second: Sample, *, n_bootstrap: int, seed: int, level: float = 0.95) -> Effect:
    """Median of the first set minus that of the second, with a percentile interval.

    Args:
        first, second: Sets without a common patient.
        n_bootstrap: Bootstrap draws.
        seed: Seed of the draws.
        level: Coverage of the interval.
    """
    draws = [median_draws(sample, n_bootstrap, generator(seed, Stream.MEDIANS, stream))
             for stream, sample in enumerate((first, second))]
    return _percentile(np.median(first.values) - np.median(second.values), draws[0] - draws[1], level)


def closer(first: Sample, second: Sample, real: Sample, *, n_bootstrap: int, seed: int, level: float = 0.95) -> Effect:
    """How much nearer to real the first set lies than the second: EMD of the second minus EMD of the first.

    Args:
        first, second, real: Sets without a common patient; all three are drawn from.
        n_bootstrap: Bootstrap draws.
        seed: Seed of the draws.
        level: Coverage of the percentile interval, which is biased where a distance is near 0.
    """
    sets = (first, second, real)
    grid = np.unique(np.concatenate([sample.values for sample in sets]))
    draws = []
    n_values = sum(sample.values.size for sample in sets)  # the same for all, so that blocks match
    for weights in _weights(sets, n_bootstrap, seed, n_values):
        shares = [_distribution(grid, sample.values, weight) for sample, weight in zip(sets, weights, strict=True)]
        to_real = [np.diff(grid) @ np.abs(share - shares[2])[:-1] for share in shares[:2]]
        draws.append(to_real[1] - to_real[0])
    estimate = emd(second.values, real.values) - emd(first.values, real.values)
    return _percentile(estimate, np.concatenate(draws), level)


def median_draws(sample: Sample, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap draws over patients of a set's median.

    Where every value is a patient of its own, the middle of n drawn places is that of n uniform numbers, whose
    distribution is known: one or two numbers are drawn instead of n.

    Args:
        sample: At least one value.
        n_draws: Bootstrap draws.
        rng: Source of randomness.

    Returns:
        `(n_draws,)` medians.
    """
    owner, order = np.unique(sample.patients, return_inverse=True)[1], np.argsort(sample.values, kind="stable")
    n, values = owner.size, sample.values[order]
    if owner.max() + 1 < n:
        weights = patient_weights(int(owner.max()) + 1, n_draws, rng, n_values=n)
        return np.concatenate([weighted_median(values, weight[owner[order]]) for weight in weights])
    lower = rng.beta((n + 1) // 2, n // 2 + 1, size=n_draws)
    upper = lower if n % 2 else 1.0 - (1.0 - lower) * rng.random(n_draws) ** (2.0 / n)
    return (values[(lower * n).astype(int)] + values[np.minimum((upper * n).astype(int), n - 1)]) / 2.0


def _percentile(estimate: float, draws: np.ndarray, level: float) -> Effect:
    low, high = np.quantile(draws, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return Effect(float(estimate), float(low), float(high))


def _weights(sets: tuple[Sample, ...], n_draws: int, seed: int, n_values: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Blocks of `(N, draws)` weights of the values, one for each set; each set has a stream of its own."""
    return zip(*[_value_weights(sample.patients, n_draws, [seed, Stream.MEDIANS, stream], n_values)
                 for stream, sample in enumerate(sets)], strict=True)


def _value_weights(patients: np.ndarray, n_draws: int, seed: list[int], n_values: int) -> Iterator[np.ndarray]:
    owner = np.unique(patients, return_inverse=True)[1]
    for weights in patient_weights(int(owner.max()) + 1, n_draws, np.random.default_rng(seed), n_values=n_values):
        yield weights[owner]


def _distribution(grid: np.ndarray, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`(G, B)` weighted empirical distribution functions on the grid."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order], axis=0)
    total = np.concatenate([np.zeros((1, weight.shape[1])), total]) / total[-1]
    return total[np.searchsorted(values[order], grid, side="right")]
