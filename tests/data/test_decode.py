"""Codes come back as they were stored, in every transfer syntax, depth and sign."""

import re

import numpy as np
import pydicom
import pytest
from dicom_files import EIGHT_BITS, LOSSY, SYNTAXES, TWELVE_BITS, UNSIGNED, breast_codes, write_mammogram
from pydicom.encaps import encapsulate, generate_frames
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


FRAGMENTED = [name for name in SYNTAXES if name not in ("explicit", "implicit", "big_endian", "deflated")]


def item(content: bytes) -> bytes:
    """A fragment or a table of encapsulated pixel data."""
    content += bytes(len(content) % 2)
    return b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize("syntax", FRAGMENTED)
@pytest.mark.parametrize("table", ["empty", "one offset", "per fragment", "wrong", "absent"])
def test_a_frame_in_fragments_is_one_frame_whatever_its_table_says(tmp_path, syntax, table):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(8 if syntax in EIGHT_BITS else 12), syntax=syntax)
    whole, dataset = read_mammogram(path).pixels, pydicom.dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if table == "absent" and syntax == "rle":
        return  # its frames begin like a table
    size = 2 * (len(frame) // 6)
    parts = [frame[:size], frame[size:2 * size], frame[2 * size:]]
    offsets = {"one offset": [0], "per fragment": [0, 8 + size, 16 + 2 * size], "wrong": [77, 12345678]}.get(table, [])
    tables = b"" if table == "absent" else item(b"".join(offset.to_bytes(4, "little") for offset in offsets))
    dataset.PixelData = tables + b"".join(map(item, parts))
    dataset.save_as(path)
    assert np.array_equal(read_mammogram(path).pixels, whole)
    assert read_mammogram(path, min_side=128).pixels.shape == (160, 128)


@pytest.mark.parametrize("syntax", FRAGMENTED)
@pytest.mark.parametrize("padding", [b"\0", b"\xff"])
def test_padding_behind_the_end_marker_is_no_pixel(tmp_path, syntax, padding):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(8 if syntax in EIGHT_BITS else 12), syntax=syntax)
    whole, dataset = read_mammogram(path).pixels, pydicom.dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame + 5000 * padding])
    dataset.save_as(path)
    assert np.array_equal(read_mammogram(path).pixels, whole)


@pytest.mark.parametrize("syntax", ["jpeg_baseline", "jpeg_extended"])
@pytest.mark.parametrize("selection", [b"\0\0\0", b"\1\0\0", b"\0\x3f\x11"])
def test_a_sequential_jpeg_is_read_whatever_its_spectral_selection(tmp_path, syntax, selection):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(8 if syntax in EIGHT_BITS else 12), syntax=syntax)
    whole, dataset = read_mammogram(path).pixels, pydicom.dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    place = frame.index(b"\xff\xda") + 7  # behind marker, length, and number and table of the one component
    assert frame[place:place + 3] == b"\0\x3f\0"
    dataset.PixelData = encapsulate([frame[:place] + selection + frame[place + 3:]])
    dataset.save_as(path)
    assert np.array_equal(read_mammogram(path).pixels, whole)


def test_eight_bits_in_a_jpeg_of_twelve_are_read(tmp_path):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(8), syntax="jpeg_baseline")
    eight, dataset = read_mammogram(path).pixels, pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID, dataset.BitsAllocated = SYNTAXES["jpeg_extended"], 16
    dataset.save_as(path)
    assert np.array_equal(read_mammogram(path).pixels, eight)


DEEP = [name for name in SYNTAXES if name not in (*LOSSY, *EIGHT_BITS)]


@pytest.mark.parametrize("syntax", DEEP)
@pytest.mark.parametrize("side", [None, 64])
def test_overlays_above_bits_stored_don_t_count(tmp_path, syntax, side):
    stored, plane = breast_codes(), np.zeros((320, 256), np.uint16)
    plane[100:130, 20:120], plane[200, :] = 1 << 12, 1 << 15
    path = write_mammogram(tmp_path / "a.dcm", stored | plane, syntax=syntax, bits=16, BitsStored=12, HighBit=11)
    clean = write_mammogram(tmp_path / "b.dcm", stored, syntax="explicit")
    mammogram = read_mammogram(path, min_side=side)
    assert np.array_equal(mammogram.pixels, read_mammogram(clean, min_side=side).pixels)
    assert [note for note in mammogram.conflicts if "they don't count" in note]


@pytest.mark.parametrize("syntax", DEEP)
@pytest.mark.parametrize("side", [None, 64])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 8192, "WindowWidth": 16384}])
def test_all_bits_of_a_deeper_image_count(tmp_path, syntax, side, window):
    stored = np.kron(breast_codes(14), np.ones((2, 2), np.uint16))  # without jumps from one column to the next but two
    paths = [write_mammogram(tmp_path / f"{n}.dcm", stored, syntax=name, bits=16, BitsStored=n, HighBit=n - 1, **window)
             for n, name in ((12, syntax), (14, "explicit"))]
    wrong, right = (read_mammogram(path, min_side=side) for path in paths)
    assert np.abs(wrong.pixels - right.pixels).max() < 1e-6 and not right.conflicts
    assert wrong.conflicts == ("its pixels have 14 bits, and its header states 12; all count",)


@pytest.mark.parametrize("syntax", DEEP)
def test_padding_may_stand_above_bits_stored(tmp_path, syntax):
    words = breast_codes(14).copy()
    words[:40] = words[-40:] = 65535
    path = write_mammogram(tmp_path / "a.dcm", words, syntax=syntax, bits=16, BitsStored=14, HighBit=13,
                           PixelPaddingValue=65535)
    for side in (None, 64):
        mammogram = read_mammogram(path, min_side=side)
        assert not mammogram.conflicts and not mammogram.pixels[:8].any() and mammogram.pixels.max() > 0.9


@pytest.mark.parametrize("syntax", [name for name in DEEP if name not in ("jpeg_2000_lossless", "htj2k_lossless")])
def test_signed_words_whose_upper_bits_are_empty_are_signed(tmp_path, syntax):
    """JPEG 2000 and HTJ2K codestreams have signs of their own."""
    signed, window = breast_codes().astype(np.int16) - 2048, {"WindowCenter": 0, "WindowWidth": 4096}
    paths = [write_mammogram(tmp_path / f"{name}.dcm", words, syntax=name, bits=12, **window)
             for name, words in ((syntax, signed & 0xFFF), ("explicit", signed))]
    bare, extended = (read_mammogram(path) for path in paths)
    assert np.array_equal(bare.pixels, extended.pixels) and not bare.conflicts


def test_the_reason_of_a_failure_reaches_the_user(tmp_path):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), syntax="jpeg_ls")
    dataset, reasons = pydicom.dcmread(path), []
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    for content, rows in ((frame[:500], 320), (frame, 319), (frame[:60] + frame[-2:], 320)):
        dataset.PixelData, dataset.Rows = encapsulate([content]), rows
        dataset.save_as(path)
        with pytest.raises(RejectedImage) as error:
            read_mammogram(path)
        reasons.append(error.value.reason)
    assert reasons[0].endswith("(the codestream is cut off)") and "of the header's size" in reasons[1]
    assert re.search(r"\(imagecodecs \S.+\)$", reasons[2])
    short = write_mammogram(tmp_path / "a.dcm", breast_codes(), PixelData=bytes(100))
    with pytest.raises(RejectedImage, match="the pixel data is shorter than rows and columns ask for"):
        read_mammogram(short)


def test_a_syntax_without_a_decoder_names_what_to_install(tmp_path, monkeypatch):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), syntax="rle")
    nothing = type("Decoder", (), {"available_plugins": (), "missing_dependencies": ["pylibjpeg-rle"]})
    monkeypatch.setattr("mammorgb_utils.data.decode.get_decoder", lambda syntax: nothing)
    with pytest.raises(RejectedImage, match="missing_decoder: nothing installed decodes RLE.*install pylibjpeg-rle"):
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


@pytest.mark.parametrize("air_is_white", [False, True])
def test_a_padded_frame_is_not_the_air_that_decides(tmp_path, air_is_white):
    codes = np.clip(breast_codes(), 1, 4094)
    stored = 4095 - codes if air_is_white else codes
    stored[:12] = stored[-12:] = 4095 if not air_is_white else 0
    path = write_mammogram(tmp_path / "a.dcm", stored, WindowCenter=2048, WindowWidth=4096,
                           PixelPaddingValue=int(stored[0, 0]), PhotometricInterpretation="MONOCHROME1",
                           PresentationLUTShape="IDENTITY")
    mammogram = read_mammogram(path)
    assert mammogram.inverted == air_is_white
    assert np.abs(mammogram.pixels[12:-12] - codes[12:-12] / 4095).max() < 1e-3 and not mammogram.pixels[:12].any()
