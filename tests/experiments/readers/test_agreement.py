from math import comb

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from mammorgb_utils.experiments.readers.agreement import accuracy, auc, kappa, n_for_accuracy, n_for_auc


def tail(k, n, p):
    """P(X ≥ k) of a binomial count, summed by hand."""
    return sum(comb(n, i) * p**i * (1.0 - p) ** (n - i) for i in range(k, n + 1))


def test_exact_interval_leaves_two_and_a_half_percent_in_each_tail():
    assert accuracy(30, 50).estimate == 0.6
    for k, n in ((30, 50), (7, 9), (1, 20)):
        effect = accuracy(k, n)
        assert tail(k, n, effect.low) == pytest.approx(0.025)
        assert 1.0 - tail(k + 1, n, effect.high) == pytest.approx(0.025)
    assert accuracy(0, 10).low == 0.0 and accuracy(10, 10).high == 1.0


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 4)])
def test_impossible_counts_are_refused(correct, n):
    with pytest.raises(ValueError, match="at least one answer is needed"):
        accuracy(correct, n)


def delong_by_loops(positive, negative):
    """Area, and its variance from the placement of every score, one at a time."""
    def wins(a, b):
        return 1.0 if a > b else 0.5 if a == b else 0.0
    over = [sum(wins(a, b) for b in negative) / len(negative) for a in positive]
    under = [sum(wins(a, b) for a in positive) / len(positive) for b in negative]
    area = sum(over) / len(over)
    return area, sum(sum((v - area) ** 2 for v in part) / (len(part) - 1) / len(part) for part in (over, under))


def test_auc_equals_sklearns_and_delongs_variance_by_loops():
    rng = np.random.default_rng(0)
    for _ in range(10):
        positive, negative = rng.integers(0, 5, 12) + 1, rng.integers(0, 5, 17)
        effect = auc(positive, negative)
        area, variance = delong_by_loops(positive, negative)
        truth = np.repeat([1, 0], [12, 17])
        assert effect.estimate == pytest.approx(roc_auc_score(truth, np.concatenate([positive, negative])))
        assert effect.estimate == pytest.approx(area)
        odds = area / (1 - area) * np.exp(np.array([-1, 1]) * 1.959964 * np.sqrt(variance) / (area * (1 - area)))
        assert effect[1:] == pytest.approx(tuple(odds / (1 + odds)))


def test_auc_of_separated_readings_still_has_an_interval():
    effect = auc([4, 5, 5], [1, 2, 3])
    assert (effect.estimate, effect.high) == (1.0, 1.0) and 0.2 < effect.low < 0.6
    assert auc([4] * 50, [1] * 50).low > 0.95
    mirrored = auc([1, 2, 3], [4, 5, 5])
    assert (mirrored.low, mirrored.high) == pytest.approx((0.0, 1.0 - effect.low))
    same = auc([3, 3, 3], [3, 3, 3])
    assert same.estimate == 0.5 and same.low < 0.2 and same.high > 0.8


def test_auc_of_few_or_no_scores():
    assert np.isnan(auc([1], [2, 3])[1:]).all()
    with pytest.raises(ValueError, match="positive_scores: empty"):
        auc([], [1])
    with pytest.raises(ValueError, match="negative_scores: empty or holds NaN"):
        auc([1], [np.nan])


def test_two_breasts_that_agree_count_once():
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(1, 1, 20), rng.normal(0, 1, 25)
    groups = np.concatenate([np.repeat(np.arange(20), 2), np.repeat(np.arange(50, 75), 2)])
    single, double = auc(positive, negative), auc(np.repeat(positive, 2), np.repeat(negative, 2), groups=groups)
    assert double == pytest.approx(single)
    assert auc([5] * 4, [1] * 4, groups=list("aabbccdd")).low == auc([5] * 2, [1] * 2).low


def kappa_by_loops(a, b, labels, power):
    """One minus observed over expected disagreement, item by item and pair by pair."""
    def cost(x, y):
        return float(x != y) if power is None else abs(labels.index(x) - labels.index(y)) ** power
    observed = sum(cost(x, y) for x, y in zip(a, b, strict=True)) / len(a)
    expected = sum(cost(x, y) for x in a for y in b) / len(a) ** 2
    return 1.0 - observed / expected


@pytest.mark.parametrize(("weights", "power"), [(None, None), ("linear", 1), ("quadratic", 2)])
def test_kappa_by_loops_and_by_sklearn(weights, power):
    rng = np.random.default_rng(2)
    a = rng.integers(0, 5, 40)
    b = np.clip(a + rng.integers(-1, 2, 40), 0, 4)
    effect = kappa(a, b, weights=weights, labels=range(5))
    assert effect.estimate == pytest.approx(kappa_by_loops(a.tolist(), b.tolist(), list(range(5)), power))
    assert effect.estimate == pytest.approx(cohen_kappa_score(a, b, weights=weights, labels=range(5)))
    rows = rng.integers(40, size=(1500, 40))  # items drawn one by one
    drawn = [kappa_by_loops(a[row].tolist(), b[row].tolist(), list(range(5)), power) for row in rows[:300]]
    assert effect[1:] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.06)
    assert effect == kappa(a, b, weights=weights, labels=range(5))


def test_hand_worked_kappa():
    assert kappa(["y", "y", "n", "n"], ["y", "n", "n", "n"]).estimate == pytest.approx((0.75 - 0.5) / 0.5)
    unused = kappa([1, 1, 4, 4], [1, 4, 4, 4], weights="quadratic", labels=[1, 2, 3, 4])
    assert unused.estimate == pytest.approx(0.5)


def test_kappa_says_when_it_cannot_be_known():
    assert np.isnan(kappa([1, 1], [1, 1])).all()
    agreed = kappa([1, 2, 1], [1, 2, 1])
    assert agreed.estimate == 1.0 and np.isnan(agreed[1:]).all()
    with pytest.raises(ValueError, match="3 and 2 readings"):
        kappa([1, 2, 1], [1, 2])
    with pytest.raises(ValueError, match="category '3' isn't among the labels"):
        kappa([1, 3], [1, 2], labels=[1, 2])


def power_by_sums(n, p, alpha=0.05):
    """Power of the exact test that rejects where a tail is at most alpha / 2, summed by hand."""
    rejecting = [k for k in range(n + 1) if min(tail(k, n, 0.5), 1.0 - tail(k + 1, n, 0.5)) <= alpha / 2]
    return sum(comb(n, k) * p**k * (1.0 - p) ** (n - k) for k in rejecting)


@pytest.mark.parametrize("p", [0.65, 0.75, 0.9, 0.25])
def test_sizes_for_an_accuracy_have_the_power_from_there_on(p):
    n = n_for_accuracy(p)
    assert power_by_sums(n - 1, p) < 0.8
    assert all(power_by_sums(size, p) >= 0.8 for size in range(n, n + 25))


def test_sizes_for_an_area_give_the_half_width():
    for area, half in ((0.75, 0.1), (0.6, 0.05), (0.95, 0.03)):
        def width(n, area=area):
            first, second = area / (2 - area), 2 * area**2 / (1 + area)
            variance = (area * (1 - area) + (n - 1) * (first + second - 2 * area**2)) / n**2
            return 1.959964 * np.sqrt(variance)
        n = n_for_auc(area, half)
        assert width(n) <= half < width(n - 1)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: n_for_accuracy(0.5), "differ from 0.5"), (lambda: n_for_accuracy(1.2), r"\[0, 1\]"),
    (lambda: n_for_auc(1.0, 0.1), r"area in \(0, 1\)"), (lambda: n_for_auc(0.7, 0.0), "half width")])
def test_sizes_that_do_not_exist_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
