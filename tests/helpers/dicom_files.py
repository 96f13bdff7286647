"""Mammograms as DICOM files with known pixels, in every transfer syntax that the reader decodes."""

from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from rle.utils import encode_pixel_data

from mammorgb_utils.data.headers import FOR_PRESENTATION
from mammorgb_utils.data.phantom import make_breast, render_view

SYNTAXES = {
    "explicit": uid.ExplicitVRLittleEndian, "implicit": uid.ImplicitVRLittleEndian,
    "big_endian": uid.ExplicitVRBigEndian, "deflated": uid.DeflatedExplicitVRLittleEndian, "rle": uid.RLELossless,
    "jpeg_baseline": uid.JPEGBaseline8Bit, "jpeg_extended": uid.JPEGExtended12Bit, "jpeg_lossless": uid.JPEGLossless,
    "jpeg_lossless_sv1": uid.JPEGLosslessSV1, "jpeg_ls": uid.JPEGLSLossless, "jpeg_ls_near": uid.JPEGLSNearLossless,
    "jpeg_2000_lossless": uid.JPEG2000Lossless, "jpeg_2000": uid.JPEG2000, "htj2k_lossless": uid.HTJ2KLossless,
    "htj2k": uid.HTJ2K}
LOSSY = ("jpeg_baseline", "jpeg_extended", "jpeg_ls_near", "jpeg_2000", "htj2k")
EIGHT_BITS = ("jpeg_baseline",)  # syntaxes that hold no more
TWELVE_BITS = ("jpeg_extended",)  # up to 12, in 16-bit words
UNSIGNED = ("jpeg_baseline", "jpeg_extended", "jpeg_ls_near")  # lossy on bit patterns, which a sign would tear apart


def write_mammogram(path: Path, stored: np.ndarray, *, syntax: str = "explicit", bits: int | None = None,
                    **tags) -> Path:
    """Write a left CC view, For Presentation.

    Args:
        path: Where to.
        stored: `(H, W)` of uint8, int8, uint16 or int16: type and sign of the file; negative values are allowed.
        syntax: A name in `SYNTAXES`; lossy ones stay within 1 % of the range of `stored`.
        bits: Bits stored; by default 8 of 8 and 12 of 16.
        tags: By keyword, in place of the plain view's; None takes one out.

    Returns:
        `path`.
    """
    bits = bits or (8 if stored.itemsize == 1 else 12)
    dataset = _plain_view(stored, bits)
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    _set_pixels(dataset, stored, syntax, bits)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def code_item(value: str, scheme: str = "SRT", meaning: str = "") -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def view_code(value: str, *modifiers: str) -> Sequence:
    """A View Code Sequence with its modifiers nested."""
    item = code_item(value)
    item.ViewModifierCodeSequence = Sequence([code_item(each) for each in modifiers])
    return Sequence([item])


def lut_sequence(values, *, first: int = 0, bits: int = 12) -> Sequence:
    """A VOI or modality LUT of up to 32,767 entries; the first is for the value `first`."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values), first, bits])
    item.add_new("LUTData", "US", [int(value) for value in values])
    return Sequence([item])


@cache
def breast_codes(bits: int = 12, view: str = "CC") -> np.ndarray:
    """`(320, 256)` uint8 or uint16 codes of a phantom breast, chest wall on the left, air is 0."""
    grey = render_view(make_breast((1, 2, 3)), view) * (2**bits - 1)
    return np.rint(grey).astype(np.uint8 if bits == 8 else np.uint16)


def codestream(stored: np.ndarray, syntax: str, bits: int) -> bytes:
    """One frame as the compressed syntax has it, of `bits` precision where its encoder can; JPEG-LS and HTJ2K take 16.

    JPEG and JPEG-LS know no sign: they hold the bit patterns.
    """
    stored = stored.astype(f"{stored.dtype.kind}1") if bits == 8 else stored
    patterns = stored.view(f"u{stored.itemsize}")
    masked = patterns & patterns.dtype.type(2**bits - 1)
    match syntax:
        case "jpeg_baseline":
            return imagecodecs.jpeg_encode(patterns, 100)
        case "jpeg_extended":
            return imagecodecs.jpeg_encode(patterns.astype(np.uint16), 100, bitspersample=12)
        case "jpeg_lossless" | "jpeg_lossless_sv1":
            predictor = 1 if syntax.endswith("sv1") else 6
            return imagecodecs.jpeg_encode(masked, lossless=True, predictor=predictor, bitspersample=bits)
        case "jpeg_ls" | "jpeg_ls_near":
            return imagecodecs.jpegls_encode(patterns, 2 if syntax.endswith("near") else 0)
        case "jpeg_2000_lossless":
            return imagecodecs.jpeg2k_encode(stored, 0, codecformat="j2k", bitspersample=bits, reversible=True)
        case "jpeg_2000":
            return imagecodecs.jpeg2k_encode(stored, 80, codecformat="j2k", bitspersample=bits, reversible=False)
        case "htj2k_lossless":
            return imagecodecs.htj2k_encode(stored, reversible=True)
        case "htj2k":
            return imagecodecs.htj2k_encode(stored, 2e-5)
    raise ValueError(f"{syntax}: not a compressed syntax")


def _plain_view(stored: np.ndarray, bits: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = FOR_PRESENTATION
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "2.25.1"
    dataset.Modality, dataset.PresentationIntentType = "MG", "FOR PRESENTATION"
    dataset.ImageLaterality, dataset.ViewPosition, dataset.PatientOrientation = "L", "CC", ["A", "R"]
    dataset.ImagerPixelSpacing = [0.07, 0.07]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *stored.shape, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", int(stored.dtype.kind == "i")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * stored.itemsize, bits, bits - 1
    return dataset


def _set_pixels(dataset: Dataset, stored: np.ndarray, syntax: str, bits: int) -> None:
    order = ">" if syntax == "big_endian" else "<"
    raw = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    if SYNTAXES[syntax].is_encapsulated:
        frame = _run_lengths(raw, dataset) if syntax == "rle" else codestream(stored, syntax, bits)
        dataset.PixelData = encapsulate([bytes(frame)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    else:
        dataset.PixelData = raw
        dataset["PixelData"].VR = "OB" if stored.itemsize == 1 else "OW"


def _run_lengths(raw: bytes, dataset: Dataset) -> bytes:
    return encode_pixel_data(raw, byteorder="<", rows=dataset.Rows, columns=dataset.Columns, samples_per_pixel=1,
                             bits_allocated=dataset.BitsAllocated)
