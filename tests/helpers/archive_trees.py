"""Archives in their own layouts, tiny and with planted identifiers, and the manifest of one."""

import hashlib

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from mammorgb_utils.data.archives import build_manifest

PRESENTATION, PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.1.2.1"
CODES = {"CC": "399162004", "MLO": "399368009", "ML": "399260004"}
VIEWS = [(side, view) for side in "LR" for view in ("CC", "MLO")]
PLANTED = ["Doe", "Jane", "SECRET", "19591231", "20180704"]


def dicom(path, *, patient="SECRET01", study="1.2.3.1", side="L", view="CC", modifier=None, **tags):
    """A tiny mammogram with planted identifiers; unlike any other by its instance UID."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = tags.pop("SOPClassUID", PRESENTATION)
    uid = f"2.25.{int(hashlib.sha256(str(path).encode()).hexdigest()[:24], 16)}"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid
    data.PatientName, data.PatientID, data.PatientBirthDate = "Doe^Jane", patient, "19591231"
    data.StudyDate, data.StudyInstanceUID, data.AccessionNumber = "20180704", study, "SECRETACC"
    data.Modality, data.ImageLaterality = "MG", side
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = CODES[view], "SCT", view
    if modifier:
        inner = Dataset()
        inner.CodeValue, inner.CodingSchemeDesignator = modifier, "SRT"
        item.ViewModifierCodeSequence = Sequence([inner])
    data.ViewCodeSequence = Sequence([item])
    data.Rows = data.Columns = 16
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = np.zeros((16, 16), np.uint16).tobytes()
    for name, value in tags.items():
        setattr(data, name, value) if value is not None else delattr(data, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def table(path, header, lines, sep=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(sep.join(map(str, line)) for line in lines)]) + "\n", encoding="utf-8")


def vindr(root, shuffled=False):
    lines = []
    for study in range(4):
        for side, view in VIEWS:
            name = f"SECRETimage{study}{side}{view}"
            dicom(root / "images" / f"SECRETstudy{study}" / f"{name}.dicom", side=side, view=view)
            lines.append((f"SECRETstudy{study}", "SECRETseries", name, side, view, 3518, 2800,
                          "BI-RADS 2" if side == "L" else "BI-RADS 4", "DENSITY C", "test" if study else "training"))
    table(root / "breast-level_annotations.csv", "study_id,series_id,image_id,laterality,view_position,height,width,"
          "breast_birads,breast_density,split", lines[::-1] if shuffled else lines)


def rsna(root):
    lines = []
    for patient in (10006, 10011):
        for number, (side, view) in enumerate([*VIEWS, ("L", "AT")]):
            image = 462822612 + number
            dicom(root / "train_images" / str(patient) / f"{image}.dcm", side=side)
            lines.append((2, patient, image, side, view, 61.0, 0, 0, 0, {"L": "", "R": "2.0"}[side],
                          int(patient == 10011), "C", 29, False))
    table(root / "train.csv", "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,"
          "density,machine_id,difficult_negative_case", lines)


CBIS_HEADER = ("patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,"
               "mass margins,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path")


def cbis(root):
    """One case of each way in which the downloader names folders."""
    lines, metadata = [], []
    for patient, style in (("P_00001", "classic"), ("P_00002", "metadata"), ("P_00003", "names")):
        for view in ("CC", "MLO"):
            case = f"Mass-Training_{patient}_LEFT_{view}"
            series = f"1.3.6.1.4.1.9590.100.1.2.{patient[-1]}{len(view)}"
            named = f"{case}/07-20-2016-DDSM-NA-74994/1.000000-" + (
                "24515" if style == "metadata" else "full mammogram images-24515")
            folder = f"{case}/1.3.6.1.4.1.9590.1/{series}" if style == "classic" else named
            dicom(root / "CBIS-DDSM" / folder / "1-1.dcm")
            dicom(root / "CBIS-DDSM" / f"{case}_1/07-20-2016-DDSM-NA-1/1.000000-ROI mask images-2" / "1-1.dcm")
            if style == "metadata":
                metadata.append((series, "CBIS-DDSM", f"1.3.6.1.4.1.9590.1,.\\CBIS-DDSM\\{named}".replace("/", "\\")))
            for lesion, grade in ((1, 2), (2, 4 if patient == "P_00001" and view == "MLO" else 1)):
                lines.append((patient, 3, "LEFT", view, lesion, "mass", "OVAL", "OBSCURED", grade, "BENIGN", 4,
                              f"{case}/1.3.6.1.4.1.9590.1/{series}/000000.dcm", "crop.dcm", "mask.dcm"))
    table(root / "metadata.csv", "Series UID,Collection,Study UID,File Location", metadata)
    table(root / "mass_case_description_train_set.csv", CBIS_HEADER, lines)
    for name in ("mass_case_description_test", "calc_case_description_train", "calc_case_description_test"):
        table(root / f"{name}_set.csv", CBIS_HEADER, [])


def cmmd(root):
    for patient in ("D1-0001", "D2-0002"):
        for number, (side, view) in enumerate(VIEWS, start=1):
            dicom(root / "CMMD" / patient / "07-18-2010-NA-NA-79377/1.000000-NA-70244" / f"1-{number}.dcm",
                  patient=patient, study=f"1.3.{patient[-1]}", side=side, view=view)
    table(root / "metadata.csv", "Series UID,Subject ID,File Location", [])


def inbreast(root):
    lines = []
    for number, (side, view) in enumerate(VIEWS * 2):
        patient = "6c613a14b80a8591" if number < 4 else "SECRETb80a8591"
        dicom(root / "AllDICOMs" / f"{20586908 + number}_{patient}_MG_{side}_{view}_ANON.dcm", side=side)
        lines.append(("removed", "removed", side, view, 201001, 20586908 + number, 2 if side == "L" else "     ",
                      "4a" if number else 2))
    table(root / "INbreast.csv", "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads",
          lines, sep=";")


def embed(root):
    images, findings = [], []
    for patient in ("SECRET66685715", "SECRET66685716"):
        density = "4.0" if patient.endswith("5") else "5.0"  # 5: a man's
        findings += [(patient, f"{patient}9.0", "L", "B", density), (patient, f"{patient}9.0", "", "N", ""),
                     (patient, f"{patient}9.0", "R", "S", density)]
        for number, (side, view) in enumerate(VIEWS):
            below = f"cohort_1/{patient}/1.2.847/1.2.844/1.2.826.{number}.dcm"
            dicom(root / "images" / below, side=side)
            images.append((patient, f"{patient}9", f"/mnt/NAS2/mammo/anon_dicom/{below}", side, view, "2D", ""))
        for kind, spot in (("C-view", ""), ("2D", "1.0")):
            dicom(root / "images" / f"cohort_1/{patient}/{kind}.dcm")
            images.append((patient, f"{patient}9", f"x/cohort_1/{patient}/{kind}.dcm", "L", "CC", kind, spot))
    table(root / "tables" / "EMBED_OpenData_metadata.csv",
          "empi_anon,acc_anon,anon_dicom_path,ImageLateralityFinal,ViewPosition,FinalImageType,spot_mag", images)
    table(root / "tables" / "EMBED_OpenData_clinical.csv", "empi_anon,acc_anon,side,asses,tissueden", findings)


def csaw(root):
    lines = []
    for patient in ("00004", "SECRET5"):
        for number, (side, view) in enumerate([*VIEWS, ("L", "CC")], start=1):
            name = f"{patient}_20990909_{side}_{view}_{number}.dcm"
            dicom(root / f"package{patient[-1]}" / "images" / name, side=side, view=view)
            lines.append((patient, 2013 if number < 5 else 2015, 0, {"L": "Left", "R": "Right"}[side], view, name, 31))
    table(root / "CSAW-CC_breast_cancer_screening_data.csv", "anon_patientid,exam_year,x_case,imagelaterality,"
          "viewposition,anon_filename,libra_percentdensity", lines)


def folder(root):
    for patient, study in (("SECRET01", "1.2.3.1"), ("SECRET01", "1.2.3.2"), ("SECRET02", "1.2.3.3")):
        for side, view in VIEWS:
            dicom(root / "Doe" / patient / study / f"{side}{view}", patient=patient, study=study, side=side, view=view,
                  BreastImplantPresent="YES" if patient == "SECRET02" else "NO")
    dicom(root / "a" / "1", view="ML")
    dicom(root / "a" / "2", modifier="R-102D6")
    dicom(root / "a" / "3", SOPClassUID=PROCESSING)
    dicom(root / "a" / "4", Modality="US")
    dicom(root / "a" / "5", NumberOfFrames=20)
    dicom(root / "a" / "6", side="")
    dicom(root / "a" / "7", patient="")
    (root / "a" / "notes.txt").write_text("Jane Doe")


ARCHIVES = {"vindr": vindr, "rsna": rsna, "cbis": cbis, "cmmd": cmmd, "inbreast": inbreast, "embed": embed,
            "csaw": csaw, "folder": folder}


def build(source, root, **options):
    return build_manifest(source, root, root / "manifest.csv", progress=False, **options)
