"""Codes come back as they were stored, in every transfer syntax, depth and sign."""

import numpy as np
import pydicom
import pytest
from dicom_files import EIGHT_BITS, LOSSY, SYNTAXES, TWELVE_BITS, UNSIGNED, breast_codes, write_mammogram
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

from mammorgb_utils.data import decode
from mammorgb_utils.data.dicom import RejectedImage, read_mammogram

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
