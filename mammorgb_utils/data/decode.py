"""Decoding pixel data: the fastest kept decoder for each transfer syntax, and JPEG 2000 at a lower resolution.

imagecodecs decodes JPEG Lossless, JPEG-LS and HTJ2K several times faster than pydicom's own decoders: this module is
their plugin too, which pydicom asks for `is_available`, `DECODER_DEPENDENCIES` and `decode_frame`.
"""

from __future__ import annotations

import logging
import struct
import sys
from collections.abc import Callable
from io import BytesIO

import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, pixel_array
from pydicom.pixels.decoders.base import DecodeRunner

_DECODERS = {
    **dict.fromkeys((uid.JPEGLossless, uid.JPEGLosslessSV1), imagecodecs.jpeg_decode),
    **dict.fromkeys((uid.JPEGLSLossless, uid.JPEGLSNearLossless), imagecodecs.jpegls_decode),
    **dict.fromkeys((uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K), imagecodecs.htj2k_decode)}
DECODER_DEPENDENCIES = dict.fromkeys(_DECODERS, ("imagecodecs",))
# In the order in which they are tried. gdcm decodes no more, and ends the process at damaged JPEG.
_PLUGINS = ("imagecodecs", "pylibjpeg", "pillow")
_SOC_SIZ, _COD = b"\xff\x4f\xff\x51", 0xFF52
_END, _DEPTH = b"\xff\xd9", 42  # bytes from SOC to the depth of the first component
_FILLED_UP = (*uid.JPEGTransferSyntaxes, *_DECODERS)
_DEEPER = "the codestream is deeper than the header says"

# Warnings quote header values, and would carry them into logs and notebooks.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
for _name in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class MissingDecoder(RuntimeError):
    """No installed package decodes a transfer syntax; the message names what to install."""


def stored_codes(dataset: Dataset) -> np.ndarray:
    """One frame at full resolution: `(H, W)` uint8 or uint16 bit patterns, signed values as two's complement.

    Raises:
        MissingDecoder: Nothing installed decodes the transfer syntax.
        ValueError: The pixels aren't one frame of 8 or 16 bits.
    """
    if int(dataset.BitsAllocated) not in (8, 16):
        raise ValueError("the pixels aren't of 8 to 16 bits")
    if int(dataset.get("HighBit", dataset.BitsStored - 1)) != int(dataset.BitsStored) - 1:
        raise ValueError("the bits aren't at the low end, a layout that DICOM has retired")
    stored = _decoded(dataset)
    if stored.ndim != 2 or stored.dtype.kind not in "ui" or stored.dtype.itemsize > 2:
        raise ValueError("the pixels aren't one frame of 8 or 16 bits")
    allocated = np.dtype(f"u{int(dataset.BitsAllocated) // 8}")
    if stored.itemsize > allocated.itemsize:
        raise ValueError(_DEEPER)
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)  # big-endian files
    return stored.view(allocated) if stored.itemsize == allocated.itemsize else stored.astype(allocated)


def reduced_codes(dataset: Dataset, levels: int) -> tuple[np.ndarray, int] | None:
    """Decode a JPEG 2000 or HTJ2K frame with up to `levels` resolution levels left out, each of which halves the sides.

    Returns:
        `(h, w)` codes as `stored_codes` and the levels left out; None where a full decode is needed: another
        syntax, no such level, an offset grid, tiles, several components, or a sign that isn't the header's.
    """
    if dataset.file_meta.TransferSyntaxUID not in uid.JPEG2000TransferSyntaxes:
        return None
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    try:
        precision, available = _codestream(frame, dataset)
        levels = min(levels, available)
        return (_pillow_codes(frame, levels, precision, dataset), levels) if levels > 0 else None
    except (ValueError, struct.error, OSError, Image.DecompressionBombError):
        return None


def _decoded(dataset: Dataset) -> np.ndarray:
    """What the first decoder that succeeds gives; the last one's error stands."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return np.asarray(pixel_array(dataset))
    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:
        raise MissingDecoder("its transfer syntax is none that can be decoded here; convert it, for instance with "
                             "gdcmconv --raw") from None
    if not available:
        packages = "; or ".join(get_decoder(syntax).missing_dependencies)
        raise MissingDecoder(f"nothing installed decodes {syntax.name}; install {packages}")
    _check_frame(dataset)
    chosen = [name for name in _PLUGINS if name in available] or [""]
    if syntax in uid.JPEGLSTransferSyntaxes:
        chosen = chosen[:1]  # the second one makes up what is missing
    for plugin in chosen:
        try:
            return np.asarray(pixel_array(dataset, decoding_plugin=plugin))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a decoder in Rust panics with none of Python's exceptions
            failure = error if isinstance(error, Exception) else ValueError("its decoder gave up")
    raise failure


def _check_frame(dataset: Dataset) -> None:
    """Refuse what decoders and pydicom pass over: they make up the rest of a frame, and drop bits without room."""
    syntax, frame = dataset.file_meta.TransferSyntaxUID, next(generate_frames(dataset.PixelData, number_of_frames=1))
    if syntax in _FILLED_UP and _END not in frame[-1024:]:  # it can't stand inside coded data
        raise ValueError("the codestream is cut off")
    if syntax in uid.JPEG2000TransferSyntaxes:
        depth = frame[frame.index(_SOC_SIZ) + _DEPTH]
        if (depth & 0x7F) + 1 > dataset.BitsAllocated:
            raise ValueError(_DEEPER)


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
    if signed != int(dataset.PixelRepresentation) or not 8 <= precision <= dataset.BitsAllocated:
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
    values = values.clip(low, low + (1 << bits) - 1)  # a deeper codestream leaves room to overshoot
    if dataset.PixelRepresentation:
        values = values - np.array(1 << (precision - 1), values.dtype)  # wraps to two's complement
    return values


def is_available(syntax: str) -> bool:
    """Whether imagecodecs decodes a transfer syntax."""
    return syntax in _DECODERS


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """One frame by imagecodecs, as little-endian integers of the size that the codestream calls for."""
    frame = np.asarray(_strictly(_DECODERS[runner.transfer_syntax], source))
    if frame.shape != (runner.rows, runner.columns) or frame.dtype.kind not in "ui" or frame.itemsize > 2:
        raise ValueError("the codestream's size isn't the header's")
    if 8 * frame.itemsize > runner.bits_allocated:
        raise ValueError(_DEEPER)
    runner.set_option("bits_allocated", 8 * frame.itemsize)
    return bytearray(frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes())


def _strictly(decode: Callable[[bytes], np.ndarray], source: bytes) -> np.ndarray:
    """Raise what the decoder of HTJ2K only mentions; it then returns lines that it never wrote."""
    mentioned, hook = [], sys.unraisablehook
    sys.unraisablehook = lambda failure: mentioned.append(True)
    try:
        frame = decode(source)
    finally:
        sys.unraisablehook = hook
    if mentioned:
        raise ValueError("the codestream is damaged")
    return frame


for _syntax in _DECODERS:
    if "imagecodecs" not in get_decoder(_syntax).available_plugins:
        get_decoder(_syntax).add_plugin("imagecodecs", (__name__, "decode_frame"))
