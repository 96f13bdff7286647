"""Which images are mammograms for this study: known kinds are taken or left out, unknown ones are taken and named."""

from __future__ import annotations

import re

from pydicom import uid
from pydicom.dataset import Dataset

from mammorgb_utils.data import headers
from mammorgb_utils.data.headers import FOR_PRESENTATION, FOR_PROCESSING, IMPLANT_DISPLACED, numbers, word

# Classes of mammograms, and those in which film archives and older detectors keep them.
_MAMMOGRAPHY = (FOR_PRESENTATION, FOR_PROCESSING)
_FILM = (uid.SecondaryCaptureImageStorage, uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
         uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage, uid.ComputedRadiographyImageStorage)
_UNSURE = (uid.DigitalXRayImageStorageForPresentation, uid.DigitalXRayImageStorageForProcessing)
_TOMOSYNTHESIS = (uid.BreastTomosynthesisImageStorage, uid.BreastProjectionXRayImageStorageForPresentation,
                  uid.BreastProjectionXRayImageStorageForProcessing)
_FILM_MODALITIES = ("", "RG", "CR", "OT")  # what film that was scanned or read from plates is called
_MAGNIFIED = 1.3  # contact views have 1.0 to 1.1, magnification views 1.5 and more
# What special images are, and words that tell: of Image Type from its third value on, of makers in Series Description.
# The first that is found decides.
_KINDS = {
    "quality_control": ("it is a quality control image",
                        r"QUALITY_CONTROL|CALIBRATION|FLAT_?FIELD|(ACR|QC|TEST|CDMAM)_PHANTOM|CDMAM"),
    "specimen": ("it shows a specimen, not a breast", r"SPECIMENS?"),
    "biopsy": ("it belongs to a biopsy or localisation: a scout, stereo or needle view",
               r"(\w+_)?SCOUT|STEREO(_?\w+)?|\w*BIOPSY|BX|(PRE|POST)_?FIRE|POST_?MARKER|LOCALI[SZ]ATION|"
               r"(NEEDLE|WIRE)(_\w+)?"),
    "contrast": ("it is of a contrast-enhanced examination: one energy of two, or their recombination",
                 r"(HIGH|LOW|DUAL)_?ENERGY|RECOMBINED|\w*CONTRAST|CESM|CEDM|CEM|I_?VIEW|SENOBRIGHT|TICEM"),
    "derived": ("it was computed from other images: a synthetic or a subtracted view",
                r"GENERATED(_?2D)?|SUBTRACT\w+|SYNTH\w*|[CSGV]_?VIEW|(V|VOLUME)_?PREVIEW|(INSIGHT|INTELLIGENT)_?2D|S2D"),
    "tomosynthesis": ("it is a projection, slice or slab of tomosynthesis",
                      r"\w*TOMO\w*|DBT|BTO|SLABS?|PLANES?|(SMART_?)?SLICES?|CLARITY_?HD|\w*PROJECTIONS?|MIP|MAXIMUM|"
                      r"VOLUME")}
_KNOWN = re.compile(r"|NONE|[\d_]+|L|R|LEFT|RIGHT|CC|MLO|(POST|PRE)?_?PROCESSED|STANDARD|SCREENING|DIGITI[SZ]ED|FILM|"
                    r"MAMMO\w*|2D|FFDM")


def rejection(header: Dataset) -> tuple[str, str] | None:
    """Why a file isn't one plain mammogram, by its header: a code and a sentence without any of the header's values.

    For Processing, implants and the view itself aren't judged here: readers and adapters treat them differently.

    Source:
        DICOM PS3.3 C.8.11.7: View Code Sequence with its modifiers inside, Image Type; Specimen Description Sequence.
        Makers' names of synthetic views: Hologic C-View and Intelligent 2D, Siemens Insight 2D, GE V-Preview, Fujifilm
        S-View, IMS G-View.
    """
    if code := _other_class(header):
        return code, _KINDS.get(code, ["its SOP class or modality isn't that of a mammogram"])[0]
    if max(numbers(header, "NumberOfFrames"), default=1) > 1:
        return "not_single_frame", "it holds more than one frame"
    if max(numbers(header, "SamplesPerPixel"), default=1) > 1:
        return "not_greyscale", "its pixels hold more than one sample, as colour does"
    if code := _special(header):
        return code, _KINDS[code][0]
    codes = {word(item, "CodeValue") for item in headers.view_modifiers(header)} - {"", *IMPLANT_DISPLACED}
    if codes or max(numbers(header, "EstimatedRadiographicMagnificationFactor"), default=1) >= _MAGNIFIED:
        return "modified_view", "its view is modified: spot, magnification, rolled, cleavage, axillary tail …"
    return None


def doubts(header: Dataset) -> tuple[str, ...]:
    """Sentences where a header that `rejection` lets pass names a kind of image that is neither known good nor bad."""
    told = {"its SOP class isn't known here as one of mammograms":
            word(header, "SOPClassUID") not in (*_MAMMOGRAPHY, *_FILM),
            "its Image Type holds a word that isn't known here": not all(map(_KNOWN.fullmatch, _image_type(header))),
            "its body part isn't called a breast":
            not re.match("$|BREAST|MAM", word(header, "BodyPartExamined").upper()),
            "its header tells of a contrast agent": word(header, "ContrastBolusAgent")}
    return tuple(sentence for sentence, is_so in told.items() if is_so)


def _other_class(header: Dataset) -> str | None:
    """A code where SOP class and modality are known as those of something else."""
    stored, modality = word(header, "SOPClassUID"), word(header, "Modality").upper()
    if stored in _TOMOSYNTHESIS:
        return "tomosynthesis"
    if stored in _MAMMOGRAPHY:
        return "not_mammography" if modality not in ("MG", "") else None
    if stored in _FILM:
        # Chests are stored as computed radiographs, too: what isn't called mammography must be of a breast.
        plain = stored != uid.ComputedRadiographyImageStorage or headers.view_of(header)[0] in ("CC", "MLO")
        return None if modality == "MG" or (modality in _FILM_MODALITIES and plain) else "not_mammography"
    is_known = bool(uid.UID(stored).type) and stored not in _UNSURE
    return "not_mammography" if modality != "MG" or is_known else None


def _special(header: Dataset) -> str | None:
    """The code of a kind of image that isn't a conventional mammogram of a breast."""
    if word(header, "QualityControlImage").upper() == "YES":
        return "quality_control"
    meanings = [word(item, "CodeMeaning") for item in headers.view_modifiers(header)]
    specimens = any(word(item, "SpecimenIdentifier") or word(item, "SpecimenUID")
                    for item in headers.items(header, "SpecimenDescriptionSequence"))
    if specimens or word(header, "ContainerIdentifier") or any("specimen" in text.lower() for text in meanings):
        return "specimen"
    told = (*_image_type(header), *(_joined(word(header, name)) for name in ("SeriesDescription", "TomoClass")))
    return next((code for code, (_, words) in _KINDS.items()
                 if any(re.search(rf"(?<![A-Z0-9])({words})(?![A-Z0-9])", value) for value in told)), None)



def _image_type(header: Dataset) -> list[str]:
    """Image Type from its third value on, in capitals; the first two only tell original from derived."""
    return [_joined(part) for part in headers.values(header, "ImageType")[2:]]


def _joined(text: str) -> str:
    """Capitals, with one `_` for every run of other signs."""
    return re.sub(r"[^A-Z0-9]+", "_", str(text).upper()).strip("_")
