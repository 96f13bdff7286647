"""Areas and their errors against scikit-learn, scipy, cases by hand and simulation."""

import warnings

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import roc_auc_score
from utility_study import blob_pool, scores_of_area

from mammorgb_utils.experiments.utility.estimates import Estimate, area_draws, estimate, item_weights, welch
from mammorgb_utils.experiments.utility.planning import power
from mammorgb_utils.experiments.utility.pool import pairing_items


def test_weighted_areas_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, label = rng.normal(size=90).round(1).astype(np.float32), rng.random(90) < 0.4  # with ties
    weights = rng.integers(0, 4, (90, 5)).astype(np.float32)
    weights[:, 0] = 1.0
    expected = [roc_auc_score(label, scores, sample_weight=column) for column in weights.T]
    np.testing.assert_allclose(area_draws(scores, label, weights), expected, rtol=1e-9)


def test_an_area_by_hand_and_one_without_a_class():
    scores, label = np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False])
    weights = np.array([[1, 1, 2], [1, 0, 1], [1, 1, 1], [1, 1, 0]], np.float32)
    assert area_draws(scores, label, weights).tolist() == [(1 + 1 + 0 + 0.5) / 4, 1.0, (2 * 1 + 1 * 0) / 3]
    assert np.isnan(area_draws(scores, label, weights * label[:, None])).all()
    assert np.isnan(area_draws(np.array([3.0, np.nan, 2.0, 1.0]), label, weights)).all(), "of scores that are none"


def test_a_stranger_counts_as_often_as_both_patients_are_drawn():
    pool = blob_pool({"heldout": [f"W{i // 2}" for i in range(20)]})
    items = pairing_items(pool, pool.rows("heldout"))
    weights, patients = item_weights(pool, items, n_bootstrap=50, seed=1)
    assert weights.shape == (len(items.cc), 51) and patients == 10 and (weights[:, 0] == 1).all()
    own = {row: weights[np.flatnonzero(items.label & (items.cc == row))[0]] for row in items.cc}
    for cc, mlo, label, weight in zip(*items, weights, strict=True):
        if not label:
            np.testing.assert_array_equal(weight, own[cc] * own[mlo])
    breasts = {patient: [own[row] for row in own if pool.patients[row] == patient] for patient in pool.patients}
    assert all(np.array_equal(first, second) for first, second in breasts.values()), "a patient's breasts go together"


def test_an_error_of_one_source_is_student_s():
    values = np.array([0.61, 0.64, 0.6, 0.66])
    found = Estimate(values.mean(), 0.0, values.std(ddof=1), 1000, 4)
    expected = ttest_1samp(values, 0.5)
    assert found.interval()[1:] == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p(0.5) == pytest.approx(expected.pvalue)
    error, df = welch(0.01, 0.0, 200, 4)
    assert (error, df) == (pytest.approx(0.01), pytest.approx(199))
    assert Estimate(0.0, 0.0, 0.0, 10, 3).p() == 1.0 and Estimate(0.1, 0.0, 0.0, 10, 3).p() == 0.0


def test_one_training_has_no_interval():
    found = estimate([np.array([0.6, 0.59, 0.61])], 10)
    assert found.value == 0.6 and np.isnan(found.interval()[1:]).all() and np.isnan(found.p())


def test_intervals_cover_over_patients_and_trainings():
    """A difference whose truth is 0: two classifiers share patients, and each training has luck of its own."""
    rng, covered, n = np.random.default_rng(5), [], 60
    label = np.arange(2 * n) < n
    from mammorgb_utils.evaluation.statistics import patient_weights

    for _ in range(150):
        weights = np.concatenate([np.ones((2 * n, 1)), next(patient_weights(2 * n, 150, rng, n_values=2 * n))], axis=1)
        base, draws = scores_of_area(0.7, n, n, rng), []
        for _ in range(4):
            areas = [area_draws(base + rng.normal(0.0, 0.5, 2 * n) + rng.normal(0.0, 0.5) * label, label,
                                weights.astype(np.float32)) for _ in range(2)]
            draws.append(areas[0] - areas[1])
        found = estimate(draws, 2 * n).interval()
        covered.append(found.low <= 0.0 <= found.high)
    assert 0.9 <= np.mean(covered) <= 1.0


def test_power_rises_with_trainings_and_patients_and_is_alpha_without_a_margin():
    few, many = (power(0.01, 0.02, 200, seeds, margin=0.02, alpha=0.05, tests=1) for seeds in (3, 20))
    assert few[0] < many[0] and few[1] < many[1]
    assert power(0.002, 0.004, 5000, 10, margin=0.02, alpha=0.05, tests=3) == pytest.approx((1.0, 1.0), abs=0.01)
    assert power(0.01, 0.0, 10_000, 5, margin=1e-9, alpha=0.05, tests=1)[0] == pytest.approx(0.025, abs=0.012)
    normal = power(0.01, 0.0, 100_000, 5, margin=0.02, alpha=0.05, tests=1)[0]
    assert normal == pytest.approx(0.516, abs=0.04), "P(Z > 1.96 − 2)"
    with warnings.catch_warnings(action="error"):
        assert power(0.0, 0.0, 200, 5, margin=0.02, alpha=0.05, tests=1) == (1.0, 1.0), "arms that do the same"
    assert np.isnan(power(0.01, np.nan, 200, 1, margin=0.02, alpha=0.05, tests=1)).all()
