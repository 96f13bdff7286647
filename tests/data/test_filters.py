"""Fast filters against scipy's general ones."""

import numpy as np
import pytest
from scipy import ndimage

from mammorgb_utils.data.geometry import dilate_cross, erode_cross, fill_holes, median3, open_square


@pytest.fixture(params=[0.3, 0.7, 0.95], ids="{:.0%} set".format)
def mask(request):
    return np.random.default_rng(3).random((61, 47)) < request.param


def test_median_of_nine_is_exact():
    image = np.random.default_rng(0).random((33, 20)).astype(np.float32)
    assert np.array_equal(median3(image), ndimage.median_filter(image, size=3))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_crosses_erode_and_dilate_as_scipys(mask, times):
    assert np.array_equal(erode_cross(mask, times), ndimage.binary_erosion(mask, iterations=times))
    assert np.array_equal(dilate_cross(mask, times), ndimage.binary_dilation(mask, iterations=times))


@pytest.mark.parametrize("side", [1, 2, 3, 6, 7])
def test_opening_by_a_square_is_scipys(mask, side):
    assert np.array_equal(open_square(mask, side), ndimage.binary_opening(mask, np.ones((side, side))))


def test_a_square_larger_than_the_image_fits_nowhere():
    assert not open_square(np.ones((5, 9), bool), 6).any()


def test_holes_are_filled_and_bays_are_not(mask):
    assert np.array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))
    bay = np.ones((7, 7), bool)
    bay[3, 3:] = False
    assert np.array_equal(fill_holes(bay), bay)
