"""Areas under the ROC curve over several trainings, their differences, and intervals that know both kinds of luck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from mammorgb_utils.evaluation.statistics import LEVEL, Effect, patient_weights
from mammorgb_utils.experiments.utility.pool import Items, Pool
from mammorgb_utils.streams import Stream, generator

MAX_DRAWS = 500  # bootstrap draws over patients: of a standard error more would add little but time


class Estimate(NamedTuple):
    """A mean over trainings; `sd_seeds` between them, `se_patients` by bootstrap over the patients that were asked."""

    value: float
    se_patients: float
    sd_seeds: float
    patients: int
    seeds: int

    @property
    def error(self) -> tuple[float, float]:
        """Standard error and its degrees of freedom."""
        return tuple(map(float, welch(self.se_patients, self.sd_seeds, self.patients, self.seeds)))

    def interval(self, level: float = LEVEL) -> Effect:
        """With its t interval; bounds are NaN for one training alone."""
        error, df = self.error
        half = t.isf((1.0 - level) / 2.0, df) * error
        return Effect(self.value, float(self.value - half), float(self.value + half))

    def p(self, null: float = 0.0) -> float:
        """Two-sided p-value; NaN for one training alone."""
        error, df = self.error
        return float(self.value == null) if error == 0.0 else float(2.0 * t.sf(abs(self.value - null) / error, df))


def welch(se_patients: float, sd_seeds: np.ndarray | float, patients: int,
          seeds: int) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Standard error of a mean over trainings, and its degrees of freedom; NaN for one training alone.

    What a training's luck and the choice of held-out patients add is independent, so variances add. Both hold a share
    of what the two do together, which is counted twice: the error is rather too large.

    Source:
        Satterthwaite 1946.
    """
    if seeds < 2:
        return np.nan, np.nan
    patient, seed = np.square(se_patients), np.square(sd_seeds) / seeds
    total = patient + seed
    freedom = np.square(total) / np.maximum(patient**2 / (patients - 1) + seed**2 / (seeds - 1), 1e-30)
    return np.sqrt(total), np.maximum(freedom, 1.0)


def item_weights(pool: Pool, items: Items, *, n_bootstrap: int, seed: int) -> tuple[np.ndarray, int]:
    """How often each item counts: as it is, then in each bootstrap draw over patients.

    Returns:
        `(M, 1 + draws)` float32, the first column of ones. A CC beside a stranger counts by the product of both
        patients' weights: both were drawn. And the number of patients.
    """
    patients = pool.patients
    names, owner = np.unique(np.concatenate([patients[items.cc], patients[items.mlo]]), return_inverse=True)
    cc, mlo = np.split(owner, 2)
    rng, n_draws = generator(seed, Stream.UTILITY_BOOTSTRAP), min(n_bootstrap, MAX_DRAWS)
    blocks = [weight[cc] * np.where((cc == mlo)[:, None], 1, weight[mlo]).astype(np.float32)
              for weight in patient_weights(len(names), n_draws, rng, n_values=len(cc))]
    return np.concatenate([np.ones((len(cc), 1), np.float32), *blocks], axis=1), len(names)


def area_draws(scores: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(1 + draws,)` areas under the ROC curve of weighted items; ties count one half; NaN where a class is empty, and
    for scores that are NaN.

    Args:
        scores, label: `(M,)`, higher for what is more surely positive.
        weights: `(M, 1 + draws)`.
    """
    if np.isnan(scores).any():
        return np.full(weights.shape[1], np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) != 0)
    weighted = weights[order]
    up, down = (np.add.reduceat(weighted * side[:, None], starts, axis=0) for side in (label[order], ~label[order]))
    below = np.cumsum(down, axis=0, dtype=np.float64) - down / 2.0
    total = up.sum(axis=0, dtype=np.float64) * down.sum(axis=0, dtype=np.float64)
    return np.divide((up * below).sum(axis=0), total, out=np.full(total.shape, np.nan), where=total > 0)


def estimate(draws: Sequence[np.ndarray], patients: int) -> Estimate:
    """Mean of some trainings, from what each has as it is and in every draw."""
    values = np.stack(draws)
    spread = float(np.std(values[:, 0], ddof=1)) if len(values) > 1 else float("nan")
    return Estimate(float(values[:, 0].mean()), float(np.nanstd(values[:, 1:].mean(axis=0), ddof=1)), spread, patients,
                    len(values))
