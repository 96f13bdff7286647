"""Phantom views as DICOM: Digital Mammography X-Ray Image Storage – For Presentation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from mammorgb_utils.data.phantom.geometry import SPACING_MM

MAXIMUM = 4095  # 12 bits stored
EXAM = "E1"  # each patient's only one
_VIEWS = {"CC": ("R-10242", "cranio-caudal"), "MLO": ("R-10226", "medio-lateral oblique")}
_ORIENTATION = {("L", "CC"): ["A", "R"], ("L", "MLO"): ["A", "FR"], ("R", "CC"): ["P", "L"], ("R", "MLO"): ["P", "FL"]}
_IN_EVERY_FILE = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2", "PatientBirthDate": "", "PatientSex": "F", "StudyID": EXAM,
    "AccessionNumber": "", "ReferringPhysicianName": "", "SeriesNumber": 1, "AcquisitionNumber": 1,
    "PositionReferenceIndicator": "",
    **{f"{event}{part}": value for event in ("Study", "Series", "Acquisition", "Content", "InstanceCreation")
       for part, value in (("Date", "20200101"), ("Time", "120000"))},
    "Modality": "MG", "PresentationIntentType": "FOR PRESENTATION", "ImageType": ["DERIVED", "PRIMARY"],
    "Manufacturer": "MammoRGB", "ManufacturerModelName": "Parametric phantom", "DeviceSerialNumber": "1",
    "SoftwareVersions": "1", "DetectorType": "DIRECT", "DetectorID": "1", "PixelSpacingCalibrationType": "GEOMETRY",
    "ImagerPixelSpacing": [f"{SPACING_MM:.4f}"] * 2, "PixelSpacing": [f"{SPACING_MM:.4f}"] * 2,
    "PixelSpacingCalibrationDescription": "Distances in the plane of the breast support",
    "KVP": "29", "Exposure": 80, "ExposureTime": 800, "CompressionForce": "100", "OrganDose": "",
    "AnodeTargetMaterial": "TUNGSTEN", "FilterMaterial": "RHODIUM", "FilterType": "FLAT",
    "EstimatedRadiographicMagnificationFactor": "1", "PositionerType": "MAMMOGRAPHIC",
    "OrganExposed": "BREAST", "BodyPartExamined": "BREAST", "AcquisitionContextSequence": [],
    "BurnedInAnnotation": "NO",  # the view label identifies nobody
    "PatientIdentityRemoved": "YES", "DeidentificationMethod": "Phantom: there is no patient",
    "LossyImageCompression": "00", "SamplesPerPixel": 1, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11,
    "PixelRepresentation": 0, "PixelIntensityRelationship": "LOG", "RescaleIntercept": "0", "RescaleSlope": "1",
    "RescaleType": "US", "WindowCenter": "2048", "WindowWidth": "4096"}


@dataclass(frozen=True)
class Header:
    """What a file says beside its pixels; `instance` tells a patient's files apart."""

    seed: int
    patient: str
    laterality: str
    view: str
    thickness_mm: float
    implant: bool = False
    monochrome1: bool = False
    padding: bool = False
    instance: int = 1

    def uid(self, *parts: str) -> str:
        """A UID under 2.25 that depends on the seed, the patient and the parts alone."""
        named = "/".join(["mammorgb-phantom", str(self.seed), self.patient, *parts])
        return f"2.25.{int.from_bytes(hashlib.sha256(named.encode()).digest()[:15], 'big') | 1 << 119}"


def dicom_bytes(image: np.ndarray, header: Header) -> bytes:
    """Encode one stored view, explicit little endian, uncompressed; the bytes depend on the arguments alone.

    Args:
        image: `(H, W)` float64 in [0, 1], already on the side on which scanners store it, 0 = air. For MONOCHROME1 it
            is inverted here, once.
        header: Everything that isn't a pixel.
    """
    stored = np.rint(np.clip(image, 0.0, 1.0) * MAXIMUM).astype("<u2")
    if header.monochrome1:
        stored = (MAXIMUM - stored).astype("<u2")
    data = _dataset(**_IN_EVERY_FILE, **_of_this_file(header))
    data.Rows, data.Columns = stored.shape
    if header.padding:
        data.PixelPaddingValue = MAXIMUM if header.monochrome1 else 0
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.ImplementationClassUID = "2.25.117243895531628417280934511066203713281"
    data.file_meta.ImplementationVersionName = "MAMMORGB_1"
    buffer = BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def _of_this_file(header: Header) -> dict[str, object]:
    view = _dataset(CodeValue=_VIEWS[header.view][0], CodingSchemeDesignator="SRT", CodeMeaning=_VIEWS[header.view][1],
                    ViewModifierCodeSequence=[])
    breast = _dataset(CodeValue="T-04000", CodingSchemeDesignator="SRT", CodeMeaning="Breast")
    inverse = header.monochrome1
    return {
        "SOPInstanceUID": header.uid(header.view, str(header.instance)), "InstanceNumber": header.instance,
        "StudyInstanceUID": header.uid(EXAM), "SeriesInstanceUID": header.uid(EXAM, "series"),
        "FrameOfReferenceUID": header.uid(EXAM, "frame"), "PatientName": f"Phantom^{header.patient}",
        "PatientID": header.patient, "BodyPartThickness": f"{header.thickness_mm:.1f}",
        "PositionerPrimaryAngle": "0" if header.view == "CC" else "45", "ViewCodeSequence": [view],
        "ViewPosition": header.view, "ImageLaterality": header.laterality, "AnatomicRegionSequence": [breast],
        "PatientOrientation": _ORIENTATION[header.laterality, header.view],
        "BreastImplantPresent": "YES" if header.implant else "NO",
        "PhotometricInterpretation": "MONOCHROME1" if inverse else "MONOCHROME2",
        "PresentationLUTShape": "INVERSE" if inverse else "IDENTITY",
        "PixelIntensityRelationshipSign": -1 if inverse else 1}


def _dataset(**elements: object) -> Dataset:
    data = Dataset()
    for name, value in elements.items():
        setattr(data, name, value)
    return data
