"""Fidelity and diversity: what each metric must say of sets whose relation to real is known."""

import numpy as np
import pandas as pd
import pytest

from mammorgb_utils.evaluation.fidelity.metrics import (
    METRICS,
    coverage,
    density,
    effective_number,
    fidelity_table,
    kid,
    nearest_distance,
    texture_shift,
)
from mammorgb_utils.evaluation.fidelity.texture import FEATURE_SET, feature_columns
from mammorgb_utils.protocol import Protocol

COLUMNS = feature_columns()
PROTOCOL = Protocol(encodings=("sum",))


def sample(n, seed):
    """Correlated features, as textures have: five causes behind all of them."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).standard_normal((5, len(COLUMNS)))
    return rng.standard_normal((n, 5)) @ mixing + 0.3 * rng.standard_normal((n, len(COLUMNS)))


def rows(values, name, patients=None):
    names = [f"{name}-{i:03d}" for i in range(len(values))]
    return pd.DataFrame(values, columns=COLUMNS).assign(set=name, pair=names, patient=patients or names)


def table(synthetic, real, **changes):
    frame = pd.concat([rows(real, "real"), rows(synthetic, "sum")], ignore_index=True)
    return fidelity_table(frame, PROTOCOL.changed(**changes), n_subsets=60).set_index("metric")


def test_kid_agrees_with_sums_over_loops():
    x, y = np.random.default_rng(1).standard_normal((2, 7, 3))
    y = y[:5]

    def mean(a, b, skip):
        values = [(np.dot(p, q) / 3 + 1) ** 3 for i, p in enumerate(a) for j, q in enumerate(b)
                  if not (skip and i == j)]
        return sum(values) / len(values)
    assert kid(x, y) == pytest.approx(mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False))


def test_kid_is_unbiased_between_samples_of_one_distribution():
    draws = [kid(*np.random.default_rng([2, i]).standard_normal((2, 30, 4))) for i in range(300)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(len(draws)) and min(draws) < 0


def test_density_and_coverage_of_a_case_worked_by_hand():
    """On a line, k = 1: reaches are 1, 1, 2; one synthetic point lies in two neighbourhoods, the other in none."""
    real, synthetic = np.array([[0.0], [1.0], [3.0]]), np.array([[1.0], [9.0]])
    assert density(real, synthetic, k=1) == pytest.approx((3 + 0) / 2)
    assert coverage(real, synthetic, k=1) == 1.0
    assert coverage(real, np.array([[0.0], [9.0]]), k=1) == pytest.approx(2 / 3)
    assert nearest_distance(real) == pytest.approx((1 + 1 + 2) / 3)


def test_a_copied_set_covers_all_and_is_no_farther_than_real_from_real():
    """Nearer even: pairs that stand on both sides count as neighbours, which no sample of its own has."""
    real = sample(200, 3)
    assert coverage(real, real) == 1.0
    found = table(real, real)
    assert found.loc["kid", "against_null"] != "above" and found.loc["coverage", "against_null"] != "below"
    assert found.loc[["spread", "diversity"], "value"].between(0.9, 1.1).all()


def test_another_sample_of_the_same_distribution_lies_within_the_null():
    found = table(sample(160, 4), sample(240, 5))
    assert set(found["against_null"]) == {"within"} and (found["n_subset"] == 80).all()
    assert (found["low"] <= found["value"]).all() and (found["value"] <= found["high"]).all()


def test_one_image_with_noise_is_found_to_be_collapsed():
    real = sample(200, 6)
    collapsed = np.repeat(sample(1, 7), 200, axis=0) + 0.05 * np.random.default_rng(8).standard_normal(real.shape)
    found = table(collapsed, real)
    assert found.loc[["spread", "diversity", "coverage"], "against_null"].eq("below").all()
    assert found.loc["spread", "value"] < 0.3 and found.loc["kid", "against_null"] == "above"


def test_a_few_modes_are_found_though_each_is_typical():
    real = sample(200, 9)
    few = real[np.random.default_rng(10).choice(8, 200)] + 0.05 * np.random.default_rng(11).standard_normal(real.shape)
    found = table(few, sample(200, 12))
    assert found.loc[["spread", "diversity", "coverage"], "against_null"].eq("below").all()


def test_a_shifted_set_is_far_and_loses_no_variety():
    real = sample(200, 13)
    found = table(sample(200, 14) + 1.5 * real.std(axis=0), real)
    assert found.loc["kid", "against_null"] == "above" and found.loc["kid", "low"] > found.loc["kid", "null_high"]
    assert found.loc["coverage", "against_null"] == "below"
    assert found.loc[["spread", "diversity"], "against_null"].eq("within").all()


def test_effective_number_counts_what_differs():
    far = 100.0 * np.eye(6)
    assert effective_number(np.repeat(far, 5, axis=0)) == pytest.approx(6.0, rel=1e-6)
    assert effective_number(np.zeros((9, 4))) == pytest.approx(1.0)


def test_two_breasts_of_a_patient_never_face_each_other():
    real = np.repeat(sample(100, 15), 2, axis=0)  # both breasts of a patient alike
    owners = [f"P{i // 2}" for i in range(200)]
    frame = pd.concat([rows(real, "real", owners), rows(sample(120, 16), "sum")])
    found = fidelity_table(frame, PROTOCOL, n_subsets=60).set_index("metric")
    assert (found["n_subset"] == 50).all() and set(found["against_null"]) == {"within"}


def test_pairs_without_texture_are_counted_and_small_sets_say_so():
    real, few = sample(60, 17), sample(30, 18)
    few[:3, 0] = np.nan
    found = table(few, real)
    assert (found["n_nan"] == 3).all() and (found["n"] == 27).all() and found["value"].isna().all()
    assert (found["note"] == "underpowered: halves of 13 patients").all() and (found["against_null"] == "").all()
    assert list(found.index) == list(METRICS) and (found["feature_set"] == FEATURE_SET).all()


def test_results_repeat_with_the_seed_and_real_pairs_must_be_there():
    real, synthetic = sample(60, 19), sample(60, 20)
    assert table(synthetic, real).equals(table(synthetic, real))
    assert not table(synthetic, real, seed=1)["value"].equals(table(synthetic, real)["value"])
    with pytest.raises(ValueError, match="no rows of the set 'real' to compare against; run 04_metrics again"):
        fidelity_table(rows(synthetic, "sum"), PROTOCOL)
    with pytest.raises(ValueError, match="3 and 60 pairs; at least 6"):
        coverage(real[:3], synthetic)


def test_the_shift_of_a_feature_is_in_real_standard_deviations():
    real = sample(80, 21)
    moved = real.copy()
    moved[:, 4] += 2.0 * real[:, 4].std()
    frame = pd.concat([rows(real, "real"), rows(moved, "sum")], ignore_index=True)
    shift = texture_shift(frame, PROTOCOL).set_index("feature")["sum"]
    assert shift[COLUMNS[4]] == pytest.approx(2.0) and shift.drop(COLUMNS[4]).abs().max() < 1e-9


def test_a_candidate_is_a_set_like_any_other():
    real, synthetic = sample(60, 22), sample(60, 23)
    frame = pd.concat([rows(real, "real"), rows(synthetic, "candidate"), rows(synthetic, "train")])
    found = fidelity_table(frame, PROTOCOL, n_subsets=60).set_index("metric")
    assert found["set"].unique().tolist() == ["candidate"]
    assert found.drop(columns="set").equals(table(synthetic, real).drop(columns="set"))
