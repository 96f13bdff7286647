"""Side, breast and labels on real mammograms, film and digital."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from mammorgb_utils.data.breast_region import breast_region, chest_wall_side, foreign_objects
from mammorgb_utils.data.dicom import Mammogram, RejectedImage, read_mammogram
from mammorgb_utils.data.preprocess import load_reference_cdf, preprocess_view
from mammorgb_utils.protocol import Protocol

REAL = Path(os.environ.get("MAMMORGB_REAL_DATA", "absent"))
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="MAMMORGB_REAL_DATA isn't set: no real mammograms are read")
FILM = "wg04_MG1_J2KI_L_MLO"
DIGITAL = "fodicom_GH133_R_MLO_jpegll_sv1"
# By eye: side of the chest wall; the breast's share of the image; boxes without breast, as top, bottom, left and right
# fractions of the image.
SEEN = {
    "cbisP00001_L_CC": ("left", 0.33, {"label": (0.03, 0.18, 0.65, 0.93), "strip above": (0, 0.12, 0, 1),
                                       "strip below": (0.94, 1, 0, 1)}),
    "cbisP00001_L_MLO": ("left", 0.53, {"label": (0, 0.15, 0.73, 1), "border": (0.9, 1, 0, 1)}),
    "cbisP00041_L_CC": ("left", 0.42, {"label": (0, 0.08, 0.84, 1), "abdomen": (0.86, 1, 0, 1)}),
    "cbisP00041_L_MLO": ("left", 0.42, {"label": (0.05, 0.16, 0.79, 0.95), "strip": (0.79, 1, 0, 1)}),
    "cbisP00127_R_CC": ("left", 0.40, {"border": (0.96, 1, 0, 1), "strip above": (0, 0.1, 0, 1)}),
    "cbisP00127_R_MLO": ("left", 0.44, {"border": (0.88, 1, 0, 1), "bare film": (0, 0.08, 0, 0.25)}),
    "gmic0_L_CC": ("left", 0.62, {"label": (0, 0.02, 0.96, 1)}),
    "gmic0_L_MLO": ("left", 0.79, {"label": (0.13, 0.19, 0.95, 1)}),
    FILM: ("left", 0.53, {"label": (0.04, 0.17, 0.74, 0.95), "blackened": (0.33, 0.56, 0.89, 0.99),
                          "border": (0.985, 1, 0, 1), "top": (0, 0.004, 0, 1)}),
    DIGITAL: ("right", 0.30, {"abdomen": (0.78, 1, 0, 1)}),
}
LABELS = {name: [box for what, box in boxes.items() if what in ("label", "blackened")]
          for name, (_, _, boxes) in SEEN.items()}


@pytest.fixture(scope="module")
def mammograms(tmp_path_factory):
    """Every real mammogram by its name; the film's modality is made MG, as its file says radiography."""
    films = {file.stem: _from_png(file) for file in sorted((REAL / "pairs").glob("*.png"))}
    film = pydicom.dcmread(REAL / "dicom" / f"{FILM}.dcm")
    film.Modality = "MG"
    path = tmp_path_factory.mktemp("film") / "film.dcm"
    film.save_as(path)
    return {**films, FILM: read_mammogram(path), DIGITAL: read_mammogram(REAL / "dicom" / f"{DIGITAL}.dcm")}


def _from_png(file):
    grey = np.asarray(Image.open(file)).astype(np.float32)
    grey = grey[..., 0] if grey.ndim == 3 else grey
    return Mammogram(grey / grey.max(), "L", "CC", False, None, "MONOCHROME2", False, "none")


def part(mask, box):
    top, bottom, left, right = box
    height, width = mask.shape
    return mask[int(top * height):round(bottom * height), int(left * width):round(right * width)]


@pytest.mark.parametrize("name", SEEN)
def test_breast_and_side_are_those_seen_and_labels_and_borders_are_left_out(name, mammograms):
    pixels = mammograms[name].pixels
    side, share, without = SEEN[name]
    region = breast_region(pixels)
    assert chest_wall_side(region) == side
    assert region.mean() == pytest.approx(share, abs=0.03)
    assert {what: int(part(region, box).sum()) for what, box in without.items()} == dict.fromkeys(without, 0)


@pytest.mark.parametrize("name", SEEN)
def test_nothing_of_the_breast_is_a_foreign_object(name, mammograms):
    pixels = mammograms[name].pixels
    region = breast_region(pixels)
    assert not (foreign_objects(pixels, region) & region).any()


@pytest.mark.parametrize("name", [name for name, boxes in LABELS.items() if boxes])
def test_every_label_is_a_foreign_object(name, mammograms):
    pixels = mammograms[name].pixels
    objects = foreign_objects(pixels, breast_region(pixels))
    assert min(part(objects, box).mean() for box in LABELS[name]) > 0.1


@pytest.mark.parametrize("name", SEEN)
def test_views_are_breast_on_black_with_the_chest_wall_left(name, mammograms):
    view = preprocess_view(mammograms[name], load_reference_cdf(Protocol()), Protocol())
    assert 0.2 < (view > 0.05).mean() < 0.85
    assert (view[:, 0] > 0.05).mean() > (view[:, -1] > 0.05).mean() + 0.3


def test_a_ruler_with_a_mammograms_tags_is_no_breast(tmp_path):
    path = REAL / "dicom" / "weasis_mg_calib102.dcm"
    with pytest.raises(RejectedImage, match="modified_view"):
        read_mammogram(path)  # it is magnified
    dataset = pydicom.dcmread(path)
    dataset.EstimatedRadiographicMagnificationFactor = 1
    dataset.save_as(tmp_path / "a.dcm")
    ruler = read_mammogram(tmp_path / "a.dcm")
    with pytest.raises(RejectedImage, match="no_breast: no breast stands out"):
        preprocess_view(ruler, load_reference_cdf(Protocol()), Protocol())


def test_a_lut_is_chosen_where_the_file_has_luts_and_windows(mammograms):
    digital = mammograms[DIGITAL]
    assert (digital.laterality, digital.view, digital.voi) == ("R", "MLO", "lut")
    assert mammograms[FILM].view == "MLO"
