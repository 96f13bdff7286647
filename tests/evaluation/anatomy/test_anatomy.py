import numpy as np
import pytest
from drawn_anatomy import RATIO, drawn_pairs

from mammorgb_utils.evaluation.anatomy.measure import BINS, PROFILES, anatomy, height_over_width
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.protocol import Protocol

DEPTHS = [0.4, 0.5, 0.6]


@pytest.mark.parametrize("size", [64, 96, 256])
def test_nipple_line_of_both_views_is_the_drawn_one(size):
    pairs, masks = drawn_pairs(DEPTHS, size=size)
    found = anatomy(pairs, masks, ratio=RATIO)
    assert found["pectoral"].all()
    np.testing.assert_allclose(found["cc_nipple_line"], DEPTHS, atol=1.5 / size)
    np.testing.assert_allclose(found["mlo_nipple_line"], DEPTHS, atol=3 / size)
    np.testing.assert_allclose(found["cc_nipple_row"], 0.62 / RATIO, atol=0.05)
    assert (found["cc_area"] == masks.breast[:, 0].mean(axis=(1, 2))).all()


def test_without_muscle_the_line_ends_at_the_images_edge_and_says_so():
    pairs, masks = drawn_pairs(DEPTHS)
    bare = PairMasks(masks.breast, np.zeros_like(masks.muscle), masks.left, masks.largest)
    found = anatomy(pairs, bare, ratio=RATIO)
    assert not found["pectoral"].any()
    farthest = [np.flatnonzero(breast.any(axis=0)).max() + 1 for breast in masks.breast[:, 1]]
    np.testing.assert_allclose(found["mlo_nipple_line"], np.array(farthest) / 64)


def test_centroid_and_profile_follow_the_gland():
    places = np.linspace(0.3, 0.7, 5)
    pairs, masks = drawn_pairs([0.5] * 5, gland=places)
    found = anatomy(pairs, masks, ratio=RATIO)
    for view in ("cc", "mlo"):
        assert (np.diff(found[f"{view}_centroid"]) > 0.05).all()
        peak = (found[PROFILES[view]].to_numpy().argmax(axis=1) + 0.5) / BINS
        np.testing.assert_allclose(peak, places, atol=1.5 / BINS)
    np.testing.assert_allclose(found["cc_centroid"], found["mlo_centroid"], atol=0.05)


def test_the_brightest_spot_is_found_at_its_depth():
    places = np.array([0.3, 0.45, 0.6, 0.75])
    pairs, masks = drawn_pairs([0.55] * 4, mass=places)
    found = anatomy(pairs, masks, ratio=RATIO)
    np.testing.assert_allclose(found["cc_mass_depth"], places, atol=0.05)
    np.testing.assert_allclose(found["mlo_mass_depth"], places, atol=0.08)


def test_dense_share_knows_no_gain_and_no_offset():
    pairs, masks = drawn_pairs(DEPTHS)
    found = anatomy(pairs, masks)
    darker = anatomy(np.where(masks.breast, 0.1 + 0.5 * pairs, 0).astype(np.float32), masks)
    np.testing.assert_allclose(found["cc_dense"], darker["cc_dense"], atol=0.005)
    assert found["cc_dense"].between(0.1, 0.9).all()


def test_views_without_a_mask_have_no_anatomy():
    pairs, masks = drawn_pairs(DEPTHS)
    masks.breast[1], masks.muscle[1] = False, False
    found = anatomy(pairs, masks)
    lost = found.loc[1].drop("pectoral").astype(float)
    assert lost.isna().all() and not found.loc[1, "pectoral"]
    assert found.loc[[0, 2], "cc_mass_depth"].notna().all()


def test_no_pairs_give_no_rows_but_all_columns():
    pairs, masks = drawn_pairs(DEPTHS)
    none = PairMasks(*(values[:0] for values in (masks.breast, masks.muscle, masks.left, masks.largest)))
    assert list(anatomy(pairs[:0], none)) == list(anatomy(pairs, masks))
    with pytest.raises(ValueError, match="masks: made for pairs of shape"):
        anatomy(pairs, none)


def test_the_field_is_as_high_as_the_protocol_squashed_it():
    assert height_over_width(Protocol.load("laptop")) == 1.25
    assert height_over_width(Protocol.load("laptop", aspect="pad")) == 1.0
