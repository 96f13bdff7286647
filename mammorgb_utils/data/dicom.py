"""Reading mammograms from DICOM: facts about one file, or a reason why it isn't used."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from mammorgb_utils.data import headers, kinds
from mammorgb_utils.data.decode import DecodeError, MissingDecoder, reduced_codes, stored_codes
from mammorgb_utils.data.geometry import area_resize, area_resize_subsampled
from mammorgb_utils.data.grey_scale import GreyScale, grey_scale
from mammorgb_utils.data.orientation import chest_wall_by_tags, orientation_of, upright

_NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
_SMALLEST = 16  # px: less is no image
_HUGE = 2**28  # bytes: tomosynthesis; its header is looked at before it is read
_LONGEST = 8  # times the shorter side
_LARGEST = 2**27  # px: a mammogram has 2^24, and a damaged header may claim any size


class RejectedImage(Exception):
    """A file that the study doesn't use: its `path` for the terminal only, never for a log or table, a `code` such as
    `unreadable` for tables, and as `reason` one sentence without any identifier.
    """

    def __init__(self, path: Path, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.path, self.code, self.reason = path, code, reason

    def __reduce__(self):
        return RejectedImage, (self.path, self.code, self.reason)


@contextmanager
def one_file(path: Path) -> Iterator[None]:
    """Let errors of one file's content, which would name its path, reject that file and not end the work on all."""
    try:
        yield
    except (ValueError, ArithmeticError, IndexError, OSError) as error:
        raise RejectedImage(path, "unreadable", f"the image can't be worked on ({type(error).__name__})") from error


@dataclass(frozen=True)
class Mammogram:
    """One mammogram as recorded: no matching, nothing removed, and turned only where `orientation.upright` says so.

    Attributes:
        pixels: `(H, W)` float32 in [0, 1] after modality LUT, one VOI transform and one inversion: low is air.
        laterality, view, implant: `"L"` or `"R"`, `"CC"` or `"MLO"`, a bool; None where the header doesn't say.
        spacing_mm: Row and column spacing of `pixels`, None where the header gives none.
        photometric, inverted: Photometric Interpretation as stored, and whether the grey scale was turned over.
        voi: `"lut"`, `"window"`, `"sigmoid"`, `"none"`, or `"log"` for detector values.
        conflicts: Sentences about tags that contradict each other, are odd, or tell of burnt-in text.
        voi_choices: VOI LUTs and windows that the header offers; one is used.
        chest_wall_by_tags: `"left"` or `"right"`, None where no tag tells.
        scanner, transfer_syntax, bits: Maker and model in known words, the syntax's name, and bits stored.
    """

    pixels: np.ndarray
    laterality: str | None
    view: str | None
    implant: bool | None
    spacing_mm: tuple[float, float] | None
    photometric: str
    inverted: bool
    voi: str
    conflicts: tuple[str, ...] = ()
    voi_choices: int = 0
    chest_wall_by_tags: str | None = None
    scanner: str = ""
    transfer_syntax: str = ""
    bits: int = 0

    def header_facts(self) -> dict[str, str | int]:
        """What the header told, for a table: text is empty where it didn't."""
        same = ("voi", "voi_choices", "photometric", "bits", "transfer_syntax", "scanner")
        return {"header_laterality": self.laterality or "", "header_view": self.view or "",
                "chest_wall_by_tags": self.chest_wall_by_tags or "", **{name: getattr(self, name) for name in same}}


def read_mammogram(path: str | Path, *, min_side: int | None = None,
                   for_processing: Literal["reject", "convert"] = "reject") -> Mammogram:
    """Read one DICOM file.

    Args:
        path: A DICOM file with one mammogram.
        min_side: Allows block averaging that leaves the shorter side at least this long [px]; JPEG 2000 is then
            decoded at a lower resolution where that shows the same.
        for_processing: What becomes of detector values: rejected, or shown by their logarithm.

    Raises:
        RejectedImage: The file can't be read, or isn't one plain CC or MLO view, or shows an implant. Codes:
            unreadable, missing_decoder, for_processing, other_view, implant, and those of `kinds.rejection`.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # they quote header values
            if path.stat().st_size > _HUGE and (problem := kinds.rejection(headers.read_header(path))):
                raise RejectedImage(path, *problem)
            dataset = headers.read_dataset(path)
            if problem := _rejection(dataset, for_processing):
                raise RejectedImage(path, *problem)
            pixels, grey = _shown(dataset, min_side)
            return _mammogram(dataset, pixels, grey)
    except MissingDecoder as error:
        raise RejectedImage(path, "missing_decoder", str(error)) from error
    except InvalidDicomError as error:
        raise RejectedImage(path, "unreadable", "it begins like no DICOM file") from error
    except DecodeError as error:
        raise RejectedImage(path, "unreadable", f"the file can't be decoded ({error})") from error
    except headers.READ_ERRORS as error:
        raise RejectedImage(path, "unreadable", f"the file can't be decoded ({type(error).__name__})") from error


def _rejection(dataset: Dataset, for_processing: str) -> tuple[str, str] | None:
    if "SOPClassUID" not in dataset and "Modality" not in dataset:
        return "unreadable", "it holds neither SOP class nor modality, so it is no DICOM image"
    if problem := kinds.rejection(dataset):
        return problem
    if headers.is_for_processing(dataset) and for_processing == "reject":
        return "for_processing", "it holds detector values meant for processing, not for display"
    if headers.view_of(dataset)[0] == "other":
        return "other_view", "its view is neither CC nor MLO"
    if headers.laterality_of(dataset)[0] == "both":
        return "other_view", "it shows both breasts"
    if headers.implant_of(dataset):
        return "implant", "its header tells of an implant"
    return _without_pixels(dataset)


def _without_pixels(dataset: Dataset) -> tuple[str, str] | None:
    """Why a file holds no pixels that could be decoded."""
    if "PixelData" not in dataset:
        return "unreadable", "it holds no pixel data"
    if dataset["PixelData"].is_undefined_length and not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return "unreadable", "its pixels are compressed, and no transfer syntax tells how"
    if untold := [name for name in _NEEDED if name not in dataset]:
        return "unreadable", f"its header tells no number for {', '.join(untold)}"
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    short, long = sorted((rows, columns))
    if short < _SMALLEST or short * long > _LARGEST or long > _LONGEST * short:
        return "unreadable", f"its header states {rows} × {columns} pixels, which no mammogram has"
    return None


def _shown(dataset: Dataset, min_side: int | None) -> tuple[np.ndarray, GreyScale]:
    """Displayed grey at full size, or averaged to a whole fraction of it."""
    full, log = (int(dataset.Rows), int(dataset.Columns)), headers.is_for_processing(dataset)
    factor = max(1, min(full) // min_side) if min_side else 1
    shape, levels = (full[0] // factor, full[1] // factor), factor.bit_length() - 1
    if levels and grey_scale(dataset, None, log=log).averages and (reduced := reduced_codes(dataset, levels)):
        codes, levels = reduced
        grey = grey_scale(dataset, codes, log=log)
        return np.clip(area_resize_subsampled(grey.table[codes], levels, full, shape), 0.0, 1.0), grey
    codes = stored_codes(dataset)
    grey = grey_scale(dataset, codes, log=log)
    pixels = grey.table[codes]
    return np.clip(area_resize(pixels, shape), 0.0, 1.0) if factor > 1 else pixels, grey


def _mammogram(dataset: Dataset, pixels: np.ndarray, grey: GreyScale) -> Mammogram:
    (view, view_conflict), (side, side_conflict) = headers.view_of(dataset), headers.laterality_of(dataset)
    chest_wall, wall_conflict = chest_wall_by_tags(dataset)
    stored, spacing = orientation_of(dataset), _spacing(dataset, pixels.shape)
    hung, turn = upright(pixels, stored)
    if hung is not pixels and stored.lying and spacing:
        spacing = spacing[::-1]
    conflicts = (*grey.conflicts, *view_conflict, *side_conflict, *wall_conflict, *turn, *headers.warnings_of(dataset),
                 *kinds.doubts(dataset))
    return Mammogram(hung, side, view, headers.implant_of(dataset), spacing, headers.photometric_of(dataset),
                     grey.inverted, grey.voi, conflicts, grey.choices, chest_wall, headers.scanner_of(dataset),
                     dataset.file_meta.TransferSyntaxUID.name, int(dataset.BitsStored))


def _spacing(dataset: Dataset, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Spacing of the averaged pixels [mm]."""
    value = dataset.get("ImagerPixelSpacing") or dataset.get("PixelSpacing")
    if not hasattr(value, "__len__") or len(value) != 2:
        return None
    return float(value[0]) * int(dataset.Rows) / shape[0], float(value[1]) * int(dataset.Columns) / shape[1]
