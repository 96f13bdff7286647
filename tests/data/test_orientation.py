"""Views come out upright from tags and pixels that agree; where they don't, they stay as they are and it is listed."""

import numpy as np
import pydicom
import pytest
from dicom_files import breast_codes, write_mammogram

from mammorgb_utils.data.dicom import read_mammogram
from mammorgb_utils.data.orientation import UPSIDE_DOWN, is_upside_down, orientation_of
from mammorgb_utils.data.preprocess import load_reference_cdf, normalise, preprocess_view
from mammorgb_utils.data.quality import image_facts
from mammorgb_utils.protocol import Protocol

MLO = breast_codes(view="MLO")
# How a left MLO view is stored, and where its rows and columns then run to.
STORED = {"upright": (lambda a: a, ["A", "F"]), "more letters": (lambda a: a, ["A", "FR"]),
          "upside down": (lambda a: a[::-1], ["A", "H"]), "mirrored": (lambda a: a[:, ::-1], ["P", "F"]),
          "half turn": (lambda a: a[::-1, ::-1], ["P", "HL"]), "turned left": (np.rot90, ["F", "P"]),
          "turned right": (lambda a: np.rot90(a, -1), ["H", "A"]), "transposed": (lambda a: a.T, ["FR", "A"]),
          "transposed and turned": (lambda a: a.T[::-1, ::-1], ["H", "P"])}


def write(path, codes, orientation, **tags):
    return write_mammogram(path, np.ascontiguousarray(codes), PatientOrientation=orientation,
                           **{"ViewPosition": "MLO", "WindowCenter": 2048, "WindowWidth": 4096} | tags)


@pytest.mark.parametrize("name", STORED)
def test_an_mlo_view_comes_out_the_same_however_it_is_stored(tmp_path, name):
    turn, orientation = STORED[name]
    mammogram = read_mammogram(write(tmp_path / "a.dcm", turn(MLO), orientation))
    protocol = Protocol()
    view, plain = (preprocess_view(each, load_reference_cdf(protocol), protocol) for each in
                   (mammogram, read_mammogram(write(tmp_path / "b.dcm", MLO, ["A", "F"]))))
    assert np.abs(view - plain).max() < 1e-5
    told = [sentence for sentence in mammogram.conflicts if "brought upright" in sentence]
    assert bool(told) == (name not in ("upright", "more letters", "mirrored"))
    assert all("upside down" not in sentence and "lying" not in sentence or "brought" in sentence
               for sentence in mammogram.conflicts)


def test_the_spacing_turns_with_the_picture(tmp_path):
    mammogram = read_mammogram(write(tmp_path / "a.dcm", np.rot90(MLO), ["F", "P"], ImagerPixelSpacing=[0.1, 0.2]))
    assert mammogram.pixels.shape == MLO.shape and mammogram.spacing_mm == (0.2, 0.1)
    facts = image_facts(tmp_path / "a.dcm", 512, "reject")
    assert (facts["rows"], facts["columns"], facts["row_spacing_mm"]) == (*MLO.shape, 0.2)


@pytest.mark.parametrize(("turn", "orientation", "told"), [
    (lambda a: a, ["A", "H"], "its patient orientation has it upside down, its pixels don't"),
    (lambda a: a, ["F", "A"], "its patient orientation has it lying, its pixels don't"),
    (lambda a: a, ["H", "P"], "its patient orientation has it lying, its pixels don't")])
def test_what_tags_alone_say_is_listed_and_not_done(tmp_path, turn, orientation, told):
    mammogram = read_mammogram(write(tmp_path / "a.dcm", turn(MLO), orientation))
    assert np.abs(mammogram.pixels - MLO / 4095).max() < 1e-3 and told in mammogram.conflicts


def test_where_only_the_end_differs_the_pixels_decide_and_it_is_listed(tmp_path):
    mammogram = read_mammogram(write(tmp_path / "a.dcm", np.rot90(MLO), ["H", "A"]))
    assert np.abs(mammogram.pixels[:, ::-1] - MLO / 4095).max() < 1e-3
    assert any("by its pixels, whose other end is up" in sentence for sentence in mammogram.conflicts)


@pytest.mark.parametrize("orientation", [["A", "F"], None])
def test_a_view_that_is_upside_down_by_its_pixels_alone_is_listed(tmp_path, orientation):
    path = write(tmp_path / "a.dcm", MLO[::-1], orientation)
    assert UPSIDE_DOWN in image_facts(path, 512, "reject")["conflicts"]
    normalised, region = normalise(read_mammogram(path).pixels)
    assert is_upside_down(normalised, region) and not is_upside_down(normalised[::-1], region[::-1])
    assert UPSIDE_DOWN not in image_facts(write(path, MLO, orientation), 512, "reject")["conflicts"]


@pytest.mark.parametrize(("side", "orientation", "told"), [
    ("L", ["A", "R"], ()), ("R", ["P", "L"], ()), ("L", ["A", "L"], ("puts the breast's outer half below",)),
    ("R", ["P", "R"], ("puts the breast's outer half below",)), ("L", ["P", "L"], ("expect opposite chest walls",))])
def test_a_cc_view_that_stands_is_left_as_it_is(tmp_path, side, orientation, told):
    codes = breast_codes()
    mammogram = read_mammogram(write(tmp_path / "a.dcm", codes, orientation, ViewPosition="CC", ImageLaterality=side))
    assert np.abs(mammogram.pixels - codes / 4095).max() < 1e-3
    assert len(mammogram.conflicts) == len(told) and all(a in b for a, b in zip(told, mammogram.conflicts, strict=True))


@pytest.mark.parametrize(("turn", "orientation"), [(np.rot90, ["R", "P"]), (lambda a: np.rot90(a, -1), ["L", "A"]),
                                                   (lambda a: a.T, ["R", "A"])])
def test_a_lying_cc_view_is_brought_upright(tmp_path, turn, orientation):
    codes = breast_codes()
    path = write(tmp_path / "a.dcm", turn(codes), orientation, ViewPosition="CC")
    mammogram = read_mammogram(path)
    hung = mammogram.pixels if mammogram.chest_wall_by_tags == "left" else mammogram.pixels[:, ::-1]
    assert np.abs(hung - codes / 4095).max() < 1e-3 and "brought upright" in " ".join(mammogram.conflicts)


@pytest.mark.parametrize("value", ["", "A", ["A"], ["A", "P"], ["H", "F"], ["L", "R"], ["REMOVED", "REMOVED"],
                                   ["L", "F"], "MLO", ["X", "F"], ["A", "F", "R"]])
def test_what_is_no_orientation_states_none(tmp_path, value):
    mammogram = read_mammogram(write(tmp_path / "a.dcm", MLO, value))
    assert np.abs(mammogram.pixels - MLO / 4095).max() < 1e-3 and mammogram.chest_wall_by_tags == "left"
    assert orientation_of(pydicom.dcmread(tmp_path / "a.dcm")) is None
