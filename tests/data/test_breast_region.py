"""Breast region, chest-wall side and foreign objects on drawings with a known breast."""

import numpy as np
import pytest
from film_drawings import SHAPE, drawing, with_borders, with_box, with_round_corners

from mammorgb_utils.data.breast_region import (
    air_level,
    breast_region,
    chest_wall_side,
    foreign_objects,
    unlike_a_breast,
)
from mammorgb_utils.data.phantom import HELDOUT_STREAM, make_breast, render_view, view_truth_mask


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def strip_on_the_wall(grey):
    """A grey border along the chest wall from corner to corner, hidden where the breast is, in a scan's round frame."""
    pixels, truth = drawing()
    pixels[:, :20] = np.where(truth[:, :20], pixels[:, :20], grey)
    return with_round_corners(pixels), truth


def films():
    plain, truth = drawing()
    tip = np.s_[:, int(0.6 * SHAPE[1]) - 1:]  # where the skin line is farthest from the wall
    yield "plain", plain, truth
    for edges in (["bottom"], ["wall"], ["top", "bottom"], ["wall", "bottom", "top"], ["top", "bottom", "wall", "far"]):
        yield "white " + " ".join(edges), *with_borders(plain, truth, tuple(edges))
    yield "round corners", with_round_corners(plain), truth
    yield "strip on the wall", *strip_on_the_wall(0.2)
    yield "label near", with_box(plain, np.s_[60:100], np.s_[200:300], 0.9), truth
    yield "label touching", with_box(plain, np.s_[318:322], tip[1], 0.9), truth
    yield "label and frame", with_round_corners(with_box(plain, np.s_[:60], np.s_[400:], 0.8)), truth
    yield "grey air", *drawing(air=0.3)
    yield "large", *drawing(0.48, 1.05)
    yield "tiny", *drawing(0.12, 0.2)


@pytest.mark.parametrize("mirrored", [False, True], ids=["left", "right"])
@pytest.mark.parametrize(("pixels", "truth"), [pytest.param(p, t, id=name) for name, p, t in films()])
def test_the_breast_is_found_and_nothing_else(pixels, truth, mirrored):
    if mirrored:
        pixels, truth = pixels[:, ::-1], truth[:, ::-1]
    region = breast_region(pixels)
    assert overlap(region, truth) >= 0.97
    assert chest_wall_side(region) == ("right" if mirrored else "left")
    assert unlike_a_breast(region) is None


@pytest.mark.parametrize("edge", ["top", "bottom", "wall", "far"])
def test_no_pixel_of_a_white_border_is_breast(edge):
    pixels, _ = drawing(0.48, 1.05)
    bordered, truth = with_borders(pixels, np.ones(SHAPE, bool), (edge,))
    assert not (breast_region(bordered) & ~truth).any()


def test_the_grey_strip_beyond_the_breast_goes():
    pixels, truth = strip_on_the_wall(0.2)
    region = breast_region(pixels)
    rows = np.flatnonzero(truth.any(axis=1))
    assert not region[:rows[0] - 5].any() and not region[rows[-1] + 5:].any()


def test_a_full_size_scan_gives_the_same_region():
    pixels, truth = with_borders(*drawing(), ("bottom",))
    large = np.kron(pixels, np.ones((3, 3), np.float32))
    region = breast_region(large)
    assert region.shape == large.shape
    assert overlap(region, np.kron(truth, np.ones((3, 3), bool))) >= 0.97


def test_an_axillary_tail_up_to_the_other_edge_doesnt_turn_the_breast():
    pixels, _ = drawing()
    y, x = np.mgrid[:SHAPE[0], :SHAPE[1]]
    tail = y < 150 - 0.2 * x
    assert chest_wall_side(breast_region(np.where(tail, np.float32(0.5), pixels))) == "left"


def noise():
    return np.random.default_rng(1).random(SHAPE, np.float32)


@pytest.mark.parametrize("pixels", [noise(), np.zeros(SHAPE), np.full(SHAPE, 0.7)], ids=["noise", "black", "constant"])
def test_where_nothing_stands_out_there_is_no_breast(pixels):
    region = breast_region(pixels)
    assert not region.any()
    assert "covers 0.0% of the image" in unlike_a_breast(region)


def test_an_island_and_a_full_image_are_no_breasts():
    island = np.zeros(SHAPE, np.float32)
    island[200:400, 100:400] = 0.5
    assert "touches neither side edge" in unlike_a_breast(breast_region(island))
    full = np.full(SHAPE, 0.5, np.float32)
    full[:8] = 0.0
    assert "no air lies around a breast" in unlike_a_breast(breast_region(full))


def test_objects_are_what_stands_out_from_air_but_not_the_breast_nor_the_noise():
    pixels, truth = drawing(air=0.3)
    pixels = with_box(pixels, np.s_[40:80], np.s_[400:480], 0.9)
    pixels = with_box(pixels, np.s_[500:560], np.s_[420:460], 0.0)  # a blackened name
    pixels, _ = with_borders(pixels, truth, ("bottom",))
    region = breast_region(pixels)
    objects = foreign_objects(pixels, region)
    boxes = np.zeros(SHAPE, bool)
    boxes[40:80, 400:480] = boxes[500:560, 420:460] = boxes[-13:] = True
    assert not (objects & region).any() and objects[boxes].all()
    assert objects.sum() < 1.3 * boxes.sum()


def test_a_plain_picture_has_no_objects():
    pixels, _ = drawing()
    assert not foreign_objects(pixels, breast_region(pixels)).any()


def test_air_is_the_median_outside():
    pixels, truth = drawing(air=0.15)
    assert air_level(pixels, truth) == pytest.approx(0.15, abs=0.001)
    assert air_level(pixels, np.ones(SHAPE, bool)) == 0.0


def test_region_of_phantoms_agrees_with_their_truth():
    for case in range(4):
        breast = make_breast((9, HELDOUT_STREAM, case))
        for view in ("CC", "MLO"):
            assert overlap(breast_region(render_view(breast, view)), view_truth_mask(breast, view)) > 0.95
