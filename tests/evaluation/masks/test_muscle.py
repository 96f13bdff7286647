import numpy as np
import pytest
from drawn_views import breast, mlo_breast, view, wedge
from scipy import ndimage

from mammorgb_utils.evaluation.masks import breast_mask, pectoral_mask
from mammorgb_utils.evaluation.masks import muscle as module


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize(("top", "bottom"), [(0.3, 0.5), (0.4, 0.7), (0.5, 0.6), (0.3, 0.8)])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_drawn_wedge_is_found(size, top, bottom, noise):
    body, muscle = mlo_breast(size), wedge(size, top, bottom)
    image = view(body, tissue=0.35)
    image[muscle & body] += 0.25
    image += (noise * np.random.default_rng(1).standard_normal(image.shape)).astype(np.float32)
    found = pectoral_mask(np.clip(image, 0, 1))
    assert overlap(found, muscle & body) >= 0.85
    assert not (found & ~body).sum() > 0.02 * body.sum()


@pytest.mark.parametrize("size", [64, 256])
def test_breast_without_a_wedge_has_no_muscle(size):
    for seed, mask in enumerate((breast(size, 0.6), breast(size, 0.9, 0.45), mlo_breast(size))):
        assert not pectoral_mask(view(mask, noise=0.02, seed=seed)).any()
        y = np.linspace(0.0, 0.2, size, dtype=np.float32)[:, None]
        assert not pectoral_mask(np.where(mask, 0.3 + y, 0.0)).any()


@pytest.mark.parametrize("image", [np.zeros((64, 64)), np.full((64, 64), 0.4)])
def test_blank_view_has_no_muscle(image):
    assert not pectoral_mask(image).any()


@pytest.mark.parametrize("bad", [np.zeros((3, 8, 8)), np.full((8, 8), np.nan)])
def test_unusable_view_is_refused(bad):
    with pytest.raises(ValueError, match="view: expected"):
        pectoral_mask(bad)


def test_an_edge_that_cuts_off_most_of_the_breast_is_no_muscle():
    body, most = mlo_breast(64), wedge(64, 0.75, 1.0)
    image = view(body, tissue=0.35) + 0.25 * (most & body)
    assert (most & body).sum() > 0.5 * body.sum()
    assert pectoral_mask(image).sum() <= 0.36 * body.sum()


def test_a_known_breast_mask_changes_nothing():
    image = view(mlo_breast(64), tissue=0.35) + 0.25 * wedge(64, 0.4, 0.6)
    assert np.array_equal(pectoral_mask(image, breast_mask(image)), pectoral_mask(image))


def test_images_are_read_beside_a_line_as_scipy_reads_them():
    image, lines, size = np.random.default_rng(8).random((64, 64)), module._lines((1.0, 2.5)), 64
    tissue = image > 0.2
    for line in (0, 300, len(lines.top) - 1):
        top, bottom = lines.top[line], lines.bottom[line]
        along = np.linspace(0.03, 0.97, 32)
        places = np.array([bottom * along, top * (1 - along)]) * size - 0.5
        normal = np.array([[top], [bottom]]) / np.hypot(top, bottom)
        near, known = 0.0, np.ones(32, bool)
        for step in (1.0, 2.5):
            inside, outside = places - step * normal, places + step * normal
            near = near + 0.5 * (ndimage.map_coordinates(image, inside, order=1, mode="nearest")
                                 - ndimage.map_coordinates(image, outside, order=1, mode="nearest"))
            known &= ndimage.map_coordinates(tissue.astype(int), inside, order=0, mode="nearest") > 0
            known &= ndimage.map_coordinates(tissue.astype(int), outside, order=0, mode="nearest") > 0
        rows = slice(32 * line, 32 * line + 32)
        assert np.allclose((lines.drop @ image.ravel())[rows], near, atol=1e-12)
        assert np.array_equal(tissue.ravel()[lines.beside[:, rows]].all(axis=0), known)
