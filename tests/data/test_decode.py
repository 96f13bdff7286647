"""Codes come back as they were stored, in every transfer syntax, depth and sign."""

import numpy as np
import pydicom
import pytest
from dicom_files import EIGHT_BITS, LOSSY, SYNTAXES, TWELVE_BITS, UNSIGNED, breast_codes, write_mammogram
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

from mammorgb_utils.data import decode
from mammorgb_utils.data.decode import reduced_codes
from mammorgb_utils.data.dicom import RejectedImage, read_mammogram
from mammorgb_utils.data.geometry import area_resize, area_resize_subsampled

DEPTHS = ((8, 1), (8, 2), (10, 2), (12, 2), (14, 2), (16, 2))  # bits stored, bytes allocated


def cases():
    for syntax in SYNTAXES:
        for bits, size in DEPTHS:
            if (syntax in EIGHT_BITS and size > 1) or (syntax in TWELVE_BITS and (bits > 12 or size < 2)):
                continue
            yield from ((syntax, bits, size, sign) for sign in "ui" if sign == "u" or syntax not in UNSIGNED)


def codes(bits, size, sign):
    offset = 2 ** (bits - 1) if sign == "i" else 0
    return (breast_codes(bits).astype(int) - offset).astype(f"{sign}{size}")


@pytest.mark.parametrize(("syntax", "bits", "size", "sign"), list(cases()))
def test_codes_come_back_as_stored(tmp_path, syntax, bits, size, sign):
    stored = codes(bits, size, sign)
    found = decode.stored_codes(pydicom.dcmread(write_mammogram(tmp_path / "a.dcm", stored, syntax=syntax, bits=bits)))
    off = np.abs(found.view(stored.dtype).astype(int) - stored)
    assert found.dtype == np.dtype(f"u{size}") and off.max() <= (2**bits / 100 if syntax in LOSSY else 0)


@pytest.mark.parametrize("syntax", ["jpeg_2000_lossless", "htj2k_lossless"])
@pytest.mark.parametrize(("bits", "size"), DEPTHS)
def test_a_sign_changes_nothing_at_lower_resolution(tmp_path, syntax, bits, size):
    small = [read_mammogram(write_mammogram(tmp_path / "a.dcm", codes(bits, size, sign), syntax=syntax, bits=bits),
                            min_side=128).pixels for sign in "ui"]
    # Of a signed image, rounding goes the other way.
    assert small[0].shape == (160, 128) and np.abs(small[0] - small[1]).max() < 4 / 2**bits


@pytest.mark.parametrize("syntax", [name for name in SYNTAXES if name not in EIGHT_BITS])
def test_pixels_deeper_than_the_header_says_are_rejected(tmp_path, syntax):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), syntax=syntax, BitsAllocated=8, BitsStored=8, HighBit=7)
    for side in (None, 128):
        with pytest.raises(RejectedImage, match="unreadable"):
            read_mammogram(path, min_side=side)


def test_a_decoder_that_panics_costs_no_more_than_its_file(tmp_path, monkeypatch):
    class Panic(BaseException):
        """As Rust's, it isn't an Exception."""

    def panic(*_, **__):
        raise Panic

    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), syntax="rle")
    monkeypatch.setattr(decode, "pixel_array", panic)
    with pytest.raises(RejectedImage, match="unreadable"):
        read_mammogram(path)


def test_run_lengths_of_another_encoder(tmp_path):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), syntax="rle")
    dataset = pydicom.dcmread(path)
    frame = RLELosslessEncoder.encode(breast_codes(), encoding_plugin="pydicom", rows=320, columns=256,
                                      samples_per_pixel=1, bits_allocated=16, bits_stored=12, pixel_representation=0,
                                      photometric_interpretation="MONOCHROME2", number_of_frames=1)
    dataset.PixelData = encapsulate([frame])
    assert np.array_equal(decode.stored_codes(dataset), breast_codes())


@pytest.mark.parametrize("shape", [(640, 512), (645, 514)])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_lower_resolution_lies_where_the_full_one_does(levels, shape):
    """Samples at multiples of 2^levels, as a wavelet keeps them, of a picture whose every shift shows."""
    y, x = np.mgrid[:shape[0], :shape[1]]
    picture = 0.5 + 0.25 * np.sin(x / 23) + 0.25 * np.cos(y / 31)
    target = shape[0] // 16, shape[1] // 16
    whole, kept = area_resize(picture, target), picture[::2**levels, ::2**levels]
    placed = area_resize_subsampled(kept, levels, shape, target)
    misplaced = area_resize(kept, target)
    error, shifted = (np.abs(other - whole)[:-1, :-1].max() for other in (placed, misplaced))
    assert error < 0.004 and shifted > 4 * error


@pytest.mark.parametrize("syntax", ["jpeg_2000_lossless", "htj2k_lossless"])
def test_reduced_and_full_decode_show_the_same_picture(tmp_path, syntax):
    stored = np.kron(breast_codes(), np.ones((4, 4))).astype(np.uint16)
    paths = [write_mammogram(tmp_path / f"{name}.dcm", stored, syntax=name, WindowCenter=2048, WindowWidth=4096)
             for name in (syntax, "explicit")]
    reduced = read_mammogram(paths[0], min_side=256).pixels
    assert reduced_codes(pydicom.dcmread(paths[0]), 2)[0].shape == (320, 256)
    assert np.abs(reduced - read_mammogram(paths[1], min_side=256).pixels).mean() < 1 / 255


def test_a_syntax_without_a_decoder_names_what_to_install(tmp_path, monkeypatch):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), syntax="jpeg_ls")
    nothing = type("Decoder", (), {"available_plugins": (), "missing_dependencies": ["imagecodecs"]})
    monkeypatch.setattr("mammorgb_utils.data.decode.get_decoder", lambda syntax: nothing)
    with pytest.raises(RejectedImage, match="missing_decoder: nothing installed decodes JPEG-LS.*install imagecodecs"):
        read_mammogram(path)


@pytest.mark.parametrize(("photometric", "shape"), [("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")])
@pytest.mark.parametrize("air_is_white", [False, True])
def test_where_tags_disagree_the_air_decides(tmp_path, photometric, shape, air_is_white):
    codes = breast_codes()
    path = write_mammogram(tmp_path / "a.dcm", 4095 - codes if air_is_white else codes, WindowCenter=2048,
                           WindowWidth=4096, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    mammogram = read_mammogram(path)
    assert mammogram.inverted == air_is_white and len(mammogram.conflicts) == 1
    assert np.abs(mammogram.pixels - codes / 4095).max() < 1e-3
