"""Accuracy, area under the ROC curve and agreement, each with its interval: what readers and detectors need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit
from scipy.stats import binom, binomtest, norm
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from mammorgb_utils.evaluation.statistics import Effect, dominance, patients_in, separated_area
from mammorgb_utils.streams import Stream, generator


def accuracy(correct: int, n: int, *, level: float = 0.95) -> Effect:
    """Share of right answers with its exact interval (Clopper and Pearson 1934), which covers at least as often."""
    if not 0 <= correct <= n or n < 1:
        raise ValueError(f"accuracy: {correct} right of {n} answers; at least one answer is needed")
    interval = binomtest(int(correct), int(n)).proportion_ci(confidence_level=level, method="exact")
    return Effect(correct / n, float(interval.low), float(interval.high))


def auc(positive_scores: np.ndarray, negative_scores: np.ndarray, *, level: float = 0.95,
        groups: Sequence | None = None) -> Effect:
    """Area under the ROC curve of scores on any ordinal scale; ties count one half.

    Args:
        positive_scores, negative_scores: Scores of the two classes, finite; higher means more surely positive.
        level: Coverage of the interval.
        groups: Patient of each score, positives first; the variance is then that between patients.

    Returns:
        Estimate in [0, 1]. The interval is DeLong's on the logit scale, which keeps it inside [0, 1]; where the
        classes are separated or don't vary, that of Newcombe, as DeLong's variance is then 0. Bounds are NaN when a
        class has one patient alone.

    Source:
        DeLong 1988; Newcombe 2006, method 5.
    """
    positive, negative = (np.asarray(scores, np.float64).ravel() for scores in (positive_scores, negative_scores))
    for name, scores in (("positive_scores", positive), ("negative_scores", negative)):
        if scores.size == 0 or not np.isfinite(scores).all():
            raise ValueError(f"{name}: empty or holds NaN; an area under the curve needs scores of both classes")
    delta, variance = dominance(positive, negative, groups=groups)
    area, z = (delta + 1.0) / 2.0, float(norm.ppf(0.5 + level / 2.0))
    if not np.isfinite(variance):
        return Effect(area, float("nan"), float("nan"))
    if variance == 0.0 or area in (0.0, 1.0):
        counts = patients_in(positive.size, negative.size, groups)
        return Effect(area, *separated_area(area, *counts, level=level))
    half = z * np.sqrt(variance / 4.0) / (area * (1.0 - area))
    return Effect(area, float(expit(logit(area) - half)), float(expit(logit(area) + half)))


def kappa(a: Sequence, b: Sequence, *, weights: str | None = None, labels: Sequence | None = None,
          n_bootstrap: int = 2000, seed: int = 0, level: float = 0.95) -> Effect:
    """Cohen's kappa of two readings of the same items, with a percentile interval by bootstrap over items.

    Args:
        a, b: Category of each item in the first and in the second reading.
        weights: None, "linear" or "quadratic"; weights need `labels` when a category may be unused.
        labels: All categories in their order; by default those that occur, sorted.

    Returns:
        All NaN when both readings hold one category alone; bounds NaN when the readings agree throughout, since
        drawing from them then can't show what the next reading might differ in.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"kappa: {a.size} and {b.size} readings; give the same items twice, at least one")
    seen = np.union1d(a, b)
    labels = seen if labels is None else np.asarray(labels)
    if unknown := sorted(map(str, np.setdiff1d(seen, labels))):
        raise ValueError(f"kappa: category {unknown[0]!r} isn't among the labels; name every category in `labels`")
    if seen.size < 2:
        return Effect(float("nan"), float("nan"), float("nan"))
    estimate = float(cohen_kappa_score(a, b, labels=labels, weights=weights))
    if (a == b).all():
        return Effect(estimate, float("nan"), float("nan"))
    table = confusion_matrix(a, b, labels=labels)
    # drawing items with replacement fills the table's cells multinomially
    rng = generator(seed, Stream.READER_KAPPA_TABLE)
    draws = rng.multinomial(a.size, table.ravel() / a.size, size=n_bootstrap).reshape(-1, *table.shape)
    low, high = np.nanquantile(_kappas(draws, weights), [0.5 - level / 2.0, 0.5 + level / 2.0])
    return Effect(estimate, float(low), float(high))


def n_for_accuracy(p: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Answers needed to tell an accuracy `p` from guessing, by the exact two-sided binomial test against 0.5: the
    smallest size from which on every size has the power, which rises in a saw-tooth."""
    if not 0.0 <= p <= 1.0 or p == 0.5:
        raise ValueError(f"p: {p:g} must lie in [0, 1] and differ from 0.5, which no sample can tell from guessing")
    z = norm.ppf(1.0 - alpha / 2.0) * 0.5 + norm.ppf(power) * np.sqrt(p * (1.0 - p))
    rough = (z / (p - 0.5)) ** 2  # normal approximation
    reach = 60.0 + 10.0 * np.sqrt(rough)  # the saw-tooth's teeth are about as long as the root of the size
    sizes = np.arange(max(1, int(rough - reach)), int(rough + reach))
    last = binom.ppf(alpha / 2.0, sizes, 0.5)  # largest count that may reject
    last -= binom.cdf(last, sizes, 0.5) > alpha / 2.0
    reached = binom.cdf(last, sizes, p) + binom.sf(sizes - last - 1, sizes, p) >= power
    return int(sizes[np.flatnonzero(~reached)[-1] + 1]) if not reached.all() else int(sizes[0])


def n_for_auc(auc: float, half_width: float, *, level: float = 0.95) -> int:
    """Images needed in each class, equally many, for an area under the ROC curve with an interval of a given half
    width (Hanley and McNeil 1982)."""
    if not 0.0 < auc < 1.0 or not 0.0 < half_width < 0.5:
        raise ValueError(f"auc {auc:g}, half_width {half_width:g}: use an area in (0, 1), a half width in (0, 0.5)")
    share = (half_width / norm.ppf(0.5 + level / 2.0)) ** 2 / (auc * (1.0 - auc))
    alike = (1.0 - auc) / (2.0 - auc) + auc / (1.0 + auc)  # comparisons that share an image, for exponential scores
    # the smallest n with share · n² ≥ 1 + (n − 1) · alike
    return max(2, int(np.ceil((alike + np.sqrt(alike**2 + 4.0 * share * (1.0 - alike))) / (2.0 * share))))


def _kappas(tables: np.ndarray, weights: str | None) -> np.ndarray:
    """Cohen's kappa of each `(K, K)` table of counts; NaN where one category alone occurs."""
    number = np.arange(tables.shape[-1])
    apart = np.abs(np.subtract.outer(number, number))
    cost = {None: apart > 0, "linear": apart, "quadratic": apart**2}[weights].astype(float)
    expected = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :] / tables.sum(axis=(1, 2))[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 - (tables * cost).sum(axis=(1, 2)) / (expected * cost).sum(axis=(1, 2))
