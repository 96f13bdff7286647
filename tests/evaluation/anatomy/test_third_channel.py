import numpy as np
import pandas as pd
import pytest
from drawn_views import pairs_of

from mammorgb_utils.evaluation.anatomy import computed_third, third_residuals
from mammorgb_utils.evaluation.overlap import pair_masks
from mammorgb_utils.protocol import Protocol

DEPTHS = [(0.3, 0.35), (0.5, 0.55), (0.7, 0.75), (0.9, 0.95), (0.4, 0.45), (0.6, 0.65)]
NAMES = [f"p{i}" for i in range(6)]


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(3)
    return (pairs_of(DEPTHS) * rng.uniform(0.4, 1.0, (6, 2, 1, 1))).astype(np.float32)


def residuals(pairs, third, encoding):
    protocol = Protocol.load("smoke", n_derangements=4)
    return third_residuals(pairs, third, pair_masks(pairs), encoding, protocol, names=NAMES, patients=NAMES,
                           strata=[0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("encoding", ["sum", "absdiff"])
def test_a_channel_computed_from_the_views_leaves_no_residual_but_a_strangers_does(pairs, encoding):
    table = residuals(pairs, computed_third(pairs, encoding, sum_scale=0.5), encoding)
    assert set(table["measure"]) == {f"third_{encoding}"}
    assert table.groupby("null").size().to_dict() == {"own": 6, "global": 24, "strata": 24}
    own = table["null"] == "own"
    assert (table.loc[own, "cc_pair"] == table.loc[own, "mlo_pair"]).all() and (table.loc[own, "residual"] == 0).all()
    assert (table.loc[~own, "cc_pair"] != table.loc[~own, "mlo_pair"]).all() and (table.loc[~own, "residual"] > 0).all()
    stratum = dict(zip(NAMES, [0, 0, 0, 1, 1, 1], strict=True))
    within = table[table["null"] == "strata"]
    assert (within["cc_pair"].map(stratum) == within["mlo_pair"].map(stratum)).all()


@pytest.mark.parametrize("encoding", ["sum", "absdiff", "zero"])
def test_the_channel_of_real_pairs_is_computed(pairs, encoding):
    computed = residuals(pairs, computed_third(pairs, encoding, sum_scale=0.5), encoding)
    pd.testing.assert_frame_equal(residuals(pairs, None, encoding), computed)


def test_a_residual_is_the_mean_difference_inside_the_breast_over_the_channels_spread(pairs):
    exact = computed_third(pairs, "sum", sum_scale=0.5)
    np.testing.assert_allclose(exact, np.clip((pairs[:, 0] + pairs[:, 1]) * 0.5, 0, 1))
    inside = pair_masks(pairs).breast.any(axis=1)
    third = exact + 0.1
    third[~inside] = 1.0  # what lies outside doesn't count
    table = residuals(pairs, third, "sum")
    np.testing.assert_allclose(table.loc[table["null"] == "own", "residual"], 0.1 / exact[inside].std(), rtol=1e-4)


def test_the_zero_channel_has_no_spread_and_no_stranger(pairs):
    table = residuals(pairs, np.full((6, 64, 64), 0.02, np.float32), "zero")
    np.testing.assert_allclose(table["residual"], 0.02, rtol=1e-5)


def test_pairs_without_their_third_channel_are_refused(pairs):
    with pytest.raises(ValueError, match="third: 3 channels for 6 pairs; draw both in one run"):
        residuals(pairs, np.zeros((3, 64, 64), np.float32), "sum")
