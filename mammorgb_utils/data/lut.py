"""Lookup tables of DICOM headers: what their descriptors claim is checked against their data and against the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

from mammorgb_utils.data import headers


@dataclass(frozen=True)
class Lut:
    """A modality or VOI LUT: `(N,)` int64 entries of some bits, beginning with that for the value `first`.

    `faults` is what its descriptor claims against its data or the image: `entries`, `bits`, `first value`; `usable`
    tells whether the data can decide then.
    """

    table: np.ndarray
    first: int
    bits: int
    faults: tuple[str, ...]
    usable: bool

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The entries of integer values, or of floats to the nearest; beyond either end, the end's entry."""
        whole = values if values.dtype.kind in "ui" else np.rint(values)
        return self.table[np.clip(whole.astype(np.int64) - self.first, 0, self.table.size - 1)]


def read_lut(item: Dataset, low: int, high: int, *, little: bool = True) -> Lut:
    """One item of a LUT sequence, for an image whose bits can give values from `low` to `high`.

    Source:
        DICOM PS3.3 C.11.1.1: number of entries, of which 65,536 is written as 0, first value mapped, and bits. A LUT
        may begin above the lowest value and end below the highest, or go beyond both, but not be shifted.
    """
    claimed = [int(value) for value in headers.numbers(item, "LUTDescriptor")]
    n, first, bits = claimed if len(claimed) == 3 else (0, 0, 0)
    n = n % 65536 or 65536
    table = _entries(item.get("LUTData"), n, bits, little)
    if not table.size or len(claimed) != 3:
        return Lut(np.zeros(1, np.int64), 0, 16, ("entries",), False)
    faults, depth = [], int(table.max()).bit_length()
    if table.size != n:
        faults.append("entries")
    if not (8 <= bits <= 16 and bits - 1 <= depth <= bits):
        faults.append("bits")
        bits = max(depth, 1)
    if _is_shifted(first, table.size, low, high):
        faults.append("first value")
        signed = first - 65536 if first >= 32768 else first  # of a signed value that was written without its sign
        first = low if _is_shifted(signed, table.size, low, high) else signed
    return Lut(table, first, bits, tuple(faults), table.size >= n and not _is_shifted(first, table.size, low, high))


def modality_values(dataset: Dataset, values: np.ndarray, low: int, high: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Values after the modality LUT or rescale, and a sentence where the LUT's descriptor is wrong."""
    items = headers.items(dataset, "ModalityLUTSequence")
    if items:
        lut = read_lut(items[0], low, high, little=dataset.original_encoding[1] is not False)
        faults = [fault for fault in lut.faults if lut.usable or fault != "bits"]
        wrong = f"its modality LUT contradicts its descriptor ({', '.join(faults)}); "
        note = (wrong + ("its data decide" if lut.usable else "it isn't used"),) if faults else ()
        return (lut(values) if lut.usable else values), note
    # An identity rescale would turn integers into floats, which a VOI LUT can't be indexed by.
    identity = dataset.get("RescaleSlope", 1) in (1, None) and dataset.get("RescaleIntercept", 0) in (0, None)
    return values if identity else apply_modality_lut(values, dataset), ()


def _is_shifted(first: int, size: int, low: int, high: int) -> bool:
    """Whether a LUT leaves values out at one end while it has entries for none beyond the other."""
    last = first + size - 1
    return (first > low and last > high) or (first < low and last < high)


def _entries(data: object, n: int, bits: int, little: bool) -> np.ndarray:
    """LUT Data as integers: words, or bytes where there are as many of them as entries of at most 8 bits."""
    if isinstance(data, (bytes, bytearray)):
        if bits <= 8 and len(data) in (n, n + n % 2):
            return np.frombuffer(data, np.uint8)[:n].astype(np.int64)
        return np.frombuffer(data[:len(data) // 2 * 2], "<u2" if little else ">u2").astype(np.int64)
    numbers = data if hasattr(data, "__iter__") else [data]
    return np.array([value for value in numbers if isinstance(value, int)], np.int64) & 0xFFFF
