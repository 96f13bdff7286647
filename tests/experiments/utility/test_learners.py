"""Both learners: the same seed gives the same answers, and what is planted is learned."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tiny_models import SIZE, blob_pairs

from mammorgb_utils.experiments.utility import Pool
from mammorgb_utils.experiments.utility import siamese as module
from mammorgb_utils.experiments.utility.logistic import fit_logistic, score_logistic
from mammorgb_utils.experiments.utility.pool import label_items, pairing_items
from mammorgb_utils.experiments.utility.siamese import Siamese, augmented, fit_siamese, score_siamese
from mammorgb_utils.protocol import Protocol


@pytest.fixture(scope="module")
def pool():
    sets = {"train": blob_pairs(40), "heldout": blob_pairs(40, seed=9)}
    return Pool.of(sets, Protocol.load("smoke", image_size=SIZE))


@pytest.fixture(scope="module")
def bright(pool):
    """Is a breast brighter than the median one?"""
    mean = np.concatenate([[pair[pair > 0].mean() for pair in part] for part in pool.parts.values()])
    return {part: label_items(pool.rows(part), (mean > np.median(mean))[pool.rows(part)]) for part in pool.parts}


def test_the_network_learns_and_repeats_itself(pool, bright):
    model = fit_siamese(pool, bright["train"], steps=60, seed=1)
    scores = score_siamese(model, pool, bright["heldout"])
    assert scores.dtype == np.float32 and roc_auc_score(bright["heldout"].label, scores) > 0.9
    state = torch.random.get_rng_state()
    again = fit_siamese(pool, bright["train"], steps=60, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state), "no global draw"
    np.testing.assert_array_equal(score_siamese(again, pool, bright["heldout"]), scores)
    other = fit_siamese(pool, bright["train"], steps=60, seed=2)
    assert not np.array_equal(score_siamese(other, pool, bright["heldout"]), scores)


def test_every_item_is_scored_by_its_own_views(pool, monkeypatch):
    model, items = fit_siamese(pool, pairing_items(pool, pool.rows("train")), steps=1, seed=1), pairing_items(
        pool, pool.rows("heldout"))
    whole = score_siamese(model, pool, items)
    monkeypatch.setattr(module, "_SCORED", 7)
    np.testing.assert_allclose(score_siamese(model, pool, items), whole, rtol=1e-4, atol=1e-5)
    one = type(items)(*(column[5:6] for column in items))
    np.testing.assert_allclose(score_siamese(model, pool, one), whole[5:6], rtol=1e-4, atol=1e-5)


def test_steps_see_both_classes_alike_whatever_their_numbers(pool, monkeypatch):
    drawn = []
    monkeypatch.setattr(Siamese, "embed", lambda self, views: drawn.append(views) or self.code.weight.new_zeros(
        (len(views), 32), requires_grad=True))
    rows = pool.rows("train")
    fit_siamese(pool, label_items(rows, np.arange(len(rows)) < 3), steps=4, seed=0)
    few = {tuple(view.ravel().tolist()) for view in pool.views(rows[:3], 0)}
    for views in drawn:
        cc = views[:module.BATCH]
        assert [tuple(view.ravel().tolist()) in few for view in cc] == [True] * 16 + [False] * 16


@pytest.mark.parametrize(("size", "side"), [(16, 4), (64, 8), (96, 6), (256, 8)])
def test_a_network_fits_the_study_s_size(size, side):
    model = Siamese(size)
    assert model.encoder(torch.zeros(1, 1, size, size)).shape[2:] == (side, side)
    assert model.compare(*model.embed(torch.zeros(4, size, size)).chunk(2)).shape == (2,)


def test_augmentation_changes_both_views_alike_and_leaves_the_chest_wall():
    views = torch.zeros(6, 64, 64)
    views[:, 24:40, :32] = 0.5
    cc, mlo = augmented([views, views], np.random.default_rng(0))
    assert cc.shape == views.shape and 0.0 <= cc.min() and cc.max() <= 1.0
    widths = [(part[:, 32] > 0.25).sum(dim=1) for part in (cc, mlo)]
    assert torch.equal(*widths) and len(set(widths[0].tolist())) > 1, "one scale a pair"
    assert (cc[:, 32, 0] > 0.4).all(), "still at the edge"
    grey = [part[:, 32, 4] for part in (cc, mlo)]
    torch.testing.assert_close(*grey)
    assert grey[0].std() > 0.005
    rows = [(part[:, :, 2] > 0.25).float() for part in (cc, mlo)]
    assert not torch.equal(*rows), "each view is placed by itself"


def test_logistic_regression_finds_what_two_views_share(pool):
    train, test = (pairing_items(pool, pool.rows(part)) for part in ("train", "heldout"))
    model = fit_logistic(pool, train)
    scores = score_logistic(model, pool, test)
    assert roc_auc_score(test.label, scores) > 0.75
    np.testing.assert_array_equal(score_logistic(fit_logistic(pool, train), pool, test), scores)
    swapped = type(test)(test.cc, np.random.default_rng(0).permutation(test.mlo), test.label)
    assert roc_auc_score(swapped.label, score_logistic(model, pool, swapped)) < 0.6, "strangers all"


def test_repeated_items_teach_the_anatomy_nothing_new(pool):
    items, asked = pairing_items(pool, pool.rows("train")), pairing_items(pool, pool.rows("heldout"))
    rng = np.random.default_rng(1)
    once, often = (score_logistic(fit_logistic(pool, part), pool, asked) for part in (items, items.repeated(5.0, rng)))
    np.testing.assert_allclose(often, once, atol=0.01)
