import numpy as np
import pandas as pd
import pytest
from drawn_figures import texts
from drawn_views import mlo_breast, pairs_of, view, wedge
from scipy.stats import mannwhitneyu

from mammorgb_utils.evaluation.overlap import dsc, iou, pair_masks, pair_metrics, plausible
from mammorgb_utils.evaluation.overlap.figures import mask_overlap
from mammorgb_utils.evaluation.statistics import ks


def box(rows, columns, shape=(6, 8)):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def test_hand_worked_overlap():
    a, b = box((0, 2), (0, 4)), box((1, 3), (2, 6))  # 8 px each, 2 px shared
    assert iou(a, b) == pytest.approx(2 / 14)
    assert dsc(a, b) == pytest.approx(4 / 16)
    assert iou(a, a) == dsc(a, a) == 1.0
    assert iou(a, box((4, 5), (0, 3))) == dsc(a, box((4, 5), (0, 3))) == 0.0


def test_own_loops_agree():
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = rng.random((2, 5, 7)) < 0.4
        both = sum(bool(a[r, c] and b[r, c]) for r in range(5) for c in range(7))
        size_a, size_b = (sum(bool(m[r, c]) for r in range(5) for c in range(7)) for m in (a, b))
        assert iou(a, b) == pytest.approx(both / (size_a + size_b - both))
        assert dsc(a, b) == pytest.approx(2 * both / (size_a + size_b))


@pytest.mark.parametrize("measure", [iou, dsc])
def test_an_empty_mask_has_no_overlap_with_any(measure):
    empty = np.zeros((4, 4), bool)
    for other in (empty, ~empty):
        assert np.isnan(measure(empty, other)) and np.isnan(measure(other, empty))


@pytest.mark.parametrize("measure", [iou, dsc])
def test_masks_on_different_grids_or_of_numbers_are_refused(measure):
    with pytest.raises(ValueError, match="share a pixel grid"):
        measure(np.zeros((4, 4), bool), np.zeros((4, 5), bool))
    with pytest.raises(ValueError, match="must be boolean, got float64"):
        measure(np.zeros((4, 4)), np.zeros((4, 4), bool))


def test_dice_is_a_function_of_iou_so_ranks_and_ks_are_identical():
    rng = np.random.default_rng(0)
    masks = rng.random((60, 2, 6, 6)) < rng.uniform(0.2, 0.8, (60, 1, 1, 1))
    overlaps = np.array([iou(a, b) for a, b in masks])
    dices = np.array([dsc(a, b) for a, b in masks])
    np.testing.assert_allclose(dices, 2 * overlaps / (1 + overlaps))
    assert ks(overlaps[:25], overlaps[25:]) == ks(dices[:25], dices[25:])
    assert mannwhitneyu(overlaps[:25], overlaps[25:]).pvalue == mannwhitneyu(dices[:25], dices[25:]).pvalue


def test_pair_metrics_have_the_promised_columns_and_values():
    pairs = pairs_of([(0.5, 0.6), (0.7, 0.7), (0.4, 0.8)])
    pairs = np.concatenate([pairs, np.zeros((1, 2, 64, 64), np.float32)])
    frame = pair_metrics(pairs)
    assert list(frame) == ["iou", "dsc", "iou_no_muscle", "dsc_no_muscle", "cc_area", "mlo_area", "cc_left", "mlo_left",
                           "cc_largest", "mlo_largest"]
    assert frame["iou"][0] == pytest.approx(0.5 / 0.6, abs=0.03)  # nested ellipses: ratio of the depths
    assert frame["iou"][1] == pytest.approx(1.0)
    assert frame["cc_area"][0] == pytest.approx(np.pi / 2 * 0.5 * 0.38, rel=0.03)
    assert frame.loc[3, ["iou", "dsc"]].isna().all()
    assert not frame["cc_left"][3]


def test_muscle_is_taken_from_the_mlo_mask_only():
    body, muscle = mlo_breast(64), wedge(64, 0.4, 0.7)
    cc, mlo = view(body, tissue=0.35), view(body, tissue=0.35)
    mlo[muscle & body] += 0.25
    masks = pair_masks(np.stack([cc, mlo])[None])
    frame = pair_metrics(np.stack([cc, mlo])[None], masks=masks)
    assert frame["iou"][0] > 0.99
    assert frame["iou_no_muscle"][0] == pytest.approx(1 - (muscle & body).sum() / body.sum(), abs=0.03)
    assert masks.breast[0, 0].sum() == masks.breast[0, 1].sum()


def test_arrays_that_are_not_pairs_are_refused():
    with pytest.raises(ValueError, match=r"expected \(N, 2, H, W\)"):
        pair_masks(np.zeros((4, 3, 8, 8)))
    masks = pair_masks(pairs_of([(0.5, 0.5)]))
    with pytest.raises(ValueError, match="masks: made for pairs of shape"):
        pair_metrics(pairs_of([(0.5, 0.5), (0.5, 0.5)]), masks=masks)


def facts(**changes):
    good = {"cc_area": 0.3, "mlo_area": 0.35, "cc_left": True, "mlo_left": True, "cc_largest": 1.0, "mlo_largest": 0.96}
    return pd.DataFrame([good | changes])


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, True), ({"cc_area": 0.05}, False), ({"mlo_area": 0.9}, False), ({"cc_left": False}, False),
    ({"mlo_left": False}, False), ({"cc_largest": 0.94}, False), ({"mlo_largest": 0.949}, False)])
def test_plausible_needs_every_condition_in_both_views(changes, expected):
    reference = pd.DataFrame({"cc_area": np.linspace(0.2, 0.4, 101), "mlo_area": np.linspace(0.25, 0.45, 101)})
    assert plausible(facts(**changes), reference).tolist() == [expected]


def test_plausible_range_is_the_1st_to_99th_percentile_and_needs_real_pairs():
    reference = pd.DataFrame({"cc_area": np.linspace(0.2, 0.4, 101), "mlo_area": np.linspace(0.25, 0.45, 101)})
    assert not plausible(facts(cc_area=0.2015), reference)[0]
    assert plausible(facts(cc_area=0.2025), reference)[0]
    with pytest.raises(ValueError, match="no real pairs"):
        plausible(facts(), reference.iloc[:0])


def test_one_pair_is_shown_with_both_masks_and_what_they_share():
    cc, mlo = np.zeros((2, 20, 20), bool)
    cc[:10, :8], mlo[5:, :8] = True, True
    figure = mask_overlap(np.zeros((2, 20, 20)), cc, mlo)
    assert {"Intersection, 40 px", "CC alone, 40 px", "MLO alone, 80 px"} <= set(texts(figure))
    assert len(figure.axes) == 3 and iou(cc, mlo) == 40 / 160
