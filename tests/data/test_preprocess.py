"""Geometry, breast region, matching and orientation against known answers."""

import numpy as np
import pytest
from skimage.exposure import match_histograms

from mammorgb_utils.data.batch.reference import average_reference, quantile_curves
from mammorgb_utils.data.breast_region import breast_region
from mammorgb_utils.data.dicom import Mammogram, RejectedImage
from mammorgb_utils.data.geometry import area_resize, pad_to_square
from mammorgb_utils.data.preprocess import (
    load_reference_cdf,
    match_histogram,
    normalise,
    preprocess_view,
    preprocessing_steps,
)
from mammorgb_utils.protocol import Protocol


def mammogram(pixels: np.ndarray) -> Mammogram:
    return Mammogram(pixels.astype(np.float32), "L", "CC", False, None, "MONOCHROME2", False, "window")


def half_disc(shape=(200, 160), radius=70, air=0.0, tissue=0.5):
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = (y - shape[0] / 2) ** 2 + x**2 < radius**2
    texture = 0.05 * np.sin(x / 7) * np.cos(y / 9)
    return np.where(truth, tissue + texture, air), truth


def test_area_resize_averages_exactly():
    image = np.arange(12.0).reshape(3, 4)
    assert np.allclose(area_resize(image, (1, 2)), [[image[:, :2].mean(), image[:, 2:].mean()]])
    assert np.allclose(area_resize(np.array([[0.0, 3.0, 6.0]]), (1, 2)), [[1.0, 5.0]])  # half of the middle pixel each
    assert np.allclose(area_resize(image, (3, 4)), image)


@pytest.mark.parametrize("shape", [(64, 64), (37, 11), (256, 256)])
def test_area_resize_keeps_the_mean_and_the_range(shape):
    image = np.random.default_rng(0).random((211, 173))
    small = area_resize(image, shape)
    assert small.dtype == np.float32 and small.shape == shape
    assert np.isclose(small.mean(), image.mean(), atol=1e-5) and 0 <= small.min() and small.max() <= 1


def test_padding_is_air_away_from_the_chest_wall():
    square = pad_to_square(np.ones((10, 4)))
    assert square.shape == (10, 10) and square[:, :4].all() and not square[:, 4:].any()


def test_an_empty_image_is_rejected_with_a_reason():
    reference = average_reference([quantile_curves(mammogram(half_disc()[0]))], "test")
    with pytest.raises(RejectedImage, match="no_breast"):
        preprocess_view(mammogram(np.zeros((80, 64))), reference, Protocol())


@pytest.mark.parametrize(("box", "reason"), [
    (np.s_[60:150, 40:120], "touches neither side edge"),
    (np.s_[100:110, :30], "covers 0.9% of the image"),
    (np.s_[3:, :], "no air lies around a breast"),
])
def test_what_is_no_breast_is_rejected_with_the_reason(box, reason):
    pixels = np.zeros((200, 160))
    pixels[box] = 0.5
    with pytest.raises(RejectedImage, match=f"no_breast.*{reason}"):
        preprocess_view(mammogram(pixels), load_reference_cdf(Protocol()), Protocol())


@pytest.mark.parametrize("flip", [False, True])
def test_a_grey_scale_turned_over_is_rejected(flip):
    pixels = half_disc(air=0.02)[0][:, ::-1 if flip else 1]
    normalise(pixels)
    with pytest.raises(RejectedImage, match="inverted: its air is brighter"):
        normalise(1 - pixels)


@pytest.mark.parametrize("frame", [np.s_[:4], np.s_[-4:], np.s_[:, -3:], "all"])
def test_a_black_frame_hides_no_inversion(frame):
    pixels = half_disc(air=0.02)[0]
    framed, turned = pixels.copy(), 1 - pixels
    for edge in (np.s_[:4], np.s_[-4:], np.s_[:, :3], np.s_[:, -3:]) if frame == "all" else (frame,):
        framed[edge] = turned[edge] = 0.0
    normalise(framed)
    with pytest.raises(RejectedImage, match="inverted: its air is brighter"):
        normalise(turned)


def test_matching_agrees_with_skimage_over_the_whole_image():
    rng = np.random.default_rng(1)
    view, target = rng.beta(2, 5, (120, 90)).astype(np.float32), rng.beta(4, 2, (120, 90)).astype(np.float32)
    quantiles = np.quantile(target, np.linspace(0, 1, 257))
    assert np.abs(match_histogram(view, view, quantiles) - match_histograms(view, target)).mean() < 0.002


def test_foreground_matching_leaves_air_black_and_gives_every_breast_the_references_distribution():
    reference = average_reference([quantile_curves(mammogram(half_disc(tissue=0.4)[0]))], "test")
    pixels, truth = half_disc(air=0.2, tissue=0.8, radius=50)
    matched = preprocessing_steps(mammogram(pixels), reference, Protocol())["matched"]
    inside = matched[breast_region(pixels)]
    assert matched[~breast_region(pixels)].max() == 0.0
    assert np.abs(np.quantile(inside, np.linspace(0, 1, 257)) - reference.foreground).max() < 0.05


def test_whole_image_matching_makes_the_air_of_small_breasts_grey():
    reference = average_reference([quantile_curves(mammogram(half_disc(radius=90)[0]))], "test")
    small = preprocessing_steps(mammogram(half_disc(radius=40)[0]), reference, Protocol(match_scope="image"))["matched"]
    assert small[100, 150] > 0.1  # why the protocol has a field for it


def test_padding_is_as_grey_as_the_air_that_whole_image_matching_leaves():
    rng = np.random.default_rng(0)
    pixels = half_disc(shape=(200, 120), radius=50)[0] + 0.01 * rng.random((200, 120))
    protocol = Protocol(match_scope="image", aspect="pad")
    view = preprocess_view(mammogram(pixels), load_reference_cdf(protocol), protocol)
    matched = view[:4, : 64 * 120 // 200 - 2]  # air above the breast
    assert matched.mean() > 0.02 and np.abs(view[:, -10:] - matched.mean()).max() < 0.05
    black = preprocess_view(mammogram(pixels), load_reference_cdf(Protocol()), Protocol(aspect="pad"))
    assert not black[:, -10:].any()


def test_whole_image_matching_sees_no_labels():
    pixels, _ = half_disc(air=0.1)
    labelled = pixels.copy()
    labelled[10:24, 130:150] = 1.0
    reference = average_reference([quantile_curves(mammogram(labelled))], "test")
    assert np.allclose(reference.image, quantile_curves(mammogram(pixels))[1], atol=1e-6)
    plain, blanked = (preprocessing_steps(mammogram(p), reference, Protocol(match_scope="image"))["matched"]
                      for p in (pixels, labelled))
    assert np.allclose(plain, blanked, atol=1e-6)


def test_whole_image_matching_keeps_airs_noise():
    pixels, truth = half_disc(air=0.1)
    pixels = pixels + np.random.default_rng(0).normal(0, 0.003, pixels.shape)
    steps = preprocessing_steps(mammogram(pixels), load_reference_cdf(Protocol()), Protocol(match_scope="none"))
    again = preprocessing_steps(mammogram(pixels), load_reference_cdf(Protocol()), Protocol(match_scope="image"))
    assert np.array_equal(steps["normalised"], again["normalised"])
    assert again["matched"][~truth].std() > 0 and steps["matched"][~breast_region(pixels)].max() == 0.0


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("mirror", [True, False])
def test_a_film_border_behind_the_breast_is_cut_off(flip, mirror):
    pixels, _ = half_disc()
    pixels[:, :4] = 1.0
    pixels = pixels[:, ::-1] if flip else pixels
    view = preprocess_view(mammogram(pixels), load_reference_cdf(Protocol()), Protocol(mirror=mirror))
    wall, beyond = (-1, 0) if flip and not mirror else (0, -1)
    assert view[32, wall] > 0.1 and view[32, beyond] == 0.0
    assert view[2, wall] == 0.0  # where the border ran on beyond the breast


@pytest.mark.parametrize("mirror", [True, False])
def test_the_chest_wall_comes_to_the_left_only_where_the_protocol_mirrors(mirror):
    reference = load_reference_cdf(Protocol())
    left, _ = half_disc()
    upright = preprocess_view(mammogram(left), reference, Protocol(mirror=mirror))
    flipped = preprocess_view(mammogram(left[:, ::-1]), reference, Protocol(mirror=mirror))
    assert np.allclose(flipped if mirror else flipped[:, ::-1], upright, atol=1e-6)
    assert upright.shape == (64, 64) and upright.dtype == np.float32
    assert upright[32, 0] > 0.1 and upright[32, 60] == 0.0


def test_padding_keeps_the_shape_and_squashing_fills_the_square():
    pixels, _ = half_disc()
    reference = load_reference_cdf(Protocol())
    squashed = preprocess_view(mammogram(pixels), reference, Protocol())
    padded = preprocess_view(mammogram(pixels), reference, Protocol(aspect="pad"))
    assert np.flatnonzero(squashed[32])[-1] > np.flatnonzero(padded[32])[-1]
    rows = np.flatnonzero(padded[:, 0])
    assert np.ptp(rows) == pytest.approx(2 * np.flatnonzero(padded[32])[-1], abs=3)  # a half disc stays round


def test_a_reference_survives_its_file_and_a_wrong_one_is_refused(tmp_path):
    reference = average_reference([quantile_curves(mammogram(half_disc()[0]))], "mine")
    reference.save(tmp_path / "r.json")
    back = load_reference_cdf(Protocol(reference_cdf=str(tmp_path / "r.json")))
    assert back.name == "mine" and np.allclose(back.foreground, reference.foreground, atol=1e-6)
    (tmp_path / "r.json").write_text('{"name": "x"}')
    with pytest.raises(ValueError, match="not a reference CDF; write it anew"):
        load_reference_cdf(Protocol(reference_cdf=str(tmp_path / "r.json")))
    with pytest.raises(FileNotFoundError, match="mammorgb reference-cdf"):
        load_reference_cdf(Protocol(reference_cdf="absent.json"))
