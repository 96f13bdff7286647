"""Damage to DICOM files, in the header or in the pixel data, the same for the same seed."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import uid
from pydicom.filereader import data_element_generator

LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")  # their length has four bytes
ABSURD_WORDS = (0, 1, 7, 0x7FFF, 0x8000, 0xFFFF)
ABSURD_LENGTHS = (0, 1, 3, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
ABSURD_TEXTS = (b"", b"0", b"-1", b"nan", b"1e400", b"-99999999999999999999", b"\\\\\\", b"\xff\xfe\x00", b"\x1b$)C",
                b"1.2.840.10008.1.2.4.90", b"9" * 40, b"MONOCHROME1", b"FOR PROCESSING", b"A" * 300)
_PIXELS = 0x7FE00010
Damage = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Element:
    """Where an element begins, its value begins and it ends [bytes]; `wide` tells of a length field of four bytes."""

    start: int
    value: int
    end: int
    vr: str
    wide: bool


@dataclass(frozen=True)
class Anatomy:
    """A file as header and pixel data; a deflated data set is inflated."""

    meta: bytes
    data: bytes
    elements: tuple[Element, ...]
    pixels: int
    little: bool
    deflated: bool


def anatomy(content: bytes) -> Anatomy:
    """Take a whole DICOM file apart.

    Raises:
        ValueError: It holds no pixel data.
    """
    stream = BytesIO(content)
    stream.seek(132)
    syntax = ""
    for element in data_element_generator(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2):
        if element.tag == 0x00020010:
            syntax = uid.UID(element.value.rstrip(b"\0").decode())
    end = stream.tell()
    deflated = syntax == uid.DeflatedExplicitVRLittleEndian
    data = zlib.decompress(content[end:], -zlib.MAX_WBITS) if deflated else content[end:]
    elements = _elements(data, syntax)
    if elements[-1].end >= len(data):
        raise ValueError("no pixel data")
    long = not syntax.is_implicit_VR
    return Anatomy(content[:end], data, elements, elements[-1].end + (12 if long else 8), syntax.is_little_endian,
                   deflated)


def mutated(content: bytes, part: str, kind: str, seed: int) -> bytes:
    """One damaged copy.

    Args:
        content: A whole file with pixel data.
        part: `"header"` or `"codestream"`; a deflated file's codestream is the deflated data set.
        kind: A name in `KINDS[part]`.
        seed: Decides where and how; the same for two bases hits about the same place.
    """
    body, rng = anatomy(content), np.random.default_rng([seed, *kind.encode()])
    if part == "codestream":
        split = len(body.meta) + (0 if body.deflated else body.pixels)
        return content[:split] + KINDS[part][kind](content[split:], rng)
    if kind in ELEMENT_KINDS:
        return _packed(body, ELEMENT_KINDS[kind](body, rng))
    # The preamble carries nothing that could be damaged.
    whole = body.meta[128:] + body.data[:body.pixels]
    whole = body.meta[:128] + BYTE_KINDS[kind](whole, rng)
    split = min(len(body.meta), len(whole))
    body = Anatomy(whole[:split], body.data, body.elements, body.pixels, body.little, body.deflated)
    return _packed(body, whole[split:] + (b"" if kind == "truncated" else body.data[body.pixels:]))


def _elements(data: bytes, syntax: uid.UID) -> tuple[Element, ...]:
    """The data set's own elements up to the pixel data."""
    stream, found, start = BytesIO(data), [], 0
    for element in data_element_generator(stream, syntax.is_implicit_VR, syntax.is_little_endian,
                                          stop_when=lambda tag, vr, length: tag == _PIXELS):
        vr = element.VR or "UN"
        wide = syntax.is_implicit_VR or vr in LONG
        head = 8 if syntax.is_implicit_VR or vr not in LONG else 12
        found.append(Element(start, start + head, stream.tell(), vr, wide))
        start = stream.tell()
    return tuple(found)


def _packed(body: Anatomy, data: bytes) -> bytes:
    if not body.deflated:
        return body.meta + data
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return body.meta + deflate.compress(data) + deflate.flush()


def _bit_flips(data: bytes, rng: np.random.Generator) -> bytes:
    values = np.frombuffer(data, np.uint8).copy()
    for _ in range(rng.integers(1, 9)):
        values[rng.integers(values.size)] ^= 1 << rng.integers(8)
    return values.tobytes()


def _bytes_replaced(data: bytes, rng: np.random.Generator) -> bytes:
    start, length = rng.integers(len(data)), int(2 ** rng.uniform(0, 6))
    run = (bytes(length), b"\xff" * length, rng.bytes(length))[rng.integers(3)]
    return (data[:start] + run + data[start + length:])[:len(data)]


def _truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[:rng.integers(len(data))]


def _block_deleted(data: bytes, rng: np.random.Generator) -> bytes:
    start = rng.integers(len(data))
    return data[:start] + data[start + rng.integers(1, 513):]


def _block_repeated(data: bytes, rng: np.random.Generator) -> bytes:
    start = rng.integers(len(data))
    end = start + rng.integers(1, 513)
    return data[:end] + data[start:end] * int(rng.integers(1, 4)) + data[end:]


def _item_length(data: bytes, rng: np.random.Generator) -> bytes:
    """An absurd length for a fragment of encapsulated pixel data; elsewhere, four bytes of pixels change."""
    places = [place for place in _places(data, b"\xfe\xff\x00\xe0") if place + 8 <= len(data)] or [0]
    place = places[rng.integers(len(places))] + 4
    return data[:place] + struct.pack("<I", ABSURD_LENGTHS[rng.integers(6)]) + data[place + 4:]


def _marker_field(data: bytes, rng: np.random.Generator) -> bytes:
    """A field behind one of a codestream's first markers: sizes, depths, components, tables, levels."""
    markers = [place for place in _places(data[:1024], b"\xff") if data[place + 1:place + 2] > b"\x4e"] or [0]
    place = markers[rng.integers(len(markers))] + 2 + rng.integers(24)
    value = (0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256)))[rng.integers(6)]
    return (data[:place] + bytes([value]) + data[place + 1:])[:len(data)]


def _places(data: bytes, pattern: bytes) -> list[int]:
    found, place = [], data.find(pattern)
    while place >= 0 and len(found) < 64:
        found.append(place)
        place = data.find(pattern, place + 1)
    return found


def _length_changed(body: Anatomy, rng: np.random.Generator) -> bytes:
    """An absurd length for one element, or for the pixel data."""
    size = 2 if rng.random() < 0.8 else 4
    at = body.pixels
    if rng.random() < 0.9:
        element = body.elements[rng.integers(len(body.elements))]
        at, size = element.value, 4 if element.wide else 2
    length = ABSURD_LENGTHS[rng.integers(6)] & (256**size - 1)
    return body.data[:at - size] + _number(length, size, body.little) + body.data[at:]


def _value_absurd(body: Anatomy, rng: np.random.Generator) -> bytes:
    """A value that no mammogram has, with a length that fits it."""
    element = body.elements[rng.integers(len(body.elements))]
    if element.vr in ("US", "SS") or (element.vr == "UN" and element.end - element.value == 2):
        value = _number(ABSURD_WORDS[rng.integers(len(ABSURD_WORDS))], 2, body.little)
    else:
        value = ABSURD_TEXTS[rng.integers(len(ABSURD_TEXTS))]
        value += b" " * (len(value) % 2)
    size = 4 if element.wide else 2
    return (body.data[:element.value - size] + _number(len(value), size, body.little) + value
            + body.data[element.end:])


def _tag_removed(body: Anatomy, rng: np.random.Generator) -> bytes:
    element = body.elements[rng.integers(len(body.elements))]
    return body.data[:element.start] + body.data[element.end:]


def _number(value: int, size: int, little: bool) -> bytes:
    return value.to_bytes(size, "little" if little else "big")


BYTE_KINDS: dict[str, Damage] = {
    "bit_flips": _bit_flips, "bytes_replaced": _bytes_replaced, "truncated": _truncated,
    "block_deleted": _block_deleted, "block_repeated": _block_repeated}
ELEMENT_KINDS: dict[str, Callable[[Anatomy, np.random.Generator], bytes]] = {
    "length_changed": _length_changed, "value_absurd": _value_absurd, "tag_removed": _tag_removed}
KINDS = {"header": BYTE_KINDS | ELEMENT_KINDS,
         "codestream": BYTE_KINDS | {"item_length": _item_length, "marker_field": _marker_field}}
