import numpy as np
import pandas as pd
import pytest
from drawn_views import pairs_of

from mammorgb_utils.evaluation.consistency import (
    derangement,
    nearest_area_overlap,
    nearest_area_pairing,
    pairing_gain,
    score_of_gains,
    shuffled_overlap,
)
from mammorgb_utils.evaluation.overlap import iou, pair_masks
from mammorgb_utils.evaluation.statistics import patient_of, weighted_median

DEPTHS = [(0.3, 0.35), (0.5, 0.55), (0.7, 0.75), (0.9, 0.95), (0.4, 0.45), (0.6, 0.65)]


@pytest.fixture(scope="module")
def masks():
    return pair_masks(pairs_of(DEPTHS))


def test_shuffled_pairs_have_the_overlap_of_their_masks(masks):
    names = [f"pair{i}" for i in range(6)]
    table = shuffled_overlap(masks, n_draws=7, seed=1, pairs=names)
    assert list(table) == ["draw", "cc_pair", "mlo_pair", "iou", "iou_no_muscle"]
    assert len(table) == 7 * 6
    assert (table["cc_pair"] != table["mlo_pair"]).all()
    for _, draw in table.groupby("draw"):
        assert sorted(draw["mlo_pair"]) == sorted(draw["cc_pair"]) == names
    for row in table.itertuples():
        cc, mlo = names.index(row.cc_pair), names.index(row.mlo_pair)
        assert row.iou == pytest.approx(iou(masks.breast[cc, 0], masks.breast[mlo, 1]))
        assert row.iou_no_muscle == pytest.approx(iou(masks.breast[cc, 0], masks.mlo_no_muscle[mlo]))
    pd.testing.assert_frame_equal(table, shuffled_overlap(masks, n_draws=7, seed=1, pairs=names))


def test_derangement_separates_patients_and_stays_in_its_stratum():
    rng = np.random.default_rng(0)
    patients = np.array(list("aabbccddee"))
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    for _ in range(200):
        partner = derangement(10, rng, patients=patients, strata=strata)
        assert sorted(partner) == list(range(10))
        assert (patients[partner] != patients).all()
        assert (strata[partner] == strata).all()


def test_derangements_are_spread_evenly():
    rng = np.random.default_rng(1)
    counts = pd.Series([tuple(derangement(4, rng)) for _ in range(3600)]).value_counts()
    assert len(counts) == 9  # the derangements of four
    assert counts.between(340, 460).all()


def test_many_breasts_a_patient_still_find_a_derangement():
    patients = np.repeat([0, 1], 15)
    partner = derangement(30, np.random.default_rng(2), patients=patients)
    assert sorted(partner) == list(range(30))
    assert (patients[partner] != patients).all()


def test_impossible_derangements_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="more than half of 3 pairs"):
        derangement(3, rng, patients=["a", "a", "b"])
    with pytest.raises(ValueError, match="use fewer strata"):
        derangement(3, rng, strata=[0, 0, 1])
    with pytest.raises(ValueError, match="2 labels for 3 pairs"):
        derangement(3, rng, patients=["a", "b"])


def test_nearest_area_takes_another_patients_view(masks):
    cc, mlo = [0.1, 0.2, 0.3], [0.11, 0.18, 0.5]
    assert nearest_area_pairing(cc, mlo).tolist() == [1, 0, 1]
    assert nearest_area_pairing(cc, mlo, patients=["a", "a", "b"]).tolist() == [2, 2, 1]
    with pytest.raises(ValueError, match="all pairs are of one patient"):
        nearest_area_pairing(cc, mlo, patients=["a"] * 3)
    table = nearest_area_overlap(masks)
    assert table["mlo_pair"].tolist() == [4, 4, 5, 2, 0, 1]


def paired(values, prefix):
    return pd.DataFrame({"set": prefix, "pair": [f"{prefix}{i}" for i in range(len(values))], "iou": values})


def shuffled(values, prefix):
    n = len(values)
    return pd.DataFrame({"cc_pair": [f"{prefix}{i}" for i in range(n)],
                         "mlo_pair": [f"{prefix}{(i + 1) % n}" for i in range(n)], "iou": values})


def consistency_score(paired_syn, shuffled_syn, paired_real, shuffled_real, *, n_bootstrap, seed):
    return score_of_gains(pairing_gain(paired_syn, shuffled_syn, n_bootstrap=n_bootstrap, seed=seed),
                          pairing_gain(paired_real, shuffled_real, n_bootstrap=n_bootstrap, seed=seed + 1))


def test_consistency_score_is_the_ratio_of_gains_with_an_interval():
    rng = np.random.default_rng(5)
    syn = paired(0.80 + 0.03 * rng.normal(size=80), "s"), shuffled(0.70 + 0.03 * rng.normal(size=80), "s")
    real = paired(0.84 + 0.03 * rng.normal(size=90), "r"), shuffled(0.64 + 0.03 * rng.normal(size=90), "r")
    score = consistency_score(*syn, *real, n_bootstrap=400, seed=0)
    gains = [p["iou"].median() - s["iou"].median() for p, s in (syn, real)]
    assert score.estimate == pytest.approx(gains[0] / gains[1])
    assert 0.35 < score.low < score.estimate < score.high < 0.65
    assert score == consistency_score(*syn, *real, n_bootstrap=400, seed=0)
    with_nan = syn[0].copy()
    with_nan.loc[len(with_nan)] = ["s", "s80", np.nan]
    again = consistency_score(with_nan, *syn[1:], *real, n_bootstrap=50, seed=0)
    assert again.estimate == pytest.approx(score.estimate)


def test_score_is_undefined_without_a_real_gain_and_unbounded_near_it():
    values = np.linspace(0.6, 0.9, 30)
    syn = paired(values, "s"), shuffled(values - 0.1, "s")
    nothing = paired(values, "r"), shuffled(values + 0.01, "r")
    assert np.isnan(consistency_score(*syn, *nothing, n_bootstrap=50, seed=0)).all()
    little = paired(values, "r"), shuffled(values[::-1] - 0.001, "r")
    score = consistency_score(*syn, *little, n_bootstrap=200, seed=0)
    assert np.isfinite(score.estimate)
    assert np.isnan([score.low, score.high]).all()


def test_shuffled_pairs_of_another_set_are_refused():
    values = np.linspace(0.6, 0.9, 5)
    with pytest.raises(ValueError, match="pair r0 isn't among the paired ones"):
        consistency_score(paired(values, "s"), shuffled(values, "r"), paired(values, "r"), shuffled(values, "r"),
                          n_bootstrap=5, seed=0)


def test_weighted_median_counts_like_repetition():
    rng = np.random.default_rng(6)
    for n in (1, 2, 9, 16, 61):
        values, weights = np.sort(rng.random(n)), rng.integers(0, 4, (n, 50))
        expected = [np.median(np.repeat(values, column)) if column.any() else np.nan for column in weights.T]
        np.testing.assert_allclose(weighted_median(values, weights), expected)
        assert np.isnan(weighted_median(values, np.zeros((n, 1), int))[0])


def test_synthetic_pairs_are_their_own_patients():
    frame = pd.DataFrame({"set": ["real", "sum", "zero"], "pair": [0, 0, 0], "patient": ["P1", np.nan, np.nan]})
    assert patient_of(frame).tolist() == ["P1", "sum pair 0", "zero pair 0"]
