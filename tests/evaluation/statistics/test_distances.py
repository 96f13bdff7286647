import numpy as np
import pytest

from mammorgb_utils.evaluation.statistics import emd, ks, noise_floor, null_band


def emd_by_hand(x, y):
    """Area between the step functions, walked from value to value."""
    points = sorted([*x, *y])
    area = 0.0
    for left, right in zip(points, points[1:], strict=False):
        area += abs(sum(v <= left for v in x) / len(x) - sum(v <= left for v in y) / len(y)) * (right - left)
    return area


def ks_by_hand(x, y):
    return max(abs(sum(v <= t for v in x) / len(x) - sum(v <= t for v in y) / len(y)) for t in [*x, *y])


def test_hand_worked_distances():
    assert emd([0, 1, 3], [5, 6, 8]) == pytest.approx(5.0)
    assert emd([0.0], [0.0, 1.0]) == pytest.approx(0.5)
    assert ks([1, 2, 3, 4], [3, 4, 5, 6]) == pytest.approx(0.5)
    assert ks([0, 0, 1], [0, 1, 1, 1]) == pytest.approx(2 / 3 - 1 / 4)
    assert emd([0.3, 0.7], [0.7, 0.3]) == ks([0.3, 0.7], [0.7, 0.3]) == 0.0


def test_second_implementation_agrees_with_ties_and_unequal_lengths():
    rng = np.random.default_rng(1)
    for _ in range(15):
        x, y = np.round(rng.random(9), 1), np.round(rng.random(14), 1)
        assert emd(x, y) == pytest.approx(emd_by_hand(x, y))
        assert ks(x, y) == pytest.approx(ks_by_hand(x, y))


@pytest.mark.parametrize("function", [emd, ks])
def test_empty_and_nan_samples_are_refused(function):
    with pytest.raises(ValueError, match="y: empty sample"):
        function([1.0], [])
    with pytest.raises(ValueError, match="x: holds NaN"):
        function([1.0, np.nan], [1.0])


@pytest.mark.parametrize("statistic", [emd, ks])
def test_vectorised_null_equals_the_plain_one(statistic):
    rng = np.random.default_rng(2)
    x, y = np.round(rng.random(12), 1), np.round(rng.random(20), 1)
    fast = null_band(x, y, statistic, n_draws=60, level=0.9, seed=5)
    slow = null_band(x, y, lambda a, b: statistic(a, b), n_draws=60, level=0.9, seed=5)
    np.testing.assert_allclose(fast, slow)


def test_p_counts_itself_and_band_is_ordered():
    x, y = np.linspace(0, 1, 30), np.linspace(5, 6, 40)
    band = null_band(x, y, emd, n_draws=99, level=0.95, seed=0)
    assert band.p == pytest.approx(1 / 100)
    assert 0.0 < band.low < band.median < band.high < emd(x, y)
    assert null_band(x, x, emd, n_draws=99, level=0.95, seed=0).p == 1.0
    assert band == null_band(x, y, emd, n_draws=99, level=0.95, seed=0)
    assert band != null_band(x, y, emd, n_draws=99, level=0.95, seed=1)


@pytest.mark.parametrize("statistic", [emd, ks])
def test_false_positives_under_the_null(statistic):
    rng = np.random.default_rng(7)
    p = [null_band(rng.normal(size=30), rng.normal(size=50), statistic, n_draws=99, level=0.95, seed=i).p
         for i in range(600)]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def clustered_sample(rng, patients):
    shared = rng.normal(size=patients) * np.sqrt(0.8)
    return np.repeat(shared, 2) + rng.normal(size=2 * patients) * np.sqrt(0.2)


def test_patients_with_two_breasts_need_groups():
    rng = np.random.default_rng(8)
    groups = np.concatenate([np.repeat(np.arange(20), 2), np.repeat(np.arange(100, 130), 2)])
    plain, grouped = [], []
    for i in range(500):
        x, y = clustered_sample(rng, 20), clustered_sample(rng, 30)
        plain.append(null_band(x, y, ks, n_draws=99, level=0.95, seed=i).p)
        grouped.append(null_band(x, y, ks, n_draws=99, level=0.95, seed=i, groups=groups).p)
    assert np.mean(np.array(plain) <= 0.05) > 0.09
    assert np.mean(np.array(grouped) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)


def test_groups_keep_a_patient_together():
    x, y = [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]
    band = null_band(x, y, emd, n_draws=400, level=0.99, seed=0, groups=["a", "a", "b", "b", "c", "c", "d", "d"])
    # of the 6 ways to draw two of four patients, 2 separate the values and 4 mix them half and half
    assert band.p == pytest.approx(1 / 3, abs=0.07)
    assert {band.low, band.high} == {0.0, 1.0}


def test_wrong_groups_are_refused():
    with pytest.raises(ValueError, match="3 patients for 2 \\+ 2 values"):
        null_band([0.0, 1.0], [2.0, 3.0], emd, n_draws=9, level=0.95, seed=0, groups=["a", "b", "c"])
    with pytest.raises(ValueError, match="patient 'b' is in both samples"):
        null_band([0.0, 1.0], [2.0, 3.0], emd, n_draws=9, level=0.95, seed=0, groups=["a", "b", "b", "c"])


def test_noise_floor_is_that_of_disjoint_parts():
    real = np.random.default_rng(4).normal(0.84, 0.07, 2500)
    floor = noise_floor(real, 500, emd, n_draws=400, seed=0)
    assert 0.003 <= floor.median <= 0.0055
    assert floor.low < floor.median < floor.high
    assert floor.n == 500
    assert noise_floor([0.0, 1.0], 1, emd, n_draws=20, seed=0) == (1.0, 1.0, 1.0, 1)  # never a value against itself
    with pytest.raises(ValueError, match="4 of 4 real patients leave one side empty"):
        noise_floor([1.0, 2.0, 3.0, 4.0], 4, emd, n_draws=9, seed=0)
