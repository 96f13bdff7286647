"""Decoding pixel data: the fastest kept decoder for each transfer syntax, and JPEG 2000 at a lower resolution.

imagecodecs decodes JPEG, JPEG-LS and HTJ2K several times faster than pydicom's decoders. Whatever decodes, words come
back whole: which of their bits count is one rule, in grey_scale.
"""

from __future__ import annotations

import logging
import struct
import sys
from functools import partial
from io import BytesIO

import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_fragments
from pydicom.pixels import get_decoder, pixel_array

_DECODERS = {
    **dict.fromkeys(uid.JPEGTransferSyntaxes, imagecodecs.jpeg_decode),
    **dict.fromkeys((uid.JPEGLSLossless, uid.JPEGLSNearLossless), imagecodecs.jpegls_decode),
    **dict.fromkeys((uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K), imagecodecs.htj2k_decode)}
# In the order in which they are tried after imagecodecs. gdcm decodes no more, and ends the process at damaged JPEG.
_PLUGINS = ("pylibjpeg", "pillow")
_SOC_SIZ, _COD = b"\xff\x4f\xff\x51", 0xFF52
_BEGIN, _END, _DEPTH = (b"\xff\xd8", b"\xff\x4f"), b"\xff\xd9", 42  # bytes from SOC to the first component's depth
_DEEPER = "the codestream is deeper than the header says"

# Warnings quote header values, and would carry them into logs and notebooks.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
for _name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class MissingDecoder(RuntimeError):
    """No installed package decodes a transfer syntax; the message names what to install."""


class DecodeError(ValueError):
    """Pixel data can't be decoded; the message says why, and quotes no value of the header."""


def stored_codes(dataset: Dataset) -> np.ndarray:
    """One frame at full resolution: `(H, W)` uint8 or uint16 bit patterns, signed values as two's complement.

    Raises:
        MissingDecoder: Nothing installed decodes the transfer syntax.
        DecodeError: The pixels aren't one frame of 8 or 16 bits, or are damaged.
    """
    allocated, bits = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in (8, 16) or not 1 <= bits <= allocated:
        raise DecodeError("the pixels aren't of 8 to 16 bits")
    if int(dataset.get("HighBit", bits - 1)) != bits - 1:
        raise DecodeError("the bits aren't at the low end, a layout that DICOM has retired")
    stored = _decoded(dataset)
    if stored.shape != (dataset.Rows, dataset.Columns) or stored.dtype.kind not in "ui" or stored.itemsize > 2:
        raise DecodeError("the pixels aren't one frame of the header's size, of 8 or 16 bits")
    if 8 * stored.itemsize > allocated:
        raise DecodeError(_DEEPER)
    codes = stored.astype(stored.dtype.newbyteorder("="), copy=False)  # big-endian files
    codes = codes.astype(f"u{allocated // 8}") if 8 * stored.itemsize < allocated else codes.view(f"u{allocated // 8}")
    if dataset.PixelRepresentation and bits < allocated and codes.max() < 1 << bits:  # JPEG and JPEG-LS know no sign
        codes = ((codes << (allocated - bits)).view(f"i{codes.itemsize}") >> (allocated - bits)).view(codes.dtype)
    return codes


def reduced_codes(dataset: Dataset, levels: int) -> tuple[np.ndarray, int] | None:
    """Decode a JPEG 2000 or HTJ2K frame with up to `levels` resolution levels left out, each of which halves the sides.

    Returns:
        `(h, w)` codes as `stored_codes` and the levels left out; None where a full decode is needed: another
        syntax, no such level, an offset grid, tiles, several components, a sign that isn't the header's, or more bits
        than it stores (in HTJ2K, whose encoders write whole bytes, only where the values show them).
    """
    if dataset.file_meta.TransferSyntaxUID not in uid.JPEG2000TransferSyntaxes:
        return None
    try:
        frame = _frame(dataset)
        precision, available = _codestream(frame, dataset)
        levels = min(levels, available)
        return (_pillow_codes(frame, levels, precision, dataset), levels) if levels > 0 else None
    except (ValueError, struct.error, OSError, Image.DecompressionBombError):
        return None


def _decoded(dataset: Dataset) -> np.ndarray:
    """What the first decoder that succeeds gives; where none does, each one's reason."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        if 8 * len(dataset.PixelData) < dataset.Rows * dataset.Columns * dataset.BitsAllocated:
            raise DecodeError("the pixel data is shorter than rows and columns ask for")
        return np.asarray(pixel_array(dataset, correct_unused_bits=False))
    available = _available(syntax)
    frame = _frame(dataset)
    dataset.PixelData = encapsulate([frame])
    attempts = {name: partial(pixel_array, dataset, decoding_plugin=name, correct_unused_bits=False)
                for name in [name for name in _PLUGINS if name in available] or [""]}
    if syntax in uid.JPEGLSTransferSyntaxes:
        attempts.clear()  # they make up what is missing
    if syntax in _DECODERS:
        attempts = {"imagecodecs": partial(_by_imagecodecs, syntax, frame), **attempts}
    reasons = []
    for name, attempt in attempts.items():
        try:
            return np.asarray(attempt())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a decoder in Rust panics with none of Python's exceptions
            # Others than imagecodecs may quote the header.
            reasons.append(f"{name} {error if isinstance(error, DecodeError) else type(error).__name__}")
    raise DecodeError("; ".join(reasons))


def _available(syntax: uid.UID) -> tuple[str, ...]:
    """pydicom's plugins that decode a transfer syntax, at least one."""
    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:
        raise MissingDecoder("its transfer syntax is none that can be decoded here; convert it, for instance with "
                             "gdcmconv --raw") from None
    if not available and syntax not in _DECODERS:
        packages = "; or ".join(get_decoder(syntax).missing_dependencies)
        raise MissingDecoder(f"nothing installed decodes {syntax.name}; install {packages}")
    return available


def _frame(dataset: Dataset) -> bytes:
    """All fragments of the one frame, whatever their offset table says, up to its end marker.

    Refused is what decoders and pydicom pass over: they make up the rest of a frame, and drop bits without room.
    """
    try:
        table, *fragments = generate_fragments(dataset.PixelData)
    except ValueError as error:
        raise DecodeError("the fragments of its pixel data can't be told apart") from error
    frame, syntax = b"".join(fragments), dataset.file_meta.TransferSyntaxUID
    if table.startswith(_BEGIN):  # there is no table
        frame = table + frame
    if syntax in _DECODERS:
        end = frame.rfind(_END)  # it can't stand inside coded data
        if end < 0:
            raise DecodeError("the codestream is cut off")
        frame = frame[:end + len(_END)]
    if syntax in uid.JPEG2000TransferSyntaxes:
        depth = frame[frame.index(_SOC_SIZ) + _DEPTH]
        if (depth & 0x7F) + 1 > dataset.BitsAllocated:
            raise DecodeError(_DEEPER)
    return frame


def _codestream(frame: bytes, dataset: Dataset) -> tuple[int, int]:
    """Bits a sample and decompositions of one plain tile, from SIZ and COD (ISO/IEC 15444-1 A.5.1 and A.6.1)."""
    start = frame.index(_SOC_SIZ) + 4
    width, height, left, top, tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">8I", frame, start + 4)
    components, depth = struct.unpack_from(">HB", frame, start + 36)
    plain = (left, top, tile_left, tile_top, components) == (0, 0, 0, 0, 1)
    single = tile_width >= width and tile_height >= height
    signed, precision = depth >> 7, (depth & 0x7F) + 1
    if not (plain and single and (height, width) == (dataset.Rows, dataset.Columns)):
        raise ValueError("tiles, offsets or components")
    deepest = dataset.BitsAllocated if dataset.file_meta.TransferSyntaxUID in _DECODERS else dataset.BitsStored
    if signed != int(dataset.PixelRepresentation) or not 8 <= precision <= deepest:
        raise ValueError("another sign or depth")
    place = start + struct.unpack_from(">H", frame, start)[0]
    while (marker := struct.unpack_from(">H", frame, place)[0]) != _COD:
        if marker >> 8 != 0xFF or marker == 0xFF90:  # the first tile begins: there is no COD
            raise ValueError("no COD marker")
        place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    return precision, frame[place + 9]


def _pillow_codes(frame: bytes, levels: int, precision: int, dataset: Dataset) -> np.ndarray:
    """Pillow scales depths between 8 and 16 bits up to 16, and lifts signed values by half their range: both undone."""
    with Image.open(BytesIO(frame)) as image:
        image.reduce = levels
        image.load()
        values = np.asarray(image)
    expected = tuple(-(-side // 2**levels) for side in (dataset.Rows, dataset.Columns))
    if values.shape != expected or values.dtype not in (np.uint8, np.uint16):
        raise ValueError("an unexpected size or type")
    values = (values >> (8 * values.itemsize - precision)).astype(f"u{int(dataset.BitsAllocated) // 8}", copy=False)
    bits = min(int(dataset.BitsStored), precision)
    low = (1 << (precision - 1)) - (1 << (bits - 1)) if dataset.PixelRepresentation else 0
    high, room = low + (1 << bits) - 1, 1 << max(bits - 4, 0)  # a deeper codestream leaves room to overshoot
    if values.min() < low - room or values.max() > high + room:
        raise ValueError("more bits than the header stores")
    values = values.clip(low, high)
    if dataset.PixelRepresentation:
        values = values - np.array(1 << (precision - 1), values.dtype)  # wraps to two's complement
    return values


def _by_imagecodecs(syntax: uid.UID, frame: bytes) -> np.ndarray:
    """One frame; its decoder of HTJ2K only mentions an error, and returns lines that it never wrote."""
    mentioned, hook = [], sys.unraisablehook
    sys.unraisablehook = lambda failure: mentioned.append(failure.exc_value)
    try:
        pixels = np.asarray(_DECODERS[syntax](frame))
    except Exception as error:
        raise DecodeError("".join(filter(str.isprintable, str(error)))[:100]) from error
    finally:
        sys.unraisablehook = hook
    if mentioned:
        raise DecodeError("the codestream is damaged")
    return pixels
