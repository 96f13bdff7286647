"""Second implementations: by hand, by loops, or over every draw there is. They share no code with the first."""

from itertools import combinations, product
from math import erfc, sqrt

import numpy as np
import pandas as pd
import pytest

from mammorgb_utils.evaluation.consistency import pairing_gain, score_of_gains
from mammorgb_utils.evaluation.statistics import (
    Sample,
    benjamini_hochberg,
    bootstrap,
    cliffs_delta,
    closer,
    emd,
    equivalence,
    hodges_lehmann,
    holm,
    ks,
    ks_power,
    mann_whitney,
    median_difference,
    noise_floor,
    null_band,
    rate,
    wilson,
)

Z = 1.959963984540054
X, Y = [0.81, 0.84, 0.86, 0.90, 0.84], [0.70, 0.79, 0.84, 0.85, 0.88, 0.91, 0.75]


def area_between(x, y):
    points = sorted([*x, *y])
    share = [(sum(v <= t for v in x) / len(x), sum(v <= t for v in y) / len(y)) for t in points]
    return sum(abs(a - b) * (points[i + 1] - points[i]) for i, (a, b) in enumerate(share[:-1]))


def widest_gap(x, y):
    return max(abs(sum(v <= t for v in x) / len(x) - sum(v <= t for v in y) / len(y)) for t in [*x, *y])


def splits(values, n):
    for chosen in combinations(range(len(values)), n):
        yield [values[i] for i in chosen], [v for i, v in enumerate(values) if i not in chosen]


@pytest.mark.parametrize(("statistic", "by_hand"), [(emd, area_between), (ks, widest_gap)])
def test_permutations_approach_the_enumeration_of_all_labels(statistic, by_hand):
    every = [by_hand(*parts) for parts in splits([*X, *Y], len(X))]
    band = null_band(X, Y, statistic, n_draws=6000, level=0.9, seed=1)
    observed = by_hand(X, Y)
    assert band.p == pytest.approx(np.mean([value >= observed - 1e-12 for value in every]), abs=0.02)
    assert band[:3] == pytest.approx(np.quantile(every, [0.05, 0.5, 0.95]), abs=0.012 if statistic is emd else 0.06)


@pytest.mark.parametrize(("statistic", "by_hand"), [(emd, area_between), (ks, widest_gap)])
def test_noise_floor_approaches_the_enumeration_of_all_parts(statistic, by_hand):
    every = [by_hand(*parts) for parts in splits(Y, 3)]
    floor = noise_floor(Y, 3, statistic, n_draws=6000, level=0.8, seed=2)
    assert floor[:3] == pytest.approx(np.quantile(every, [0.1, 0.5, 0.9]), abs=0.012 if statistic is emd else 0.09)


def sign(a, b):
    return (a > b) - (a < b)


def test_mann_whitney_by_its_formula_with_ties():
    n, m, pooled = len(X), len(Y), [*X, *Y]
    wins = sum(sign(a, b) / 2 + 0.5 for a in X for b in Y)
    ties = sum(pooled.count(v) ** 3 - pooled.count(v) for v in set(pooled))
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    z = (abs(wins - n * m / 2) - 0.5) / sqrt(variance)
    assert mann_whitney(X, Y) == pytest.approx(erfc(z / sqrt(2)))


def placement_variance(x, y, x_groups, y_groups):
    """Sum over patients of their summed dominance beyond the mean, squared."""
    total, delta = 0.0, sum(sign(a, b) for a in x for b in y) / (len(x) * len(y))
    for own, other, groups, way in ((x, y, x_groups, 1), (y, x, y_groups, -1)):
        sums = {}
        for value, group in zip(own, groups, strict=True):
            dominance = way * sum(sign(value, v) for v in other) / len(other)
            sums[group] = sums.get(group, 0.0) + dominance - delta
        total += len(sums) / (len(sums) - 1) * sum(s**2 for s in sums.values()) / len(own) ** 2
    return delta, total


@pytest.mark.parametrize("groups", [("abcde", "fghijkl"), ("aabbc", "ddeeffg")])
def test_deltas_variance_is_that_between_patients(groups):
    delta, variance = placement_variance(X, Y, *groups)
    effect = cliffs_delta(X, Y, groups=list("".join(groups)))
    root = Z * sqrt(variance) * sqrt((1 - delta**2) ** 2 + Z**2 * variance)
    scale = 1 - delta**2 + Z**2 * variance
    assert effect == pytest.approx((delta, (delta - delta**3 - root) / scale, (delta - delta**3 + root) / scale))
    if groups[0] == "aabbc":
        assert mann_whitney(X, Y, groups=list("".join(groups))) == pytest.approx(erfc(abs(delta) / sqrt(2 * variance)))


def test_delta_of_samples_that_do_not_overlap_keeps_an_interval():
    few, many = cliffs_delta([5, 6], [1, 2]), cliffs_delta(np.arange(40) + 100.0, np.arange(40))
    assert few.estimate == many.estimate == few.high == many.high == 1.0
    assert -0.5 < few.low < 0.0 < 0.8 < many.low < 1.0
    assert np.isnan(cliffs_delta([5], [1, 2])[1:]).all()


def test_shift_interval_by_counting_ranks():
    rng = np.random.default_rng(3)
    x, y = rng.normal(1, 2, 30).tolist(), rng.normal(0, 1, 41).tolist()
    differences = sorted(a - b for a in x for b in y)
    moved = [a - (differences[614] + differences[615]) / 2 for a in x]
    variance = placement_variance(moved, y, range(30), range(41))[1] / 4
    rank = int(30 * 41 * (0.5 - Z * sqrt(variance)))
    assert hodges_lehmann(x, y)[1:] == (differences[rank - 1], differences[-rank])
    few = sorted(a - b for a in x[:9] for b in y[:12])
    least = int(108 * (0.5 - Z * sqrt(22 / (12 * 108))))  # the rank under equality
    assert hodges_lehmann(x[:9], y[:12]).low <= few[least - 1] < few[-least] <= hodges_lehmann(x[:9], y[:12]).high


def test_shift_of_large_tied_samples():
    rng = np.random.default_rng(4)
    x, y = np.round(rng.random(300), 2).tolist(), np.round(rng.random(900), 2).tolist()
    differences = sorted(a - b for a in x for b in y)
    middle = (differences[134999] + differences[135000]) / 2
    moved = [value - middle for value in x]
    rank = int(270000 * (0.5 - Z * sqrt(placement_variance(moved, y, range(300), range(900))[1] / 4)))
    assert hodges_lehmann(x, y) == (middle, differences[rank - 1], differences[-rank])


def test_samples_too_small_for_an_interval_have_none():
    effect = hodges_lehmann([0.8, 0.9, 0.7], [0.8, 0.7, 0.6])
    assert effect.estimate == pytest.approx(0.1) and np.isnan(effect[1:]).all()
    assert equivalence([0.8, 0.9, 0.7], [0.8, 0.7, 0.6], margin=0.001) == "inconclusive"
    alone = hodges_lehmann([0.8, 0.9], [0.8, 0.7], groups=list("aabc"))
    assert alone.estimate == pytest.approx(0.1) and np.isnan(alone[1:]).all()


@pytest.mark.parametrize(("shift", "expected"), [(0.0, "equivalent"), (0.03, "equivalent"), (0.05, "inconclusive"),
                                                 (0.09, "beyond margin")])
def test_equivalence_is_two_one_sided_rank_tests(shift, expected):
    rng = np.random.default_rng(5)
    x, y = (rng.normal(0.84, 0.05, 70) + shift).tolist(), rng.normal(0.84, 0.05, 90).tolist()
    spread = sqrt(161 / (12 * 70 * 90))  # under equality, which these samples have but for the shift

    def z(moved):  # share of wins of x, moved, beyond one half
        return (sum((a + moved > b) + 0.5 * (a + moved == b) for a in x for b in y) / (70 * 90) - 0.5) / spread
    inside = z(-0.05) < -1.644854 and z(0.05) > 1.644854
    outside = z(-0.05) > Z or z(0.05) < -Z
    assert expected == ("equivalent" if inside else "beyond margin" if outside else "inconclusive")
    assert equivalence(x, y, margin=0.05) == expected


def test_adjustments_by_loops():
    rng = np.random.default_rng(6)
    p = np.round(rng.random(9) ** 3, 3).tolist()
    by_holm = [max(min(1.0, sum(q >= r for q in p) * r) for r in p if r <= value) for value in p]
    by_bh = [min(min(1.0, len(p) * r / sum(q <= r for q in p)) for r in p if r >= value) for value in p]
    np.testing.assert_allclose(holm(p), by_holm)
    np.testing.assert_allclose(benjamini_hochberg(p), by_bh)


def test_wilson_holds_the_rates_that_are_not_rejected():
    for k, n in ((0, 12), (3, 20), (30, 500), (20, 20)):
        effect = wilson(k, n)
        for bound in effect[1:]:
            if 0.0 < bound < 1.0:
                assert abs(k / n - bound) / sqrt(bound * (1 - bound) / n) == pytest.approx(Z)


def test_rates_of_patients_with_two_breasts():
    flags, groups = [True, True, False, False, True, True], list("aabbcd")
    shares = {"a": 1.0, "b": 0.0, "c": 1.0, "d": 1.0}
    variance = sum((s - 0.75) ** 2 for s in shares.values()) / (4 * 3)  # of their mean
    n = 0.75 * 0.25 / variance
    effect = rate(flags, groups=groups)
    assert effect.estimate == 0.75, "by patients, not by pairs"
    for bound in effect[1:]:
        assert abs(0.75 - bound) / sqrt(bound * (1 - bound) / n) == pytest.approx(Z)
    flags = [True, True, False, False, True, False]
    assert rate(flags) == rate(flags, groups=list("abcdef")) == wilson(3, 6)
    assert rate([False] * 6, groups=groups) == pytest.approx(wilson(0, 4))
    assert np.isnan(rate([])).all()


def test_power_of_ks_by_single_studies():
    rng = np.random.default_rng(7)
    rejected = 0
    for _ in range(150):
        x, y = rng.normal(1.0, 1, 20).tolist(), rng.normal(0, 1, 30).tolist()
        gap, n = widest_gap(x, y), 20 * 30 / 50
        # Kolmogorov's series at Stephens' corrected argument
        argument = gap * (sqrt(n) + 0.12 + 0.11 / sqrt(n))
        rejected += 2 * sum((-1) ** (k - 1) * np.exp(-2 * (k * argument) ** 2) for k in range(1, 9)) < 0.05
    assert ks_power(20, 30, 1.0, n_draws=2000, seed=3) == pytest.approx(rejected / 150, abs=0.1)


def medians_of_all_draws(values):
    return [np.median(draw) for draw in product(values, repeat=len(values))]


@pytest.mark.parametrize("values", [[0.70, 0.80, 0.85, 0.90, 0.97], [0.7, 0.8, 0.85, 0.9]])
def test_median_interval_approaches_the_enumeration_of_all_draws(values):
    other = [0.60, 0.75, 0.82]
    first, second = medians_of_all_draws(values), medians_of_all_draws(other)
    every = np.subtract.outer(first, second).ravel()
    effect = median_difference(Sample(np.array(values), np.arange(len(values))), Sample(np.array(other), np.arange(3)),
                               n_bootstrap=20000, seed=1, level=0.8)
    assert effect.estimate == pytest.approx(np.median(values) - 0.75)
    assert effect[1:] == pytest.approx(np.quantile(every, [0.1, 0.9]), abs=0.02)


def test_median_interval_draws_patients_whole():
    values, patients = np.array([0.7, 0.8, 0.85, 0.9]), np.array(list("aabb"))
    drawn = [np.median([v for p in draw for v in values[patients == p]]) for draw in product("ab", repeat=2)]
    effect = median_difference(Sample(values, patients), Sample(np.array([0.5]), np.array(["c"])), n_bootstrap=4000,
                               seed=2, level=0.6)
    assert effect[1:] == pytest.approx((min(drawn) - 0.5, max(drawn) - 0.5))


def test_nearness_interval_by_drawing_one_by_one():
    rng = np.random.default_rng(8)
    sets = [rng.normal(centre, 0.05, n) for centre, n in ((0.8, 14), (0.7, 12), (0.84, 16))]
    effect = closer(*(Sample(values, np.arange(values.size)) for values in sets), n_bootstrap=2000, seed=1, level=0.8)
    drawn = []
    for _ in range(200):
        a, b, real = (values[rng.integers(values.size, size=values.size)] for values in sets)
        drawn.append(area_between(b, real) - area_between(a, real))
    assert effect.estimate == pytest.approx(area_between(sets[1], sets[2]) - area_between(sets[0], sets[2]))
    assert effect[1:] == pytest.approx(np.quantile(drawn, [0.1, 0.9]), abs=0.015)


def tables(values, others):
    names = [f"p{i}" for i in range(len(values))]
    paired = pd.DataFrame({"pair": names, "iou": values})
    shuffled = pd.DataFrame({"cc_pair": names, "mlo_pair": [*names[1:], names[0]], "iou": others})
    return paired, shuffled


def test_pairing_gain_by_drawing_patients_one_by_one():
    rng = np.random.default_rng(9)
    values, others = rng.normal(0.84, 0.05, 21), rng.normal(0.7, 0.05, 21)
    gain, draws = pairing_gain(*tables(values, others), n_bootstrap=2000, seed=1)
    assert gain == pytest.approx(sorted(values)[10] - sorted(others)[10])
    drawn = []
    for _ in range(400):
        times = [0] * 21
        for patient in rng.integers(21, size=21):
            times[patient] += 1
        own = [v for i, v in enumerate(values) for _ in range(times[i])]
        other = [v for i, v in enumerate(others) for _ in range(times[i] * times[(i + 1) % 21])]
        drawn.append(np.median(own) - np.median(other))
    assert np.quantile(draws, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(drawn, [0.1, 0.5, 0.9]), abs=0.012)


def test_score_is_the_ratio_of_two_gains():
    syn, real = tables([0.8, 0.82, 0.9], [0.7, 0.72, 0.71]), tables([0.9, 0.8, 0.85], [0.5, 0.6, 0.65])
    score = score_of_gains(pairing_gain(*syn, n_bootstrap=50, seed=0), pairing_gain(*real, n_bootstrap=50, seed=1))
    assert score.estimate == pytest.approx((0.82 - 0.71) / (0.85 - 0.60))


def test_closer_with_ties_and_blocks_draws_each_set_alike(monkeypatch):
    """Few different values of many patients, in several blocks: all sets are drawn equally often."""
    rng = np.random.default_rng(4)
    sets = [Sample(rng.integers(0, 4, n) / 4, np.arange(n)) for n in (30, 50, 40)]
    whole = closer(*sets, n_bootstrap=300, seed=2)
    monkeypatch.setattr(bootstrap, "_BLOCK", 1200)
    parted = closer(*sets, n_bootstrap=300, seed=2)
    assert parted == pytest.approx(whole)
