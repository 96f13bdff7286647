"""Reading one mammogram: known pixels come back, everything else is rejected with a reason."""

import numpy as np
import pytest
from dicom_files import write_mammogram
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mammorgb_utils.data.dicom import RejectedImage, read_mammogram
from mammorgb_utils.data.headers import FOR_PROCESSING

RAMP = (np.arange(64 * 48).reshape(64, 48) % 4096).astype(np.uint16)


def write(path, stored=RAMP, **tags):
    return write_mammogram(path, stored, **tags)


def window(centre, width, function=None):
    return {"WindowCenter": centre, "WindowWidth": width} | ({"VOILUTFunction": function} if function else {})


def test_without_voi_the_stored_range_is_shown(tmp_path):
    mammogram = read_mammogram(write(tmp_path / "a.dcm"))
    assert mammogram.voi == "none" and mammogram.pixels.dtype == np.float32
    assert np.allclose(mammogram.pixels, RAMP / RAMP.max(), atol=1e-6)
    assert (mammogram.laterality, mammogram.view, mammogram.implant) == ("L", "CC", None)


def test_a_linear_window_follows_the_standards_formula(tmp_path):
    centre, width = 1000.0, 500.0
    expected = np.clip((RAMP - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    pixels = read_mammogram(write(tmp_path / "a.dcm", **window(centre, width))).pixels
    assert np.abs(pixels - expected).max() < 1e-3


def test_a_sigmoid_window_follows_the_standards_formula(tmp_path):
    expected = 1 / (1 + np.exp(-4 * (RAMP - 1500.0) / 800.0))
    mammogram = read_mammogram(write(tmp_path / "a.dcm", **window(1500, 800, "SIGMOID")))
    assert mammogram.voi == "sigmoid" and np.abs(mammogram.pixels - expected).max() < 1e-3


def test_a_window_acts_on_rescaled_and_signed_values(tmp_path):
    stored = (RAMP.astype(np.int16) - 2048)
    pixels = read_mammogram(write(tmp_path / "a.dcm", stored, RescaleSlope=2, RescaleIntercept=100,
                                  **window(100, 8192))).pixels
    expected = np.clip((stored * 2.0 + 100 - 99.5) / 8191 + 0.5, 0, 1)
    assert np.abs(pixels - expected).max() < 1e-3


def test_a_voi_lut_is_used_instead_of_the_window_never_after_it(tmp_path):
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, 12], (np.arange(4096) // 2).astype("<u2").tobytes()
    mammogram = read_mammogram(write(tmp_path / "a.dcm", VOILUTSequence=Sequence([item]), **window(10, 10)))
    assert mammogram.voi == "lut" and np.allclose(mammogram.pixels, (RAMP // 2) / 4095, atol=1e-6)


@pytest.mark.parametrize(("shape", "conflicts"), [("INVERSE", 0), (None, 0), ("IDENTITY", 1)])
def test_monochrome1_is_inverted_once(tmp_path, shape, conflicts):
    extra = {"PresentationLUTShape": shape} if shape else {}
    mammogram = read_mammogram(write(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1", **extra))
    assert mammogram.inverted and len(mammogram.conflicts) == conflicts
    assert np.allclose(mammogram.pixels, 1 - RAMP / RAMP.max(), atol=1e-6)


def test_padding_is_air_in_either_photometric(tmp_path):
    stored = RAMP.copy()
    stored[:, 40:] = 4095
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        path = write(tmp_path / "a.dcm", stored, PhotometricInterpretation=photometric, PixelPaddingValue=4095)
        assert not read_mammogram(path).pixels[:, 40:].any()


def test_the_view_code_supersedes_the_view_position(tmp_path):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "R-10226", "SRT", "medio-lateral oblique"
    assert read_mammogram(write(tmp_path / "a.dcm", ViewCodeSequence=Sequence([item]))).view == "MLO"
    item.CodeValue = "R-10228"  # latero-medial: neither of the study's views
    with pytest.raises(RejectedImage, match="other_view"):
        read_mammogram(write(tmp_path / "a.dcm", ViewCodeSequence=Sequence([item])))


def test_min_side_averages_blocks_and_keeps_the_spacing_true(tmp_path):
    path = write(tmp_path / "a.dcm", ImagerPixelSpacing=[0.1, 0.1])
    small = read_mammogram(path, min_side=20)
    assert small.pixels.shape == (32, 24) and small.spacing_mm == pytest.approx((0.2, 0.2))
    assert np.allclose(small.pixels[0, 0], read_mammogram(path).pixels[:2, :2].mean(), atol=1e-6)


@pytest.mark.parametrize(("changes", "code"), [
    ({"SOPClassUID": FOR_PROCESSING}, "for_processing"),
    ({"PresentationIntentType": "FOR PROCESSING"}, "for_processing"),
    ({"Modality": "CT"}, "not_mammography"),
    ({"NumberOfFrames": 3}, "not_single_frame"),
    ({"PixelData": RAMP.tobytes()[:100]}, "unreadable"),
    ({"PixelData": None}, "unreadable"),
    ({"Rows": None}, "unreadable"),
    ({"HighBit": 15}, "unreadable"),
    ({"Rows": 4, "Columns": 768}, "unreadable"),
    ({"Rows": 16, "Columns": 192}, "unreadable"),
])
def test_other_files_are_rejected_with_a_code_and_a_sentence(tmp_path, changes, code):
    path = write(tmp_path / "jane_doe.dcm", **changes)
    with pytest.raises(RejectedImage) as error:
        read_mammogram(path)
    assert error.value.code == code and error.value.path == path
    assert len(error.value.reason.split()) > 3 and "jane_doe" not in error.value.reason


@pytest.mark.parametrize("content", [b"", b"not a DICOM file", b"\0" * 128 + b"DICM" + b"\xff" * 64])
def test_garbage_is_rejected(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(RejectedImage, match="unreadable"):
        read_mammogram(tmp_path / "a.dcm")


def test_one_spacing_is_none(tmp_path):
    assert read_mammogram(write(tmp_path / "a.dcm", ImagerPixelSpacing=0.1)).spacing_mm is None


@pytest.mark.parametrize("function", ["", "linear", None])
def test_an_empty_voi_function_is_linear(tmp_path, function):
    path = write(tmp_path / "a.dcm", **window(1000, 500))
    plain = read_mammogram(path).pixels
    emptied = read_mammogram(write(path, **window(1000, 500), VOILUTFunction=function or "")).pixels
    assert np.array_equal(plain, emptied)
    assert read_mammogram(write(path, **window(1500, 800, "sigmoid"))).voi == "sigmoid"


def test_a_falling_rescale_shows_what_it_falls_from(tmp_path):
    falling = (4095 - RAMP.astype(int)).astype(np.uint16)
    rescaled = write(tmp_path / "a.dcm", falling, RescaleSlope=-1, RescaleIntercept=4095, **window(2048, 4096))
    plain = write(tmp_path / "b.dcm", **window(2048, 4096))
    assert np.abs(read_mammogram(rescaled).pixels - read_mammogram(plain).pixels).max() < 1e-6


@pytest.mark.parametrize("value", [4000, 65535])
def test_padding_that_eight_bits_cant_hold_pads_nothing(tmp_path, value):
    stored = (RAMP % 256).astype(np.uint8)
    plain = read_mammogram(write(tmp_path / "a.dcm", stored)).pixels
    padded = read_mammogram(write(tmp_path / "a.dcm", stored, PixelPaddingValue=value)).pixels
    assert np.array_equal(plain, padded)
