import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from mammorgb_utils.evaluation.statistics import (
    benjamini_hochberg,
    cliffs_delta,
    equivalence,
    hodges_lehmann,
    holm,
    ks_null,
    ks_null_mean,
    ks_power,
    mann_whitney,
    paper_arithmetic,
    wilson,
)

FIGURES = {"ks": 0.077, "n_synthetic": 500, "n_real": 2500, "artefact_rate_low": 0.06, "artefact_rate_high": 0.08}


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.9, 0.001, np.nan]), [1.0, 1.0, 0.003, np.nan])


def test_benjamini_hochberg_by_hand():
    np.testing.assert_allclose(benjamini_hochberg([0.01, 0.04, 0.03, 0.005]), [0.02, 0.04, 0.04, 0.02])
    np.testing.assert_allclose(benjamini_hochberg([np.nan, 0.02]), [np.nan, 0.02])
    assert np.isnan(benjamini_hochberg([np.nan])).all()


def test_cliffs_delta_by_hand_and_by_loops():
    assert cliffs_delta([1, 2, 3], [2, 3, 4]).estimate == pytest.approx((1 - 6) / 9)
    rng = np.random.default_rng(0)
    x, y = np.round(rng.random(11), 1), np.round(rng.random(17), 1)
    expected = sum(int(a > b) - int(a < b) for a in x for b in y) / (11 * 17)
    assert cliffs_delta(x, y).estimate == pytest.approx(expected)
    assert cliffs_delta([5, 6], [1, 2]).estimate == 1.0


def test_hodges_lehmann_equals_brute_force():
    rng = np.random.default_rng(1)
    x, y = rng.normal(1, 1, 33), rng.normal(0, 1, 28)
    effect = hodges_lehmann(x, y)
    assert effect.estimate == pytest.approx(np.median([a - b for a in x for b in y]))
    # the interval is the set of shifts that the Mann–Whitney test doesn't reject, up to one rank
    for bound, sign in ((effect.low, 1), (effect.high, -1)):
        inside = mannwhitneyu(x - bound - sign * 0.15, y, use_continuity=False, method="asymptotic").pvalue
        outside = mannwhitneyu(x - bound + sign * 0.15, y, use_continuity=False, method="asymptotic").pvalue
        assert outside < 0.05 < inside


@pytest.mark.parametrize("estimator", [hodges_lehmann, cliffs_delta])
def test_intervals_cover_the_truth(estimator):
    rng = np.random.default_rng(2)
    intervals = [estimator(rng.normal(size=40), rng.normal(size=60)) for _ in range(600)]
    covered = np.mean([effect.low <= 0.0 <= effect.high for effect in intervals])
    assert 0.92 <= covered <= 0.975


@pytest.mark.parametrize("estimator", [hodges_lehmann, cliffs_delta])
def test_intervals_of_patients_with_two_breasts_are_wider(estimator):
    rng = np.random.default_rng(3)
    groups = np.concatenate([np.repeat(np.arange(25), 2), np.repeat(np.arange(100, 140), 2)])
    plain, grouped = [], []
    for _ in range(400):
        x, y = (np.repeat(rng.normal(size=n), 2) + 0.3 * rng.normal(size=2 * n) for n in (25, 40))
        for found, option in ((plain, None), (grouped, groups)):
            effect = estimator(x, y, groups=option)
            found.append(effect.low <= 0.0 <= effect.high)
    assert np.mean(plain) < 0.88
    assert 0.91 <= np.mean(grouped) <= 0.98


def test_mann_whitney_is_scipys_for_single_breasts_and_calibrated_for_two():
    rng = np.random.default_rng(4)
    x, y = rng.random(20), rng.random(30)
    assert mann_whitney(x, y) == mann_whitney(x, y, groups=np.arange(50)) == mannwhitneyu(x, y).pvalue
    groups = np.concatenate([np.repeat(np.arange(25), 2), np.repeat(np.arange(100, 140), 2)])
    samples = [[np.repeat(rng.normal(size=n), 2) for n in (25, 40)] for _ in range(400)]
    assert np.mean([mann_whitney(a, b) < 0.05 for a, b in samples]) > 0.10
    assert np.mean([mann_whitney(a, b, groups=groups) < 0.05 for a, b in samples]) <= 0.085


@pytest.mark.parametrize(("shift", "n", "expected"), [(0.0, 400, "equivalent"), (0.3, 400, "beyond margin"),
                                                      (0.0, 8, "inconclusive"), (0.05, 400, "inconclusive")])
def test_equivalence_needs_the_interval_inside_the_margin(shift, n, expected):
    quantiles = np.linspace(0.5, 1.0, n)
    assert equivalence(quantiles + shift, quantiles, margin=0.05) == expected


def test_wilson_gives_the_papers_intervals():
    assert [round(value, 3) for value in wilson(30, 500)] == [0.06, 0.042, 0.084]
    assert [round(value, 3) for value in wilson(40, 500)] == [0.08, 0.059, 0.107]
    assert wilson(0, 10).low == 0.0 < wilson(0, 10).high
    assert wilson(10, 10).high == 1.0 and np.isnan(wilson(0, 0)).all()
    assert wilson(2, 10).low < wilson(2.5, 10).low < wilson(3, 10).low
    with pytest.raises(ValueError, match="wilson: 11 successes of 10"):
        wilson(11, 10)


@pytest.mark.parametrize(("shift", "expected"), [(0.2, 0.29), (0.3, 0.59), (0.5, 0.97)])
def test_power_of_ks_at_100_against_300(shift, expected):
    assert ks_power(100, 300, shift, n_draws=2000, seed=1) == pytest.approx(expected, abs=0.05)
    assert ks_power(100, 300, 0.0, n_draws=2000, seed=1) <= 0.06


def test_the_papers_ks_lies_above_what_equality_gives():
    assert ks_null(500, 2500).sf(0.077) == pytest.approx(0.013, abs=0.001)
    assert ks_null(500, 2500).isf(0.05) == pytest.approx(0.066, abs=0.001)
    assert ks_power(70, 90, 0.0, n_draws=4000, seed=1) == pytest.approx(0.05, abs=0.015)
    assert ks_null_mean(500, 2500) == pytest.approx(0.043, abs=0.002)


def test_paper_arithmetic_follows_its_figures():
    table = paper_arithmetic(FIGURES)
    assert list(table) == ["quantity", "paper", "value", "low", "high", "reading"]
    assert table["reading"][0] == "taken at its word, it rejects equality"
    assert paper_arithmetic(FIGURES | {"ks": 0.05})["reading"][0] == "taken at its word, it doesn't reject equality"
    assert table.loc[3, ["low", "high"]].round(3).tolist() == [0.042, 0.084]
    with pytest.raises(ValueError, match="figure 'ks' is missing"):
        paper_arithmetic({})
