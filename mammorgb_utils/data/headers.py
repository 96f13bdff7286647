"""What a mammogram's header says of kind, side, view and scanner; nothing that names a patient is passed on."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom import uid
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
VIEW_CODES = {"R-10242": "CC", "399162004": "CC", "R-10226": "MLO", "399368009": "MLO"}
# What pydicom, its decoders and numpy raise on damaged headers and pixel data.
READ_ERRORS = (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, RuntimeError,
               StopIteration, MemoryError, ArithmeticError, struct.error, zlib.error, pydicom.errors.InvalidDicomError,
               pydicom.errors.BytesLengthException)
TAGS = ["SOPClassUID", "Modality", "PresentationIntentType", "NumberOfFrames", "SamplesPerPixel", "ImageLaterality",
        "Laterality", "AnatomicRegionSequence", "PatientOrientation", "ViewPosition", "ViewCodeSequence",
        "ViewModifierCodeSequence", "BreastImplantPresent", "SpecimenDescriptionSequence", "ContainerIdentifier",
        "Manufacturer", "ManufacturerModelName", "ImageType", "EstimatedRadiographicMagnificationFactor",
        "SeriesDescription", "QualityControlImage", "ContrastBolusAgent", "TomoClass", "BodyPartExamined"]
# Numbers and sequences that reading an image asks for, beside those of TAGS.
_READ = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter",
         "WindowWidth", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "ModalityLUTSequence", "PixelSpacing",
         "ImagerPixelSpacing", "PixelIntensityRelationshipSign", "PixelPaddingValue", "PixelPaddingRangeLimit")
_NUMBERS = {"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD"}
# What de-identification puts in the place of values, whatever their kind.
_PLACEHOLDERS = re.compile(r"(?:REMOVED|ANON\w*|DE-?IDENTIFIED|UNKNOWN|NONE|NULL|N/?A|X{2,}|[-?*#]+)?", re.IGNORECASE)
IMPLANT_DISPLACED = ("R-102D5", "399209000")
_REGION_SIDES = {"G-A100": "R", "24028007": "R", "G-A101": "L", "7771000": "L"}
# Makers and model families as they call themselves. Free text isn't repeated: a site may have put a name there.
_MAKERS = ("Hologic", "Lorad", "GE", "Siemens", "Philips", "Fujifilm", "Planmed", "Giotto", "Sectra", "Agfa",
           "Carestream", "Kodak", "Konica", "Metaltronica", "Canon", "iCAD", "Lumisys", "Howtek", "MammoRGB")
_MODELS = ("Selenia", "Dimensions", "3Dimensions", "Senographe", "Pristina", "Essential", "2000D", "Mammomat",
           "Inspiration", "Revelation", "Novation", "Fusion", "Microdose", "Amulet", "Innovality", "Nuance", "Clarity",
           "Class", "phantom")
_MAKER_ALIASES = {"FUJI": "FUJIFILM", "IMS": "GIOTTO", "HOLOGIC,": "HOLOGIC", "KONICAMINOLTA": "KONICA"}


def read_header(path: Path, more: Sequence[str] = ()) -> Dataset:
    """The tags that this module and `kinds` read, and `more`; one of `READ_ERRORS` where it is no DICOM file."""
    with path.open("rb") as file:
        return _opened(file, stop_before_pixels=True, specific_tags=[*TAGS, *more])


def read_dataset(path: Path) -> Dataset:
    """The whole file, from memory: a damaged length of 4 GB asks for no more than there is."""
    return _opened(BytesIO(path.read_bytes()))


def _opened(file: BinaryIO, **options: Any) -> Dataset:
    """Read a file with or without preamble, file meta information and transfer syntax, which is then guessed.

    Its attribute `odd_values` names the tags of `TAGS` and `_READ` that held no number or sequence as they should:
    they are taken out, as de-identification puts words in any place.
    """
    start = file.read(132)
    file.seek(0)
    # A data set alone begins with an element of group 2 or 8.
    bare = start[128:] != b"DICM" and start[:2] in (b"\2\0", b"\b\0", b"\0\b")
    with warnings.catch_warnings(action="ignore"):  # they quote header values
        dataset = pydicom.dcmread(file, force=bare, **options)
        if _PLACEHOLDERS.fullmatch(str(dataset.file_meta.get("TransferSyntaxUID") or "")):
            implicit, little = dataset.original_encoding
            explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
        odd = tuple(name for name in (*TAGS, *_READ) if name in dataset and not _fits(dataset, name))
        for name in odd:
            del dataset[name]
        if "SamplesPerPixel" in odd:
            dataset.SamplesPerPixel = 1
    dataset.odd_values = odd
    return dataset


def _fits(dataset: Dataset, name: str) -> bool:
    """Whether a value is empty or of the kind that the standard gives to its tag, a sequence or numbers."""
    kinds = set(dictionary_VR(name).split(" or "))
    try:
        value = dataset[name].value
        if kinds == {"SQ"}:
            return isinstance(value, DicomSequence)
        if name == "NumberOfFrames" and value is not None:
            return int(value) > 0
        return not kinds & _NUMBERS or all(isinstance(each, (int, float)) for each in values(dataset, name))
    except READ_ERRORS:
        return False


def is_for_processing(header: Dataset) -> bool:
    """Whether the file holds detector values, meant for processing and not for display."""
    return (header.get("SOPClassUID") == FOR_PROCESSING
            or text(header, "PresentationIntentType").upper() == "FOR PROCESSING")


def implant_of(header: Dataset) -> bool | None:
    """Whether there is an implant, in the image or displaced from it; None where the header doesn't say."""
    if any(word(item, "CodeValue") in IMPLANT_DISPLACED for item in view_modifiers(header)):
        return True
    return {"YES": True, "NO": False}.get(text(header, "BreastImplantPresent").upper())


def view_of(header: Dataset) -> tuple[str | None, tuple[str, ...]]:
    """`"CC"`, `"MLO"`, `"other"` or None, unstated, and a sentence where two tags name different views.

    View Code Sequence supersedes View Position.
    """
    position = word(header, "ViewPosition").upper()
    by_position = (position if position in ("CC", "MLO") else "other") if position else None
    for item in items(header, "ViewCodeSequence"):
        if not word(item, "CodeValue"):
            continue  # emptied in de-identification
        by_code = VIEW_CODES.get(word(item, "CodeValue"), "other")
        differs = by_position not in (None, by_code)
        return by_code, ("view code and view position name different views",) if differs else ()
    return by_position, ()


def laterality_of(header: Dataset) -> tuple[str | None, tuple[str, ...]]:
    """`"L"`, `"R"`, `"both"` or None, unstated, and a sentence where two tags name different sides."""
    regions = [modifier for region in items(header, "AnatomicRegionSequence")
               for modifier in items(region, "AnatomicRegionModifierSequence")]
    stated = [text(header, "ImageLaterality").upper(), text(header, "Laterality").upper(),
              *(_REGION_SIDES.get(text(item, "CodeValue"), "") for item in regions)]
    sides = [side for side in stated if side in ("L", "R")]
    if stated[0] == "B":
        return "both", ()
    conflict = ("its tags name both sides",) if len(set(sides)) > 1 else ()
    return (sides[0] if sides else None), conflict


def warnings_of(header: Dataset) -> tuple[str, ...]:
    """Sentences where the header tells of burnt-in text, which may name the patient, or of a part of a breast."""
    told = {"BurnedInAnnotation": "its header tells of burnt-in text, which may name the patient",
            "PartialView": "its header calls it a partial view"}
    odd = ", ".join(getattr(header, "odd_values", ()))
    return (*(sentence for name, sentence in told.items() if text(header, name).upper() == "YES"),
            *([f"its header holds no value of the right kind in {odd}"] if odd else []))


def scanner_of(header: Dataset) -> str:
    """Maker and model in known words, such as `Hologic Selenia Dimensions`; other words are left out."""
    words = f"{text(header, 'Manufacturer')} {text(header, 'ManufacturerModelName')}".upper().replace(",", " ").split()
    words = {_MAKER_ALIASES.get(word, word) for word in words}
    return " ".join(name for name in (*_MAKERS, *_MODELS) if name.upper() in words) or "unknown scanner"


def photometric_of(header: Dataset) -> str:
    """`"MONOCHROME1"`, or `"MONOCHROME2"` for every other word."""
    return "MONOCHROME1" if header.get("PhotometricInterpretation") == "MONOCHROME1" else "MONOCHROME2"


def text(header: Dataset, name: str) -> str:
    """One value as stripped text, empty where it is absent or can't be read."""
    try:
        return str(header.get(name) or "").strip()
    except READ_ERRORS:
        return ""


def word(header: Dataset, name: str) -> str:
    """As `text`, empty for the placeholders of de-identification, too."""
    found = text(header, name)
    return "" if _PLACEHOLDERS.fullmatch(found) else found


def values(header: Dataset, name: str) -> Sequence:
    """The values of an attribute that may hold one or several; none where it is absent, empty or can't be read."""
    try:
        value = header.get(name)
    except READ_ERRORS:
        return ()
    return () if value in (None, "") else value if isinstance(value, (MultiValue, DicomSequence, list)) else (value,)


def numbers(header: Dataset, name: str) -> list[float]:
    """Those of `values` that are numbers."""
    return [float(value) for value in values(header, name) if isinstance(value, (int, float))]


def items(header: Dataset, name: str) -> list[Dataset]:
    """The items of a sequence; none where something else stands in its place."""
    return [item for item in values(header, name) if isinstance(item, Dataset)]


def view_modifiers(header: Dataset) -> list[Dataset]:
    """View modifiers, nested in the view code as the standard has it, or beside it."""
    return [modifier for item in (header, *items(header, "ViewCodeSequence"))
            for modifier in items(item, "ViewModifierCodeSequence")]
