"""Reading mammograms from DICOM: facts about one file, or a reason why it isn't used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from mammorgb_utils.data.geometry import area_resize

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
VIEW_CODES = {"R-10242": "CC", "399162004": "CC", "R-10226": "MLO", "399368009": "MLO"}
# What pydicom, its decoders and numpy raise on damaged headers and pixel data.
READ_ERRORS = (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError,
               OverflowError, MemoryError, pydicom.errors.InvalidDicomError)


class RejectedImage(Exception):
    """A file that the study doesn't use.

    Attributes:
        path: The file; for the terminal only, never for a log or table.
        code: One word for tables, such as `unreadable`.
        reason: One sentence without any identifier.
    """

    def __init__(self, path: Path, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.path, self.code, self.reason = path, code, reason

    def __reduce__(self):
        return RejectedImage, (self.path, self.code, self.reason)


@dataclass(frozen=True)
class Mammogram:
    """One mammogram as recorded: no flip, no matching, nothing removed.

    Attributes:
        pixels: `(H, W)` float32 in [0, 1] after modality LUT, one VOI transform and one inversion: low is air.
        laterality: `"L"`, `"R"`, or None where the header doesn't say.
        view: `"CC"`, `"MLO"`, or None where the header doesn't say.
        implant: BreastImplantPresent, None where absent.
        spacing_mm: Row and column spacing of `pixels`, None where the header gives none.
        photometric: PhotometricInterpretation as stored.
        inverted: Whether the grey scale was turned over.
        voi: `"lut"`, `"window"`, `"sigmoid"` or `"none"`.
        conflicts: Sentences about tags that contradict each other.
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


def read_mammogram(path: str | Path, *, min_side: int | None = None) -> Mammogram:
    """Read one DICOM file.

    Args:
        path: A DICOM file with one mammogram, For Presentation.
        min_side: Allows block averaging that leaves the shorter side at least this long [px].

    Raises:
        RejectedImage: The file can't be read, or isn't a single-frame presentation mammogram.

    Source:
        DICOM PS3.3 C.8.11.7 (mammography image), C.11.1/C.11.2 (modality and VOI LUT): windows and VOI LUTs
        are alternatives, inversion comes last.
    """
    path = Path(path)
    try:
        dataset = pydicom.dcmread(path)
        _reject_other_kinds(dataset, path)
        stored = np.asarray(dataset.pixel_array)
        if stored.ndim != 2 or min(stored.shape) < 16:
            raise RejectedImage(path, "not_single_frame", f"the pixel data has shape {stored.shape}")
        pixels, voi = _display_values(stored, dataset)
        inverted, conflict = _inversion(dataset)
        pixels = _without_padding(1.0 - pixels if inverted else pixels, stored, dataset)
        spacing = _spacing(dataset)
        facts = _laterality(dataset), _view(dataset), _implant(dataset)
    except READ_ERRORS as error:
        raise RejectedImage(path, "unreadable", f"the file can't be decoded ({type(error).__name__})") from error
    if min_side and (factor := min(pixels.shape) // min_side) > 1:
        full = pixels.shape
        pixels = area_resize(pixels, (full[0] // factor, full[1] // factor))
        spacing = spacing and (spacing[0] * full[0] / pixels.shape[0], spacing[1] * full[1] / pixels.shape[1])
    return Mammogram(pixels, *facts, spacing, str(dataset.PhotometricInterpretation), inverted, voi, conflict)


def _reject_other_kinds(dataset: Dataset, path: Path) -> None:
    if dataset.get("Modality") not in ("MG", None) and dataset.SOPClassUID != SECONDARY_CAPTURE:
        raise RejectedImage(path, "not_mammography", f"its modality is {dataset.Modality}, not MG")
    if dataset.get("SOPClassUID") == FOR_PROCESSING or dataset.get("PresentationIntentType") == "FOR PROCESSING":
        raise RejectedImage(path, "for_processing", "it holds detector values meant for processing, not for display")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise RejectedImage(path, "not_single_frame", "it holds more than one frame")
    if "PixelData" not in dataset:
        raise RejectedImage(path, "unreadable", "it holds no pixel data")


def _display_values(stored: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, str]:
    """Modality LUT, then one VOI alternative, scaled to [0, 1] by the transform's own output range."""
    identity = dataset.get("RescaleSlope", 1) == 1 and dataset.get("RescaleIntercept", 0) == 0
    # An identity rescale would turn integers into floats, which a VOI LUT can't be indexed by.
    values = stored if identity and "ModalityLUTSequence" not in dataset else apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        low, high = 0.0, 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
        shown, kind = apply_voi_lut(values, dataset, index=0, prefer_lut=True), "lut"
    elif "WindowCenter" in dataset and "WindowWidth" in dataset:
        low, high = _window_range(dataset)
        shown = apply_voi_lut(values, dataset, index=0, prefer_lut=False)
        kind = "sigmoid" if dataset.get("VOILUTFunction") == "SIGMOID" else "window"
    else:
        low, high = float(values.min()), float(values.max())
        shown, kind = values, "none"
    scaled = (shown.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6))
    return np.clip(scaled, 0.0, 1.0), kind


def _window_range(dataset: Dataset) -> tuple[float, float]:
    """The range that a window maps to: the stored range passed through the modality rescale."""
    bits = int(dataset.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)
    if dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def _inversion(dataset: Dataset) -> tuple[bool, tuple[str, ...]]:
    """MONOCHROME1 and Presentation LUT Shape INVERSE state one and the same inversion."""
    by_photometric = dataset.PhotometricInterpretation == "MONOCHROME1"
    shape = dataset.get("PresentationLUTShape")
    if shape in ("INVERSE", "IDENTITY") and by_photometric != (shape == "INVERSE"):
        return by_photometric, (f"{dataset.PhotometricInterpretation} with Presentation LUT Shape {shape}",)
    return by_photometric, ()


def _without_padding(pixels: np.ndarray, stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Padding carries no signal: it becomes air, whatever the window made of it."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return pixels
    limit = dataset.get("PixelPaddingRangeLimit", value)
    low, high = sorted((int(value), int(limit)))
    return np.where((stored >= low) & (stored <= high), np.float32(0), pixels)


def _laterality(dataset: Dataset) -> str | None:
    value = dataset.get("ImageLaterality") or dataset.get("Laterality")
    return value if value in ("L", "R") else None


def _view(dataset: Dataset) -> str | None:
    """View Code Sequence supersedes ViewPosition."""
    for item in dataset.get("ViewCodeSequence") or ():
        return VIEW_CODES.get(str(item.get("CodeValue")))
    value = dataset.get("ViewPosition")
    return value if value in ("CC", "MLO") else None


def _implant(dataset: Dataset) -> bool | None:
    return {"YES": True, "NO": False}.get(str(dataset.get("BreastImplantPresent")))


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    value = dataset.get("ImagerPixelSpacing") or dataset.get("PixelSpacing")
    return (float(value[0]), float(value[1])) if value else None
