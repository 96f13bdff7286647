"""Phantom views as DICOM: Digital Mammography X-Ray Image Storage – For Presentation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

MAXIMUM = 4095  # 12 bits stored
IMPLEMENTATION_UID = "2.25.117243895531628417280934511066203713281"
IMPLEMENTATION_NAME = "MAMMORGB_1"
_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.1.2"
_VIEWS = {"CC": ("R-10242", "cranio-caudal"), "MLO": ("R-10226", "medio-lateral oblique")}
_ORIENTATION = {("L", "CC"): ["A", "R"], ("L", "MLO"): ["A", "FR"], ("R", "CC"): ["P", "L"], ("R", "MLO"): ["P", "FL"]}


@dataclass(frozen=True)
class Header:
    """What a file says beside its pixels; `instance` tells a patient's files apart."""

    seed: int
    patient: str
    exam: str
    laterality: str
    view: str
    thickness_mm: float
    spacing_mm: float
    implant: bool = False
    monochrome1: bool = False
    padding: bool = False
    instance: int = 1

    def uid(self, *parts: str) -> str:
        """A UID under 2.25 that depends on the seed and the parts alone."""
        digest = hashlib.sha256("/".join(["mammorgb-phantom", str(self.seed), *parts]).encode()).digest()
        return f"2.25.{int.from_bytes(digest[:15], 'big') | 1 << 119}"


def dicom_bytes(image: np.ndarray, header: Header) -> bytes:
    """Encode one stored view, explicit little endian, uncompressed.

    Args:
        image: `(H, W)` float64 in [0, 1], already on the side on which scanners store it, 0 = air.
        header: Everything that isn't a pixel.

    Returns:
        A DICOM file whose bytes depend on the arguments alone. MONOCHROME1 is inverted here, once.
    """
    stored = np.rint(np.clip(image, 0.0, 1.0) * MAXIMUM).astype("<u2")
    if header.monochrome1:
        stored = (MAXIMUM - stored).astype("<u2")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _SOP_CLASS
    meta.MediaStorageSOPInstanceUID = header.uid(header.patient, header.view, str(header.instance))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    _identity(data, header)
    _equipment(data, header)
    _mammography(data, header)
    _pixels(data, header, stored)
    buffer = BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def _identity(data: Dataset, header: Header) -> None:
    """Patient, study, series and instance."""
    data.SOPClassUID, data.SOPInstanceUID = _SOP_CLASS, data.file_meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID = f"Phantom^{header.patient}", header.patient
    data.PatientBirthDate, data.PatientSex = "", "F"
    data.StudyInstanceUID = header.uid(header.patient, header.exam)
    data.SeriesInstanceUID = header.uid(header.patient, header.exam, "series")
    data.FrameOfReferenceUID = header.uid(header.patient, header.exam, "frame")
    data.StudyID, data.AccessionNumber, data.ReferringPhysicianName = header.exam, "", ""
    data.SeriesNumber, data.InstanceNumber = 1, header.instance
    data.PositionReferenceIndicator = ""
    for name in ("Study", "Series", "Acquisition", "Content"):
        setattr(data, f"{name}Date", "20200101")
        setattr(data, f"{name}Time", "120000")
    data.InstanceCreationDate, data.InstanceCreationTime = "20200101", "120000"
    data.AcquisitionNumber = 1


def _equipment(data: Dataset, header: Header) -> None:
    data.Modality, data.PresentationIntentType = "MG", "FOR PRESENTATION"
    data.Manufacturer, data.ManufacturerModelName = "MammoRGB", "Parametric phantom"
    data.DeviceSerialNumber, data.SoftwareVersions = "1", "1"
    data.ImageType = ["DERIVED", "PRIMARY"]
    data.DetectorType, data.DetectorID = "DIRECT", "1"
    data.ImagerPixelSpacing = data.PixelSpacing = [f"{header.spacing_mm:.4f}"] * 2
    data.PixelSpacingCalibrationType = "GEOMETRY"
    data.PixelSpacingCalibrationDescription = "Distances in the plane of the breast support"
    data.KVP, data.Exposure, data.ExposureTime = "29", 80, 800
    data.AnodeTargetMaterial, data.FilterMaterial, data.FilterType = "TUNGSTEN", "RHODIUM", "FLAT"
    data.CompressionForce, data.BodyPartThickness = "100", f"{header.thickness_mm:.1f}"
    data.EstimatedRadiographicMagnificationFactor = "1"
    data.PositionerType, data.PositionerPrimaryAngle = "MAMMOGRAPHIC", "0" if header.view == "CC" else "45"
    data.OrganDose, data.OrganExposed = "", "BREAST"


def _mammography(data: Dataset, header: Header) -> None:
    """Which breast, which view, and how it lies in the image."""
    code, meaning = _VIEWS[header.view]
    view = _code(code, "SRT", meaning)
    view.ViewModifierCodeSequence = Sequence([])
    data.ViewCodeSequence = Sequence([view])
    data.ViewPosition = header.view
    data.ImageLaterality = header.laterality
    data.PatientOrientation = _ORIENTATION[header.laterality, header.view]
    data.BreastImplantPresent = "YES" if header.implant else "NO"
    data.BodyPartExamined = "BREAST"
    data.AnatomicRegionSequence = Sequence([_code("T-04000", "SRT", "Breast")])
    data.AcquisitionContextSequence = Sequence([])
    data.BurnedInAnnotation = "NO"  # the view label identifies nobody
    data.PatientIdentityRemoved, data.DeidentificationMethod = "YES", "Phantom: there is no patient"
    data.LossyImageCompression = "00"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _pixels(data: Dataset, header: Header, stored: np.ndarray) -> None:
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1" if header.monochrome1 else "MONOCHROME2"
    data.PresentationLUTShape = "INVERSE" if header.monochrome1 else "IDENTITY"
    data.Rows, data.Columns = stored.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    if header.padding:
        data.PixelPaddingValue = MAXIMUM if header.monochrome1 else 0
    data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LOG", -1 if header.monochrome1 else 1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "0", "1", "US"
    data.WindowCenter, data.WindowWidth = "2048", "4096"
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
