from typing import get_args

import numpy as np
import pytest
from drawn_views import breast, view
from scipy import ndimage
from skimage.filters import threshold_otsu

from mammorgb_utils.evaluation.masks import METHODS, breast_component, breast_mask, foregrounds
from mammorgb_utils.evaluation.masks.breast import air_level
from mammorgb_utils.protocol import Protocol


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize(("depth", "half_height"), [(0.3, 0.25), (0.6, 0.38), (0.95, 0.48)])
@pytest.mark.parametrize(("air", "noise"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.015), (0.12, 0.01)])
def test_known_breast_is_found(size, depth, half_height, air, noise):
    truth = breast(size, depth, half_height)
    found = breast_mask(view(truth, tissue=0.6, air=air, noise=noise))
    assert found.dtype == bool
    assert overlap(found, truth) >= 0.97


def test_faint_tissue_beside_a_bright_core_stays_in_the_mask_where_otsu_loses_it():
    truth, core = breast(64, 0.7), breast(64, 0.3, 0.2)
    image = view(truth, tissue=0.15)
    image[core] = 0.95
    assert overlap(breast_mask(image), truth) >= 0.97
    assert overlap(breast_mask(image, "otsu"), truth) < 0.5


def test_the_protocol_knows_every_method_and_no_other():
    assert set(get_args(Protocol.model_fields["mask_method"].annotation)) == METHODS.keys()


def test_the_first_two_methods_are_plain_thresholds_of_the_smoothed_view():
    image = view(breast(64, 0.7), air=0.1, noise=0.02)
    image[breast(64, 0.3, 0.2)] = 0.95
    smooth = ndimage.median_filter(image, size=3, mode="nearest")
    air = air_level(smooth)
    level = air + 0.05 * max(float(np.quantile(smooth, 0.995)) - air, 0.10)
    found = foregrounds(image, ("background", "otsu"))
    assert np.array_equal(found["background"], smooth > level)
    assert np.array_equal(found["otsu"], smooth > float(threshold_otsu(smooth)))


@pytest.mark.parametrize("method", ["triangle", "watershed"])
@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize(("air", "noise"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.015), (0.12, 0.01)])
def test_other_methods_find_a_known_breast(method, size, air, noise):
    truth = breast(size, 0.6)
    assert overlap(breast_mask(view(truth, tissue=0.6, air=air, noise=noise), method), truth) >= 0.95


def test_watershed_stops_at_the_steepest_edge_where_a_threshold_follows_a_faint_halo():
    truth, halo = breast(128, 0.6), breast(128, 0.75, 0.46)
    image = view(truth, tissue=0.6)
    image[halo & ~truth] = 0.07
    assert overlap(breast_mask(image, "watershed"), truth) >= 0.97
    assert overlap(breast_mask(image, "background"), halo) >= 0.97


def test_label_in_the_far_corner_is_foreground_but_not_breast():
    image = view(breast(64, 0.5))
    image[2:8, 52:62] = 1.0
    assert foregrounds(image, ("background",))["background"][4, 56]
    mask = breast_mask(image)
    assert not mask[:10, 45:].any()
    assert overlap(mask, breast(64, 0.5)) >= 0.97


def test_holes_are_filled_and_a_breast_off_the_chest_wall_is_no_mask():
    image = view(breast(64, 0.6))
    image[30:34, 10:16] = 0.0
    assert breast_mask(image)[31, 12]
    away = np.zeros((64, 64), np.float32)
    away[20:40, 20:40] = 0.7
    assert not breast_mask(away).any()
    assert foregrounds(away, ("background",))["background"].any()


def test_holes_are_filled_as_scipy_fills_them():
    rng = np.random.default_rng(5)
    for share in (0.35, 0.5, 0.6, 0.7, 0.9):
        mask = rng.random((40, 50)) < share
        mask[:, 0] = True  # one component holds all that touches the edge
        labels, _ = ndimage.label(mask)
        assert np.array_equal(breast_component(mask).mask, ndimage.binary_fill_holes(labels == labels[0, 0]))


def test_air_level_is_the_mode_of_the_far_columns():
    image = view(breast(64, 0.9), air=0.23)
    image[:6, 50:] = 1.0
    assert air_level(image) == pytest.approx(0.23, abs=1e-6)


@pytest.mark.parametrize("image", [np.zeros((64, 64)), np.full((64, 64), 0.4),
                                   0.3 + 0.01 * np.random.default_rng(0).standard_normal((64, 64))])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_view_without_a_breast_has_an_empty_mask(image, method):
    assert not breast_mask(image, method).any()


def test_unknown_method_names_the_known_ones():
    with pytest.raises(ValueError, match="'magic' is unknown; use one of background, otsu"):
        breast_mask(np.zeros((8, 8)), "magic")


@pytest.mark.parametrize("bad", [np.zeros((3, 8, 8)), np.full((8, 8), np.nan)])
def test_unusable_view_is_refused(bad):
    with pytest.raises(ValueError, match=r"view: expected a finite \(H, W\)"):
        breast_mask(bad)


def test_component_of_a_hand_drawn_foreground():
    mask = np.zeros((10, 64), bool)
    mask[0:3, 10:20] = True  # 30 px, away from the edge
    mask[6:8, 0:5] = True  # 10 px, on the edge
    assert breast_component(mask)[1:] == (False, 0.75)
    assert np.array_equal(np.argwhere(breast_component(mask).mask)[[0, -1]], [[6, 0], [7, 4]])
    mask[0:3, 0:10] = True
    assert breast_component(mask)[1:] == (True, pytest.approx(60 / 70))
    assert breast_component(np.zeros((4, 4), bool))[1:] == (False, 0.0)
