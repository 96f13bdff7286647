"""Masks against the phantoms' truth, and on real mammograms where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from real_films import real_films

from mammorgb_utils.data.dicom import Mammogram, read_mammogram
from mammorgb_utils.data.phantom import HELDOUT_STREAM, make_breast, muscle_truth_mask, render_view, view_truth_mask
from mammorgb_utils.data.preprocess import load_reference_cdf, preprocess_view
from mammorgb_utils.evaluation.masks import METHODS, breast_mask, pectoral_mask
from mammorgb_utils.evaluation.overlap import iou
from mammorgb_utils.protocol import Protocol

REAL = os.environ.get("MAMMORGB_REAL_DATA")


def shrunk(image, size=64):
    """Area average on a coarser grid, by whole blocks of a cropped image."""
    rows, columns = (length // size for length in image.shape)
    cropped = image[:rows * size, :columns * size].astype(np.float64)
    return cropped.reshape(size, rows, size, columns).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def phantoms():
    return [make_breast((411, HELDOUT_STREAM, case)) for case in range(5)]


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"otsu"}))
def test_masks_agree_with_the_phantoms_truth(method, phantoms):
    for breast in phantoms:
        for name in ("CC", "MLO"):
            view, truth = shrunk(render_view(breast, name)), shrunk(view_truth_mask(breast, name)) > 0.5
            assert iou(breast_mask(view, method), truth) >= 0.93


def test_muscles_agree_with_the_phantoms_truth(phantoms):
    overlaps = [iou(pectoral_mask(shrunk(render_view(breast, "MLO"))), shrunk(muscle_truth_mask(breast)) > 0.5)
                for breast in phantoms]
    assert np.median(overlaps) >= 0.80
    assert min(overlaps) >= 0.65


@pytest.mark.skipif(not REAL, reason="MAMMORGB_REAL_DATA is unset: masks are not checked on real mammograms")
def test_breast_but_not_otsu_finds_a_real_digital_breast():
    for name in ("CC", "MLO"):
        pixels = np.asarray(Image.open(Path(REAL) / "pairs" / f"gmic0_L_{name}.png"), dtype=np.float64)
        view = shrunk(np.clip(pixels / np.quantile(pixels, 0.999), 0, 1), 128)
        view = view if view[:, :64].mean() > view[:, 64:].mean() else view[:, ::-1]
        inside = breast_mask(view)
        assert 0.4 < inside.mean() < 0.9
        assert view[~inside].max() < 0.5
        assert breast_mask(view, "otsu").sum() < 0.9 * inside.sum()
        assert name == "CC" or 0.01 < pectoral_mask(view).mean() < 0.2


@pytest.mark.skipif(not REAL, reason="MAMMORGB_REAL_DATA is unset: masks are not checked on real mammograms")
def test_every_method_but_otsu_finds_the_same_real_breast_after_preprocessing():
    protocol = Protocol(image_size=256)
    for file in sorted((Path(REAL) / "pairs").glob("*.png")):
        grey = np.asarray(Image.open(file)).astype(np.float32)
        grey = grey[..., 0] if grey.ndim == 3 else grey
        methods_agree(Mammogram(grey / grey.max(), "L", "CC", False, None, "MONOCHROME2", False, "none"), protocol)


def test_every_method_but_otsu_finds_the_same_breast_on_films_that_anyone_can_have():
    for path in sorted(real_films().parent.rglob("*.dcm")):
        methods_agree(read_mammogram(path, min_side=512), Protocol(image_size=256))


def methods_agree(mammogram: Mammogram, protocol: Protocol) -> None:
    view = preprocess_view(mammogram, load_reference_cdf(protocol), protocol)
    for method in METHODS.keys() - {"background", "otsu"}:
        assert iou(breast_mask(view, method), breast_mask(view)) >= 0.98
