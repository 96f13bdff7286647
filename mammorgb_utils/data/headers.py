"""What a mammogram's header says of kind, side, view and scanner; nothing that names a patient is passed on."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.2"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
VIEW_CODES = {"R-10242": "CC", "399162004": "CC", "R-10226": "MLO", "399368009": "MLO"}
# What pydicom, its decoders and numpy raise on damaged headers and pixel data.
READ_ERRORS = (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, RuntimeError,
               StopIteration, MemoryError, ArithmeticError, struct.error, zlib.error, pydicom.errors.InvalidDicomError,
               pydicom.errors.BytesLengthException)
TAGS = ["SOPClassUID", "Modality", "PresentationIntentType", "NumberOfFrames", "SamplesPerPixel", "ImageLaterality",
        "Laterality", "AnatomicRegionSequence", "PatientOrientation", "ViewPosition", "ViewCodeSequence",
        "ViewModifierCodeSequence", "BreastImplantPresent", "SpecimenDescriptionSequence", "ContainerIdentifier",
        "Manufacturer", "ManufacturerModelName", "ImageType", "EstimatedRadiographicMagnificationFactor"]
_DERIVED = {"GENERATED_2D", "SUBTRACTION"}
_MAGNIFIED = 1.3  # contact views have 1.0 to 1.1, magnification views 1.5 and more
_FILM = ("", "RG", "CR", "OT")  # what secondary captures of mammography film are called
_IMPLANT_DISPLACED = ("R-102D5", "399209000")
_REGION_SIDES = {"G-A100": "R", "24028007": "R", "G-A101": "L", "7771000": "L"}
# Makers and model families as they call themselves. Free text isn't repeated: a site may have put a name there.
_MAKERS = ("Hologic", "Lorad", "GE", "Siemens", "Philips", "Fujifilm", "Planmed", "Giotto", "Sectra", "Agfa",
           "Carestream", "Kodak", "Konica", "Metaltronica", "Canon", "iCAD", "Lumisys", "Howtek", "MammoRGB")
_MODELS = ("Selenia", "Dimensions", "3Dimensions", "Senographe", "Pristina", "Essential", "2000D", "Mammomat",
           "Inspiration", "Revelation", "Novation", "Fusion", "Microdose", "Amulet", "Innovality", "Nuance", "Clarity",
           "Class", "phantom")
_MAKER_ALIASES = {"FUJI": "FUJIFILM", "IMS": "GIOTTO", "HOLOGIC,": "HOLOGIC", "KONICAMINOLTA": "KONICA"}


def read_header(path: Path, more: Sequence[str] = ()) -> Dataset:
    """The tags that this module reads, and `more`; one of `READ_ERRORS` where it is no DICOM file, or damaged."""
    with warnings.catch_warnings(action="ignore"):  # they quote header values
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*TAGS, *more])


def rejection(header: Dataset) -> tuple[str, str] | None:
    """Why a file isn't one plain mammogram, by its header: a code and a sentence without any of the header's values.

    For Processing, implants and the view itself aren't judged here: readers and adapters treat them differently.

    Source:
        DICOM PS3.3 C.8.11.7: View Code Sequence with its modifiers inside, Image Type; Specimen Description Sequence.
    """
    modality = text(header, "Modality")
    if modality != "MG" and not (header.get("SOPClassUID") == SECONDARY_CAPTURE and modality in _FILM):
        return "not_mammography", "its modality isn't MG"
    if int(header.get("NumberOfFrames") or 1) > 1:
        return "not_single_frame", "it holds more than one frame"
    if int(header.get("SamplesPerPixel") or 1) > 1:
        return "not_greyscale", "its pixels hold more than one sample, as colour does"
    meanings = " ".join(text(item, "CodeMeaning") for item in _modifiers(header)).lower()
    if header.get("SpecimenDescriptionSequence") or header.get("ContainerIdentifier") or "specimen" in meanings:
        return "specimen", "it shows a specimen, not a breast"
    codes = {text(item, "CodeValue") for item in _modifiers(header)} - {"", *_IMPLANT_DISPLACED}
    if codes or float(header.get("EstimatedRadiographicMagnificationFactor") or 1) >= _MAGNIFIED:
        return "modified_view", "its view is modified: spot, magnification, rolled, cleavage, axillary tail …"
    if _DERIVED & {str(value).strip().upper() for value in header.get("ImageType") or ()}:
        return "derived", "it was computed from other images: a synthetic or a subtracted view"
    return None


def is_for_processing(header: Dataset) -> bool:
    """Whether the file holds detector values, meant for processing and not for display."""
    return (header.get("SOPClassUID") == FOR_PROCESSING
            or text(header, "PresentationIntentType").upper() == "FOR PROCESSING")


def implant_of(header: Dataset) -> bool | None:
    """Whether there is an implant, in the image or displaced from it; None where the header doesn't say."""
    if any(text(item, "CodeValue") in _IMPLANT_DISPLACED for item in _modifiers(header)):
        return True
    return {"YES": True, "NO": False}.get(text(header, "BreastImplantPresent").upper())


def view_of(header: Dataset) -> tuple[str | None, tuple[str, ...]]:
    """`"CC"`, `"MLO"`, `"other"` or None, unstated, and a sentence where two tags name different views.

    View Code Sequence supersedes View Position.
    """
    position = text(header, "ViewPosition").upper()
    by_position = (position if position in ("CC", "MLO") else "other") if position else None
    for item in header.get("ViewCodeSequence") or ():
        if not text(item, "CodeValue"):
            continue  # emptied in de-identification
        by_code = VIEW_CODES.get(text(item, "CodeValue"), "other")
        differs = by_position not in (None, by_code)
        return by_code, ("view code and view position name different views",) if differs else ()
    return by_position, ()


def laterality_of(header: Dataset) -> tuple[str | None, tuple[str, ...]]:
    """`"L"`, `"R"`, `"both"` or None, unstated, and a sentence where two tags name different sides."""
    regions = [modifier for region in header.get("AnatomicRegionSequence") or ()
               for modifier in region.get("AnatomicRegionModifierSequence") or ()]
    stated = [text(header, "ImageLaterality").upper(), text(header, "Laterality").upper(),
              *(_REGION_SIDES.get(text(item, "CodeValue"), "") for item in regions)]
    sides = [side for side in stated if side in ("L", "R")]
    if stated[0] == "B":
        return "both", ()
    conflict = ("its tags name both sides",) if len(set(sides)) > 1 else ()
    return (sides[0] if sides else None), conflict


def chest_wall_by_tags(header: Dataset) -> tuple[str | None, tuple[str, ...]]:
    """Where the tags put the chest wall, `"left"`, `"right"` or None, and a sentence where they expect opposite sides.

    Source:
        DICOM PS3.3 C.7.6.1.1.1: Patient Orientation names where rows and columns run to, A anterior, P posterior.
        A left breast is usually stored with its chest wall on the left.
    """
    by_side = {"L": "left", "R": "right"}.get(laterality_of(header)[0] or "")
    orientation = header.get("PatientOrientation") or "?"
    rows = str(orientation if isinstance(orientation, str) else orientation[0]).strip().upper()
    by_orientation = {"A": "left", "P": "right"}.get(rows[:1])
    if by_orientation and by_side and by_orientation != by_side:
        return by_orientation, ("patient orientation and laterality expect opposite chest walls",)
    return by_orientation or by_side, ()


def warnings_of(header: Dataset) -> tuple[str, ...]:
    """Sentences where the header tells of burnt-in text, which may name the patient, or of a part of a breast."""
    told = {"BurnedInAnnotation": "its header tells of burnt-in text, which may name the patient",
            "PartialView": "its header calls it a partial view"}
    return tuple(sentence for name, sentence in told.items() if text(header, name).upper() == "YES")


def scanner_of(header: Dataset) -> str:
    """Maker and model in known words, such as `Hologic Selenia Dimensions`; other words are left out."""
    words = f"{text(header, 'Manufacturer')} {text(header, 'ManufacturerModelName')}".upper().replace(",", " ").split()
    words = {_MAKER_ALIASES.get(word, word) for word in words}
    return " ".join(name for name in (*_MAKERS, *_MODELS) if name.upper() in words) or "unknown scanner"


def photometric_of(header: Dataset) -> str:
    """`"MONOCHROME1"`, or `"MONOCHROME2"` for every other word."""
    return "MONOCHROME1" if header.PhotometricInterpretation == "MONOCHROME1" else "MONOCHROME2"


def text(header: Dataset, name: str) -> str:
    """One value as stripped text, empty where absent."""
    return str(header.get(name) or "").strip()


def _modifiers(header: Dataset) -> list[Dataset]:
    """View modifiers, nested in the view code as the standard has it, or beside it."""
    items = [header, *(header.get("ViewCodeSequence") or ())]
    return [modifier for item in items for modifier in item.get("ViewModifierCodeSequence") or ()]
