"""Agreement of mask methods, by hand and against a second way to compute it; truth as the cohort stores it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn_views import breast, pairs_that_part_methods, view

from mammorgb_utils.evaluation.masks import METHODS, mask_agreement, mask_examples, true_masks
from mammorgb_utils.evaluation.masks.agreement import TRUTH
from mammorgb_utils.evaluation.overlap import PairMasks, iou, masks_by_method, pair_masks
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, Run

PROTOCOL = Protocol(n_bootstrap=200, n_derangements=3)


@pytest.fixture(scope="module")
def pairs():
    return pairs_that_part_methods()


def masks_of(breasts):
    n = len(breasts)
    return PairMasks(np.asarray(breasts), np.zeros((n, *np.shape(breasts)[2:]), bool), np.ones((n, 2), bool),
                     np.ones((n, 2)))


def strip(columns):
    """`(10, 10)` bool: the first columns."""
    return np.tile(np.arange(10) < columns, (10, 1))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_masks_of_several_methods_are_those_of_each(method, pairs):
    together, alone = masks_by_method(pairs)[method], pair_masks(pairs, method)
    for name in ("breast", "muscle", "left", "largest"):
        assert np.array_equal(getattr(together, name), getattr(alone, name)), name


def test_masks_at_hand_are_not_made_again(pairs):
    at_hand = {"otsu": pair_masks(pairs, "otsu")}
    found, fresh = masks_by_method(pairs, known=at_hand), masks_by_method(pairs)
    assert found["otsu"] is at_hand["otsu"] and list(found) == list(fresh) == list(METHODS)
    assert all(np.array_equal(found[method].mlo_no_muscle, fresh[method].mlo_no_muscle) for method in METHODS)
    assert list(masks_by_method(pairs, ("otsu",), known={"otsu": at_hand["otsu"]})) == ["otsu"]


def test_agreement_of_hand_drawn_masks():
    empty = strip(0)
    first = masks_of([[strip(4), strip(5)], [strip(8), strip(5)], [empty, strip(5)]])
    second = masks_of([[strip(5), strip(5)], [strip(8), strip(5)], [empty, strip(4)]])
    truth = {"real": np.array([[strip(5), strip(5)]] * 3)}
    table = mask_agreement({"real": {"a": first, "b": second}}, PROTOCOL, truth=truth)
    assert len(table) == 3 * 2 and set(table["second"]) == {"b", TRUTH}
    cc, mlo = table[(table["first"] == "a") & (table["second"] == "b")].to_dict("records")
    assert (cc["view"], cc["n"], cc["n_nan"]) == ("CC", 2, 1)
    assert cc["iou_median"] == pytest.approx(0.9) and cc["below"] == 0.5  # 4 of 5 columns, and all
    assert cc["iou_p5"] == pytest.approx(0.81) and cc["area_bias"] == pytest.approx(5.0)
    assert cc["iou_low"] == pytest.approx(0.8) and cc["iou_high"] == pytest.approx(1.0)
    assert (mlo["n"], mlo["iou_median"], mlo["area_bias"]) == (3, 1.0, 0.0)
    assert mlo["below"] == pytest.approx(1 / 3)
    true = table[(table["first"] == "b") & (table["second"] == TRUTH) & (table["view"] == "CC")].iloc[0]
    assert (true["n"], true["n_nan"]) == (3, 0)
    assert true["iou_median"] == pytest.approx(5 / 8)  # of 1, 5/8 and 0: nothing found where a breast is


def test_agreement_matches_a_loop_over_views(pairs):
    masks = masks_by_method(pairs)
    table = mask_agreement({"real": masks}, PROTOCOL)
    assert len(table) == 2 * len(METHODS) * (len(METHODS) - 1) / 2
    for row in table.to_dict("records"):
        column = ("CC", "MLO").index(row["view"])
        expected = [iou(a[column], b[column]) for a, b in zip(masks[row["first"]].breast, masks[row["second"]].breast,
                                                             strict=True)]
        assert row["iou_median"] == pytest.approx(np.median(expected))
        assert row["iou_low"] <= row["iou_median"] <= row["iou_high"]


def test_views_of_one_patient_stay_together():
    breasts = [[strip(5), strip(5)]] * 4 + [[strip(4), strip(5)]] * 4
    masks = {"a": masks_of(breasts), "b": masks_of([[strip(5), strip(5)]] * 8)}
    one_each = mask_agreement({"real": masks}, PROTOCOL).iloc[0]
    together = mask_agreement({"real": masks}, PROTOCOL, patients={"real": ["P"] * 8}).iloc[0]
    assert one_each["iou_low"] < one_each["iou_high"]
    assert together["iou_low"] == together["iou_high"] == together["iou_median"]  # one patient: nothing to vary


def test_examples_hold_the_pair_of_least_agreement():
    good = [[strip(5), strip(5)]] * 4
    masks = {"a": masks_of(good), "b": masks_of([*good[:2], [strip(2), strip(5)], good[3]])}
    views = np.stack([np.full((2, 10, 10), place, np.float32) for place in range(4)])
    examples = mask_examples({"real": views, "sum": views}, {"real": masks, "sum": masks})
    assert [title for title, _, _ in examples] == ["Real, middling", "Real, least agreement", "Synthetic, middling"]
    assert (examples[1][1] == 2).all() and (examples[0][1] != 2).all()
    assert np.array_equal(examples[1][2]["b"][0], strip(2))


def test_truth_is_that_of_the_phantoms_and_of_nobody_else(cohort):
    folder, rows = cohort
    run = Run(PROJECT_ROOT, Protocol(image_size=64), folder / "manifest.csv")
    shown = rows.drop_duplicates("pair").iloc[:3]
    index = pd.DataFrame({"pair": shown["pair"], "source": "phantom"})
    truth = true_masks(run, index)
    assert truth.shape == (3, 2, 64, 64) and truth.dtype == bool
    assert (truth.mean(axis=(2, 3)) > 0.05).all() and (truth[:, :, 20:40, 0]).any()  # at the chest wall
    assert true_masks(run, index.assign(source="cmmd")) is None
    assert true_masks(run, index.assign(pair="elsewhere")) is None
    assert true_masks(replace(run, protocol=Protocol(aspect="pad")), index) is None


def test_a_view_without_a_breast_counts_as_no_mask():
    blank = np.stack([np.zeros((2, 64, 64), np.float32), np.stack([view(breast(64, 0.5))] * 2)])
    table = mask_agreement({"sum": masks_by_method(blank, ("background", "watershed"))}, PROTOCOL)
    assert table[["n", "n_nan"]].to_numpy().tolist() == [[1, 1], [1, 1]]
