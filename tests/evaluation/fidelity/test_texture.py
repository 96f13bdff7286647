"""Texture features against hand-worked cases and textures whose answer is known."""

import numpy as np
import pytest
from drawn_views import breast, pairs_of, view

from mammorgb_utils.evaluation.fidelity.texture import (
    FEATURES,
    MIN_PIXELS,
    feature_columns,
    texture_features,
    view_texture,
)
from mammorgb_utils.evaluation.overlap import pair_masks

NAMES = list(FEATURES)
FULL = np.ones((64, 64), bool)


def features(image, mask=FULL):
    return dict(zip(NAMES, view_texture(image.astype(np.float32), mask), strict=True))


def power_law(exponent, size=64, seed=0):
    """Noise whose power spectrum falls with the given exponent, scaled into [0, 1]."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((size, size)))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    radius[0, 0] = 1.0
    image = np.fft.ifft2(spectrum * radius ** (-exponent / 2)).real
    return (image - image.min()) / np.ptp(image)


def test_first_order_features_of_a_case_worked_by_hand():
    image = np.where(np.arange(64) < 32, 0.25, 0.75) * np.ones((64, 1))
    found = features(image)
    assert found["mean"] == pytest.approx(0.5) and found["sd"] == pytest.approx(0.25)
    assert found["skewness"] == pytest.approx(0.0, abs=1e-9) and found["kurtosis"] == pytest.approx(-2.0)
    assert found["p10"] == 0.25 and found["p90"] == 0.75 and found["entropy"] == pytest.approx(1.0)


def test_cooccurrence_of_a_case_worked_by_hand():
    """Columns in turn 0.25 and 0.75, sixteen levels apart: neighbours differ."""
    found = features(np.where(np.arange(64) % 2, 0.25, 0.75) * np.ones((64, 1)))
    n = 60  # columns and rows away from the rim
    across, down = n * (n - 1), n * (n - 1)  # pairs of neighbours; diagonals differ like horizontal ones
    differ = across + 2 * (n - 1) ** 2
    assert found["glcm_contrast_1"] == pytest.approx(256 * differ / (differ + down), rel=1e-9)
    assert found["glcm_contrast_4"] < found["glcm_contrast_1"]


def test_a_constant_breast_has_no_texture():
    found = features(np.full((64, 64), 0.5))
    for name in ("sd", "skewness", "kurtosis", "entropy", "glcm_contrast_1", "gradient_mean", "laplacian_sd"):
        assert found[name] == pytest.approx(0.0, abs=1e-6), name
    assert found["glcm_homogeneity_2"] == pytest.approx(1.0)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
def test_the_spectral_slope_finds_the_exponent_that_was_put_in(exponent):
    slopes = [features(power_law(exponent, 256, seed), np.ones((256, 256), bool))["spectral_slope"]
              for seed in range(5)]
    assert np.mean(slopes) == pytest.approx(exponent, abs=0.25)


def test_air_and_rim_decide_nothing_but_the_rim_feature():
    mask = breast(64, 0.7)
    image, other = view(mask, noise=0.02), view(mask, noise=0.02)
    other[~mask] = 0.9
    first, second = features(image, mask), features(other, mask)
    assert [name for name in NAMES if first[name] != second[name]] == ["rim_gradient"]


def test_noise_and_blur_move_the_features_that_are_meant_to_see_them():
    mask = breast(64, 0.7)
    calm, noisy = features(view(mask), mask), features(view(mask, noise=0.05), mask)
    assert noisy["laplacian_sd"] > 3 * calm["laplacian_sd"] and noisy["glcm_contrast_1"] > calm["glcm_contrast_1"]
    assert noisy["spectral_slope"] < calm["spectral_slope"]


def test_a_view_without_a_breast_is_unknown_and_the_other_is_not():
    pairs = pairs_of([(0.6, 0.7), (0.6, 0.7)])
    pairs[1, 0] = 0.0
    table = texture_features(pairs, pair_masks(pairs))
    cc, mlo = (table.filter(regex=f"^{name}_") for name in ("cc", "mlo"))
    assert cc.iloc[1].isna().all() and mlo.notna().all().all() and cc.iloc[0].notna().all()
    assert list(table) == feature_columns() and MIN_PIXELS > 0


def test_wrong_shapes_and_missing_features_are_named():
    pairs = pairs_of([(0.6, 0.7)])
    for others in (pairs[0], np.concatenate([pairs, pairs])):
        with pytest.raises(ValueError, match="masks: made for pairs of shape"):
            texture_features(others, pair_masks(pairs))
    with pytest.raises(ValueError, match="'mlo_glcm_entropy_4' of mammorgb-texture-1 is missing"):
        feature_columns(texture_features(pairs, pair_masks(pairs)).drop(columns="mlo_glcm_entropy_4"))
