"""imagecodecs as a decoder of pydicom: JPEG Lossless, JPEG-LS and HTJ2K, several times faster than its own.

pydicom loads this module by name and asks for `is_available`, `DECODER_DEPENDENCIES` and the decoding function.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.pixels.decoders.base import DecodeRunner

_DECODERS = {
    uid.JPEGLossless: imagecodecs.jpeg_decode,
    uid.JPEGLosslessSV1: imagecodecs.jpeg_decode,
    uid.JPEGLSLossless: imagecodecs.jpegls_decode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_decode,
    uid.HTJ2KLossless: imagecodecs.htj2k_decode,
    uid.HTJ2KLosslessRPCL: imagecodecs.htj2k_decode,
    uid.HTJ2K: imagecodecs.htj2k_decode,
}
SYNTAXES = tuple(_DECODERS)
DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("imagecodecs",))


def is_available(syntax: str) -> bool:
    """Whether this plugin decodes a transfer syntax."""
    return syntax in _DECODERS


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one frame to little-endian integers of the size that the codestream calls for.

    Raises:
        ValueError: The codestream is damaged, rows or columns aren't those of the header, or the values aren't
            integers of 8 or 16 bits.
    """
    frame = np.asarray(_strictly(_DECODERS[runner.transfer_syntax], source))
    if frame.shape != (runner.rows, runner.columns) or frame.dtype.kind not in "ui" or frame.itemsize > 2:
        raise ValueError("the codestream's size isn't the header's")
    if 8 * frame.itemsize > runner.bits_allocated:
        raise ValueError("the codestream is deeper than the header says")
    runner.set_option("bits_allocated", 8 * frame.itemsize)
    return bytearray(frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes())


def _strictly(decode: Callable[[bytes], np.ndarray], source: bytes) -> np.ndarray:
    """Raise what the decoder of HTJ2K only mentions; it then returns lines that it never wrote."""
    mentioned, hook = [], sys.unraisablehook
    sys.unraisablehook = lambda failure: mentioned.append(type(failure.exc_value).__name__)
    try:
        frame = decode(source)
    finally:
        sys.unraisablehook = hook
    if mentioned:
        raise ValueError("the codestream is damaged")
    return frame
