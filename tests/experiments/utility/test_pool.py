"""What a classifier is asked, by hand: own views, strangers of nearest area, never of the same patient."""

import numpy as np
import pytest
from utility_study import blob_pool

from mammorgb_utils.experiments.utility import Items
from mammorgb_utils.experiments.utility.pool import STRANGERS, label_items, pairing_items


@pytest.fixture(scope="module")
def pool():
    return blob_pool({"train": [f"W{i // 2}" for i in range(16)], "sum": [f"S{i}" for i in range(8)]})


def test_every_cc_stands_beside_its_own_mlo_and_strangers_of_nearest_area(pool):
    rows = pool.rows("train")
    items = pairing_items(pool, rows)
    own, other = items.label, ~items.label
    np.testing.assert_array_equal(items.cc[own], items.mlo[own])
    assert set(items.cc[own]) == set(rows) and own.sum() == len(rows)
    assert (pool.patients[items.cc[other]] != pool.patients[items.mlo[other]]).all()
    ends = np.sort(pool.areas[rows])[[0, -1]]
    for cc in rows:
        beside = items.mlo[other & (items.cc == cc)]
        strangers = rows[pool.patients[rows] != pool.patients[cc]]
        assert len(beside) == len(set(beside)) == STRANGERS
        if pool.areas[cc] not in ends:  # on both sides, so that strangers are neither larger nor smaller as a rule
            assert min(pool.areas[beside]) < pool.areas[cc] < max(pool.areas[beside])
        far = np.abs(pool.areas[strangers] - pool.areas[cc])
        assert np.abs(pool.areas[beside] - pool.areas[cc]).max() < np.sort(far)[-1]


def test_strangers_of_shuffled_pairs_are_of_neither_breast(pool):
    rows = pool.rows("sum")
    partners = np.roll(rows, 1)
    items = pairing_items(pool, rows, partners)
    true = dict(zip(rows, partners, strict=True))
    assert all(true[cc] == mlo for cc, mlo in zip(items.cc[items.label], items.mlo[items.label], strict=True))
    for cc, mlo in zip(items.cc[~items.label], items.mlo[~items.label], strict=True):
        assert mlo not in (cc, true[cc]) and mlo in rows


def test_a_pool_numbers_all_sets_through_and_reads_their_views(pool):
    assert pool.rows("sum").tolist() == list(range(16, 24))
    views = pool.views(np.array([20, 3, 16]), 1)
    np.testing.assert_array_equal(views, [pool.parts["sum"][4, 1], pool.parts["train"][3, 1], pool.parts["sum"][0, 1]])


def test_a_pair_without_a_mask_has_no_row():
    pairs = blob_pool({"train": ["A", "B", "C"]}).parts["train"].copy()
    pairs[1, 0] = 0.0
    from mammorgb_utils.protocol import Protocol

    pool = type(blob_pool({"train": ["A"]})).of({"train": pairs}, Protocol.load("smoke", image_size=16))
    assert pool.rows("train").tolist() == [0, 2]


def test_repeated_items_keep_their_classes():
    items = label_items(np.arange(5), np.array([1, 0, 0, 1, 0]))
    twice = items.repeated(2.4, np.random.default_rng(1))
    assert twice.label.sum() == 5 and (~twice.label).sum() == 7
    assert set(twice.cc[twice.label]) == {0, 3} and set(twice.cc[~twice.label]) == {1, 2, 4}
    others = [items.repeated(1.4, np.random.default_rng(seed)).cc.tolist() for seed in range(9)]
    assert {cc for part in others for cc in part if part.count(cc) > 1} > {0, 3}, "not always the first ones"
    joined = Items.joined(items, twice)
    assert len(joined.cc) == len(joined.mlo) == len(joined.label) == 17
