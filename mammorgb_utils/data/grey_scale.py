"""From stored codes to displayed grey: modality LUT, one VOI transform, one inversion, padding, as one table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut

from mammorgb_utils.data import geometry, headers
from mammorgb_utils.data.lut import modality_values, read_lut

_FRAME = 0.02  # of each side: the strip along the image's edge in which air is looked for


@dataclass(frozen=True)
class GreyScale:
    """How an image's stored codes are shown.

    Attributes:
        table: `(256,)` or `(65536,)` float32 in [0, 1], the shown grey of each bit pattern; low is air.
        voi: `"lut"`, `"window"`, `"sigmoid"`, `"log"` (For Processing) or `"none"`.
        choices: VOI LUTs and windows that the header offers; the first LUT, else the first window is used.
        inverted: Whether the grey scale was turned over.
        averages: Whether averaging codes before the table shows the same as averaging greys after it.
        conflicts: Sentences about tags that contradict each other.
    """

    table: np.ndarray
    voi: str
    choices: int
    inverted: bool
    averages: bool
    conflicts: tuple[str, ...]


def grey_scale(dataset: Dataset, codes: np.ndarray | None, *, log: bool = False) -> GreyScale:
    """The table for one image.

    Args:
        dataset: The image's header.
        codes: `(H, W)` uint8 or uint16 bit patterns as stored; None asks for `averages` before anything is decoded.
        log: Treat codes as detector values For Processing: logarithm, then the sense that the header states.

    Source:
        DICOM PS3.3 C.11.1/C.11.2 (modality and VOI LUT): windows and VOI LUTs are alternatives, inversion comes last.
    """
    size = 256 if int(dataset.BitsAllocated) <= 8 else 65536
    padding = _padding(dataset, size)
    bits, above = _counted_bits(dataset, codes, padding)
    numbers = _numbers(size, bits, bool(dataset.PixelRepresentation))
    values, modality_note = modality_values(dataset, numbers, *_ends(numbers))
    if log:
        display = _scaled if dataset.get("PixelIntensityRelationship") == "LOG" else _log_shown
        shown, voi, choices, note = display(*_recorded(values, codes, padding)), "log", 0, ()
    else:
        shown, voi, choices, note = _voi_shown(dataset, values, codes, padding)
    inverted, conflict = _inversion(dataset, log)
    if inverted is None:
        air = None if codes is None else air_is_bright(shown[codes[geometry.inner(padding[codes])]])  # within padding
        inverted = air if air is not None else headers.photometric_of(dataset) == "MONOCHROME1"
    grey = 1 - shown if inverted else shown
    table = np.where(padding, np.float32(0), grey).astype(np.float32)
    if not np.isfinite(table).all():
        raise ValueError("its window or rescale isn't finite")
    # Without a window, the range is that of all pixels at full size.
    averages = voi not in ("log", "none") and bool((np.abs(grey[padding]) < 0.02).all()) and _is_gentle(dataset, shown)
    return GreyScale(table, voi, choices, inverted, averages, (*above, *modality_note, *note, *conflict))


def air_is_bright(pixels: np.ndarray) -> bool | None:
    """Whether air, the fullest grey level along the edge of `(H, W)` floats in [0, 1], is brighter than their mean.

    None where no level fills a third of the edge, so that none can be called air.
    """
    rows, columns = (max(1, round(_FRAME * n)) for n in pixels.shape)
    strips = pixels[:rows], pixels[-rows:], pixels[:, :columns], pixels[:, -columns:]
    counts, edges = np.histogram(np.concatenate([strip.ravel() for strip in strips]), bins=32, range=(0.0, 1.0))
    fullest = int(np.argmax(counts))
    return bool(edges[fullest] + 1 / 64 > pixels.mean()) if 3 * counts[fullest] >= counts.sum() else None


def _counted_bits(dataset: Dataset, codes: np.ndarray | None, padding: np.ndarray) -> tuple[int, tuple[str, ...]]:
    """How many low bits of a word are its value, and what was wrong.

    Bits Stored decides, unless more are in use and the image is smoother with them. Old files carry overlays above
    Bits Stored, which leave jumps where they count; others understate it, and the image without its upper bits jumps.
    """
    bits, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    whole, counted = (_numbers(padding.size, n, signed) for n in (padding.size.bit_length() - 1, bits))
    if codes is None or not (outside := (whole != counted) & ~padding).any():
        return bits, ()
    numbers = codes.view(whole.dtype)
    if counted.min() <= numbers.min() and numbers.max() <= counted.max() or not outside[codes].any():
        return bits, ()
    padded = padding[codes]
    inner = ~(padded[:, 1:] | padded[:, :-1])
    jumps = [np.abs(np.diff(reading[codes].astype(np.int32), axis=1))[inner].sum() for reading in (whole, counted)]
    if jumps[1] <= jumps[0]:
        return bits, ("bits above Bits Stored are set, as by an overlay; they don't count",)
    used = numbers[~padded].astype(np.int32)
    depth = int(np.where(used < 0, ~used, used).max()).bit_length() + signed
    return depth, (f"its pixels have {depth} bits, and its header states {bits}; all count",)


def _numbers(size: int, bits: int, signed: bool) -> np.ndarray:
    """`(size,)` integer that the low bits of every bit pattern stand for."""
    patterns = np.arange(size, dtype=np.uint8 if size == 256 else np.uint16)
    unused = 8 * patterns.itemsize - bits
    patterns <<= unused
    return (patterns.view(f"i{patterns.itemsize}") if signed else patterns) >> unused


def _ends(values: np.ndarray) -> tuple[int, int]:
    """The lowest and highest of the values that a pixel can have."""
    return int(np.floor(values.min())), int(np.ceil(values.max()))


def _recorded(values: np.ndarray, codes: np.ndarray | None, padding: np.ndarray) -> tuple[np.ndarray, float, float]:
    """`values` with the lowest and highest that the image holds outside its padding."""
    found = ~padding if codes is None else ~padding & (np.bincount(codes.ravel(), minlength=values.size) > 0)
    recorded = values[found] if found.any() else values
    return values, float(recorded.min()), float(recorded.max())


def _voi_shown(dataset: Dataset, values: np.ndarray, codes: np.ndarray | None,
               padding: np.ndarray) -> tuple[np.ndarray, str, int, tuple[str, ...]]:
    """`(size,)` float32 in [0, 1] by one VOI alternative, its kind, the number of alternatives, and what was wrong."""
    luts, windows = headers.items(dataset, "VOILUTSequence"), len(headers.values(dataset, "WindowCenter"))
    choices, sound, note = len(luts) + windows, bool(windows) and _has_width(dataset), ()
    if luts:
        lut = read_lut(luts[0], *_ends(values), little=dataset.original_encoding[1] is not False)
        if lut.usable and not (lut.faults and sound):
            note = (f"its VOI LUT contradicts its descriptor ({', '.join(lut.faults)}); its data decide",)
            return _scaled(lut(values), 0.0, 2.0**lut.bits - 1), "lut", choices, note if lut.faults else ()
        shown_by = "its window is used" if sound else "the stored range is shown"
        note = (f"its VOI LUT contradicts its descriptor ({', '.join(lut.faults)}); {shown_by}",)
    if sound:
        return *_windowed(dataset, values), choices, note
    note = note or (("its window has no width, so the stored range is shown",) if windows else ())
    return _scaled(*_recorded(values, codes, padding)), "none", choices, note


def _log_shown(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Detector values are linear in what reaches the detector; tissue's thickness and density go with the logarithm."""
    exposure = np.log(np.maximum(values.astype(np.float64) - low + 1.0, 1.0))
    return _scaled(exposure, 0.0, float(np.log(high - low + 1.0)))


def _scaled(shown: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled = (shown.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6))
    return np.clip(scaled, 0.0, 1.0)


def _windowed(dataset: Dataset, values: np.ndarray) -> tuple[np.ndarray, str]:
    """`(size,)` float32 in [0, 1] by the first window, and its kind."""
    asked = Dataset()
    for name in ("BitsStored", "PixelRepresentation", "PhotometricInterpretation", "WindowCenter", "WindowWidth"):
        setattr(asked, name, dataset[name].value)
    asked.VOILUTFunction = _function(dataset)
    # Without the rescale, which is done already: a falling slope would turn pydicom's output range upside down.
    shown = apply_voi_lut(values, asked, index=0, prefer_lut=False)
    span = 2.0 ** int(asked.BitsStored)
    floor = -span / 2 if asked.PixelRepresentation else 0.0
    return _scaled(shown, floor, floor + span - 1), "sigmoid" if asked.VOILUTFunction == "SIGMOID" else "window"


def _function(dataset: Dataset) -> str:
    """VOI LUT Function; LINEAR where it is absent or none that the standard knows."""
    function = headers.text(dataset, "VOILUTFunction").upper()
    return function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"


def _has_width(dataset: Dataset) -> bool:
    width = float((headers.values(dataset, "WindowWidth") or (0,))[0])
    return width >= 1 if _function(dataset) == "LINEAR" else width > 0


def _inversion(dataset: Dataset, log: bool) -> tuple[bool | None, tuple[str, ...]]:
    """MONOCHROME1 and Presentation LUT Shape INVERSE state one and the same inversion; None: they disagree.

    For Processing, the sense is Pixel Intensity Relationship Sign: 1 says that high values are a strong beam, air.
    """
    if log:
        return {1: True, -1: False}.get(dataset.get("PixelIntensityRelationshipSign")), ()
    photometric, shape = headers.photometric_of(dataset), dataset.get("PresentationLUTShape")
    expected = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    if shape in ("INVERSE", "IDENTITY") and shape != expected:
        return None, (f"{photometric} with Presentation LUT Shape {shape}; the air decides",)
    return photometric == "MONOCHROME1", ()


def _padding(dataset: Dataset, size: int) -> np.ndarray:
    """`(size,)` bool of the bit patterns that carry no signal: they become air, whatever the window made of them."""
    padding = np.zeros(size, bool)
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value is not None:
        low, high = sorted((int(value), int(value if limit is None else limit)))
        # A value that the pixels can't have pads nothing.
        padding[np.arange(max(low, -(size // 2)), min(high, size - 1) + 1) % size] = True
    return padding


def _is_gentle(dataset: Dataset, shown: np.ndarray) -> bool:
    """Whether the display rises nowhere more than four times as steeply as over the whole stored range.

    The mean of a steep or clipped display isn't the display of the mean: noise of 1 % of the range stays below
    a grey level of 255 at this slope.
    """
    size = min(2 ** int(dataset.BitsStored), shown.size)
    stored = np.arange(size) - (size // 2 if dataset.PixelRepresentation else 0)
    return float(np.abs(np.diff(shown[stored])).max()) * size <= 4.0
