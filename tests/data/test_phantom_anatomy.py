"""One breast, two views: what the phantom's geometry, overlap and texture must be."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import fft, ndimage

from mammorgb_utils.data.phantom import (
    BASE_STREAM,
    HELDOUT_STREAM,
    TRAIN_STREAM,
    make_breast,
    muscle_truth_mask,
    render_view,
    view_truth_mask,
)
from mammorgb_utils.data.phantom.anatomy import EXTRA_STREAM, OTHER_STREAM, gland_volume
from mammorgb_utils.data.phantom.geometry import SPACING_MM, mass_position, nipple_position

N_CASES = 32
REAL = os.environ.get("MAMMORGB_REAL_DATA")


def spectral_exponent(image: np.ndarray, mask: np.ndarray, side: int = 64) -> float:
    """Minus the log-log slope of the radial power spectrum of a windowed square inside `mask`."""
    inside = ndimage.uniform_filter(mask.astype(float), side, mode="constant") > 0.999
    if not inside.any():
        return np.nan
    row, column = np.argwhere(inside)[inside.sum() // 2]
    square = image[max(row - side // 2, 0):, max(column - side // 2, 0):][:side, :side]
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.abs(fft.fft2((square - square.mean()) * window)) ** 2
    radius = np.rint(np.hypot(*np.meshgrid(fft.fftfreq(side, 1 / side), fft.fftfreq(side, 1 / side)))).astype(int)
    rings = np.arange(3, 26)
    means = [power[radius == ring].mean() for ring in rings]
    return -np.polyfit(np.log(rings), np.log(means), 1)[0]


def small(image: np.ndarray) -> np.ndarray:
    """Area mean on the study's 64 × 64 grid."""
    return image.reshape(64, 5, 64, 4).mean((1, 3))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.fixture(scope="module")
def cases() -> list[dict]:
    rows = []
    for number in range(N_CASES):
        breast = make_breast((11, TRAIN_STREAM, number))
        images = {view: render_view(breast, view) for view in ("CC", "MLO")}
        rows.append({"breast": breast, "images": images,
                     "masks": {view: view_truth_mask(breast, view) for view in images}})
    return rows


def test_same_key_same_breast_and_image():
    first, second = make_breast((3, 1, 4)), make_breast([3, 1, 4])
    assert first == second
    np.testing.assert_array_equal(render_view(first, "MLO"), render_view(second, "MLO"))


def test_streams_are_disjoint():
    streams = [TRAIN_STREAM, HELDOUT_STREAM, BASE_STREAM, EXTRA_STREAM, OTHER_STREAM]
    assert len(set(streams)) == len(streams)
    volumes = {make_breast((5, stream, number)).volume_cm3 for stream in streams for number in range(20)}
    assert len(volumes) == 100


def test_unknown_view_is_refused():
    with pytest.raises(ValueError, match="use 'CC' or 'MLO'"):
        render_view(make_breast((1, 1, 1)), "ML")


def test_images_are_black_air_and_lit_tissue(cases):
    for case in cases:
        for view, image in case["images"].items():
            mask = case["masks"][view]
            assert image.shape == (320, 256) and image.dtype == np.float64
            assert image.min() == 0.0 and image.max() <= 1.0
            assert image[~mask].max() == 0.0, "air must be black"
            assert image[mask].min() >= 0.06, "tissue must stay clear of air up to the skin line"
            assert mask[:, 0].any() and not mask[:, -1].any(), "the chest wall lies on the left"


def test_truth_masks_agree_with_rendered_pixels(cases):
    scores = [iou(small(case["images"][view]) > 0.02, small(case["masks"][view].astype(float)) > 0.5)
              for case in cases for view in ("CC", "MLO")]
    assert min(scores) > 0.94


def test_muscle_is_a_bright_wedge_of_the_mlo(cases):
    shares, angles, brighter = [], [], []
    for case in cases:
        breast, mask = case["breast"], case["masks"]["MLO"]
        muscle = muscle_truth_mask(breast, "MLO")
        assert not muscle_truth_mask(breast, "CC").any()
        assert muscle[0, 0] and not (muscle & ~mask).any()
        widths = muscle.sum(axis=1)
        lower = widths[np.argmax(widths):]
        assert (np.diff(lower) <= 0).all(), "the wedge narrows downwards"
        shares.append(muscle.sum() / mask.sum())
        angles.append(breast.muscle_angle_deg)
        brighter.append(case["images"]["MLO"][muscle].mean() - breast.fat_level)
    assert 0.08 < np.median(shares) < 0.13 and np.quantile(shares, 0.9) < 0.16
    assert 15 <= min(angles) and max(angles) <= 35
    assert min(brighter) > 0.1


def test_gland_volume_has_the_sampled_density():
    breast = make_breast((2, 1, 9))
    volume = gland_volume(breast)
    axes = [(np.arange(n) + 0.5) / n for n in volume.shape]
    u, v, w = np.meshgrid(axes[0], axes[1] * 2 - 1, axes[2] * 2 - 1, indexing="ij")
    assert volume[u**2 + v**2 + w**2 < 1].mean() == pytest.approx(breast.density, rel=1e-9)


def test_masses_lie_at_corresponding_depth_and_show_in_both_views():
    seen = 0
    for number in range(12):
        breast = make_breast((4, TRAIN_STREAM, number))
        masses = tuple(mass for mass in breast.masses if not mass.calcified)[:1]
        if not masses:
            continue
        seen += 1
        with_mass, without = replace(breast, masses=masses), replace(breast, masses=())
        for view in ("CC", "MLO"):
            difference = render_view(with_mass, view) - render_view(without, view)
            row, column = ndimage.center_of_mass(np.clip(difference, 0, None))
            x, y = mass_position(with_mass, view, masses[0])
            assert np.hypot((column + 0.5) * SPACING_MM - x, (row + 0.5) * SPACING_MM - y) < 2.5
            assert _depth(breast, view, column, row) == pytest.approx(masses[0].u, abs=0.03)
    assert seen >= 3


def _depth(breast, view: str, column: float, row: float) -> float:
    """Depth over the nipple line, measured from the nipple along that line."""
    nipple_x, nipple_y = nipple_position(breast, view)
    angle = breast.cc.rotation if view == "CC" else np.radians(breast.muscle_angle_deg)
    x, y = (column + 0.5) * SPACING_MM, (row + 0.5) * SPACING_MM
    back = (nipple_x - x) * np.cos(angle) + (nipple_y - y) * np.sin(angle)
    return 1 - back / breast.placement(view).nipple_line_mm


def test_nipple_of_the_mlo_is_at_the_nipple_line_from_the_pectoral_edge(cases):
    for case in cases:
        breast = case["breast"]
        x, y = nipple_position(breast, "MLO")
        angle = np.radians(breast.muscle_angle_deg)
        distance = x * np.cos(angle) + (y - breast.muscle_length_mm) * np.sin(angle)  # to the line through (0, length)
        assert distance == pytest.approx(breast.mlo.nipple_line_mm, rel=1e-9)
        assert case["masks"]["MLO"][int(y / SPACING_MM), int(x / SPACING_MM) - 2]


def test_overlap_of_the_views_depends_on_pairing(cases):
    views = [[small(case["images"][view]) > 0.02 for view in ("CC", "MLO")] for case in cases]
    paired = [iou(cc, mlo) for cc, mlo in views]
    shuffled = [iou(views[i][0], views[j][1]) for i in range(N_CASES) for j in range(N_CASES) if i != j]
    assert 0.80 < np.median(paired) < 0.88
    assert 0.05 < np.std(paired) < 0.11
    assert np.median(shuffled) < np.median(paired) - 0.08


def test_sizes_lie_in_the_stated_ranges(cases):
    breasts = [case["breast"] for case in cases]
    cc, mlo = (np.array([case["masks"][view].sum() for case in cases]) * SPACING_MM**2 / 100 for view in ("CC", "MLO"))
    thickness = np.array([breast.cc.thickness_mm for breast in breasts])
    nipple = np.array([[breast.cc.nipple_line_mm, breast.mlo.nipple_line_mm] for breast in breasts])
    assert 60 < cc.min() and cc.max() < 260
    assert 1.05 < np.mean(mlo / cc) < 1.3
    assert 25 <= thickness.min() and thickness.max() <= 90 and 44 < thickness.mean() < 62
    assert 40 <= nipple.min() and nipple.max() <= 150 and 85 < nipple[:, 0].mean() < 106
    assert 1 < np.mean(nipple[:, 1] - nipple[:, 0]) < 9


def test_density_falls_with_thickness():
    breasts = [make_breast((6, TRAIN_STREAM, number)) for number in range(600)]
    density = np.array([breast.density for breast in breasts])
    thickness = [breast.cc.thickness_mm for breast in breasts]
    logit = np.log(density / (1 - density))
    grades = [np.mean([breast.birads_density == grade for breast in breasts]) for grade in "abcd"]
    measured = np.log([[b.density * b.gland_cc, b.density * b.gland_mlo] for b in breasts])
    assert 0.16 < density.mean() < 0.22
    assert -0.7 < np.corrcoef(logit, thickness)[0, 1] < -0.5
    np.testing.assert_allclose(grades, [0.1, 0.4, 0.4, 0.1], atol=0.06)
    assert 0.85 < np.corrcoef(measured.T)[0, 1] < 0.96


def test_texture_follows_a_power_law_after_projection(cases):
    exponents = [spectral_exponent(case["images"]["CC"], case["masks"]["CC"]) for case in cases]
    assert np.isfinite(exponents).sum() > 20
    assert 2.7 < np.nanmean(exponents) < 3.1
    assert 0.1 < np.nanstd(exponents) < 0.45


@pytest.mark.skipif(not REAL, reason="MAMMORGB_REAL_DATA is unset: no real mammograms to compare with")
def test_grey_levels_and_texture_lie_among_real_mammograms(cases):
    real = np.array([_look(*_real_view(path)) for path in sorted((Path(REAL) / "pairs").glob("*.png"))])
    ours = np.array([_look(case["images"][view], case["masks"][view]) for case in cases for view in ("CC", "MLO")])
    low, high = np.nanmin(real, axis=0), np.nanmax(real, axis=0)
    slack = np.array([0.05, 0.03, 0.2, 0.1])  # mean, SD, exponent, share of the field: eight real views only
    middle = np.nanmedian(ours, axis=0)
    assert (middle > low - slack).all() and (middle < high + slack).all(), (middle, low, high)


def _look(image: np.ndarray, mask: np.ndarray) -> tuple[float, float, float, float]:
    levels = image[mask] / np.quantile(image[mask], 0.995)
    return levels.mean(), levels.std(), spectral_exponent(image, mask), mask.mean()


def _real_view(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A real view at about our sampling, with a mask of what is clear of air."""
    from skimage import io
    image = io.imread(path).astype(float)
    image = image[..., 0] if image.ndim == 3 else image
    step = image.shape[0] / 320
    image = ndimage.zoom(ndimage.uniform_filter(image, max(1, round(step))), 1 / step, order=1)
    parts, count = ndimage.label(image > 0.05 * image.max())
    largest = 1 + np.argmax(ndimage.sum(parts > 0, parts, range(1, count + 1)))
    return image, ndimage.binary_erosion(ndimage.binary_fill_holes(parts == largest), iterations=2)


def test_an_exposure_anew_moves_and_presses_the_same_breast_otherwise():
    breast, again = make_breast((3, 1, 7)), make_breast((3, 1, 7), exposure=1)
    assert make_breast((3, 1, 7), exposure=0) == breast and make_breast((3, 1, 7), exposure=2) != again
    kept = [name for name in vars(breast) if getattr(breast, name) == getattr(again, name)]
    assert set(vars(breast)) - set(kept) == {"cc", "mlo", "gland_cc", "gland_mlo", "muscle_length_mm"}
    np.testing.assert_array_equal(gland_volume(breast), gland_volume(again))
    for view in ("cc", "mlo"):
        one, other = getattr(breast, view), getattr(again, view)
        assert abs(one.nipple_row_mm - other.nipple_row_mm) < 30 and one.exponent_width == other.exponent_width


def test_exposures_of_a_breast_are_nearer_to_each_other_than_to_other_breasts():
    lines = np.array([[make_breast((3, 1, case), exposure=exposure).mlo.nipple_line_mm for exposure in range(8)]
                      for case in range(40)])
    assert lines.std(axis=1, ddof=1).mean() < 0.75 * lines.mean(axis=1).std(ddof=1)
