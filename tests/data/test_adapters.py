"""Archives in their own layouts: what their manifests say, what they never say, and what a user's mistake is told."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from mammorgb_utils.cli import main
from mammorgb_utils.data.archives import ADAPTERS, AdapterError, build_manifest
from mammorgb_utils.data.archives.base import Listing, worst_grade
from mammorgb_utils.data.batch import checksums
from mammorgb_utils.data.manifest import ManifestError, load_manifest
from mammorgb_utils.runs import sha256

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


@pytest.fixture(params=ARCHIVES)
def archive(request, tmp_path):
    ARCHIVES[request.param](tmp_path / "ARCHIVE")
    return request.param, tmp_path / "ARCHIVE"


EXPECTED = {  # images, pairs, patients, exams, images by BI-RADS
    "vindr": (16, 8, 4, 4, {"2": 8, "4": 8}), "rsna": (8, 4, 2, 2, {"2": 4, "": 4}),
    "cbis": (6, 3, 3, 3, {"2": 4, "4": 2}), "cmmd": (8, 4, 2, 2, {"": 8}), "inbreast": (8, 4, 2, 2, {"2": 1, "4": 7}),
    "embed": (8, 4, 2, 2, {"2": 4, "4": 4}), "csaw": (10, 4, 2, 4, {"": 10}), "folder": (12, 6, 2, 3, {"": 12}),
}


def test_every_archive_gives_its_images_pairs_patients_and_grades(archive):
    source, root = archive
    build(source, root)
    frame = load_manifest(root / "manifest.csv")
    grades = frame["birads"].astype("string").fillna("").value_counts().to_dict()
    assert (len(frame), int((frame.groupby("pair")["view"].nunique() == 2).sum()), frame["patient"].nunique(),
            len(frame[["patient", "exam"]].drop_duplicates()), grades) == EXPECTED[source]
    assert set(frame["source"]) == {source}
    assert [sha256(root / path) for path in frame["path"]] == frame["sha256"].tolist()


def test_sides_views_and_files_belong_together(archive):
    source, root = archive
    build(source, root)
    frame = load_manifest(root / "manifest.csv")
    for row in frame.itertuples():
        assert row.pair == f"{row.patient}_{row.exam}_{row.laterality}"
        if source in ("vindr", "inbreast", "csaw", "folder"):  # their file names say it too
            assert re.search(f"{row.laterality}_?{row.view}[._]?", row.path.rsplit("/", 1)[1])
        if source == "cbis":
            assert f"LEFT_{row.view}/" in row.path and "mask" not in row.path


DENSITIES = {"vindr": {"C": 16}, "rsna": {"C": 8}, "cbis": {"C": 6}, "inbreast": {"B": 4, "": 4},
             "embed": {"D": 4, "": 4}}


def test_density_is_the_archives_own_or_no_column_at_all(archive):
    source, root = archive
    summary = build(source, root)
    frame = load_manifest(root / "manifest.csv")
    assert ("density" in frame) == (source in DENSITIES)
    if source in DENSITIES:
        assert frame["density"].value_counts().to_dict() == DENSITIES[source]
        assert not any("density" in reason for reason in summary.skipped)


@pytest.mark.parametrize(("text", "letter"), [("C", "C"), ("DENSITY D", "D"), ("3", "C"), ("1.0", "A"), ("ACR 2", "B"),
                                              ("", ""), ("0", ""), ("5", ""), ("fatty", "")])
def test_forms_of_a_density(text, letter):
    listing = Listing()
    assert listing.density(text) == letter
    assert sum(listing.skipped.values()) == (not letter and text != "")


def test_grade_of_a_breast_is_its_worst_findings(tmp_path):
    cbis(tmp_path)
    build("cbis", tmp_path)
    frame = load_manifest(tmp_path / "manifest.csv")
    first = frame["path"].str.contains("P_00001")
    assert frame[first]["birads"].tolist() == [4, 4] and frame[~first]["birads"].tolist() == [2] * 4


def test_a_film_with_two_lesions_is_one_image(tmp_path):
    cbis(tmp_path)
    summary = build("cbis", tmp_path)
    assert len(summary.manifest) == 6 and not summary.skipped and not summary.missing


def test_each_side_has_its_own_grade_in_embed(tmp_path):
    embed(tmp_path)
    assert set(build("embed", tmp_path).skipped) == {"not a plain 2D mammogram", "spot or magnification view"}
    frame = load_manifest(tmp_path / "manifest.csv")
    assert set(frame[frame["laterality"] == "L"]["birads"]) == {2}
    assert set(frame[frame["laterality"] == "R"]["birads"]) == {4}


@pytest.mark.parametrize(("grades", "worst"), [([2, 1], 2), ([0, 2], 0), ([0, 4], 4), ([3, 0], 0), ([None, 5], 5),
                                               ([6, 5], 6), ([None], None), ([], None)])
def test_order_of_grades(grades, worst):
    assert worst_grade(grades) == worst


@pytest.mark.parametrize(("text", "grade"), [("2", 2), ("2.0", 2), ("4a", 4), ("BI-RADS 5", 5), ("BIRADS_0", 0),
                                             ("", None), ("7", None), ("benign", None)])
def test_forms_of_a_grade(text, grade):
    listing = Listing()
    assert listing.grade(text) == grade
    assert sum(listing.skipped.values()) == (grade is None and text != "")


def test_implants_known_and_unknown(tmp_path):
    rsna(tmp_path / "r")
    vindr(tmp_path / "v")
    known = build("rsna", tmp_path / "r").manifest
    assert known["implant"].tolist() == known["path"].str.contains("10011").tolist()
    assert build("vindr", tmp_path / "v").manifest["implant"].isna().all()


def test_nothing_identifies_a_patient_but_the_path(archive, capsys):
    source, root = archive
    for secret in (None, b"0123456789abcdef"):
        summary = build(source, root, secret=secret, overwrite=True)
        written = pd.read_csv(root / "manifest.csv", dtype=str).drop(columns=["path", "sha256"]).to_csv()
        printed = "\n".join(summary.lines()) + "".join(capsys.readouterr())
        keys = PLANTED + ["1.2.3.", "10006", "10011", "P_0000", "D1-0001", "6c613a14", "20586908", "201001", "66685715",
                           "20990909"]
        for text in keys:
            assert text not in written and text not in printed, text


def test_patients_are_in_one_split_and_the_fraction_holds(tmp_path):
    vindr(tmp_path)
    for fraction, expected in ((0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)):
        frame = build("vindr", tmp_path, heldout_fraction=fraction, overwrite=True).manifest
        assert (frame.groupby("patient")["split"].nunique() == 1).all()
        assert frame[frame["split"] == "heldout"]["patient"].nunique() == expected
    with pytest.raises(AdapterError, match="--heldout-fraction: must lie within 0 and 1"):
        build("vindr", tmp_path, heldout_fraction=50)


@pytest.mark.parametrize("secret", [None, b"0123456789abcdef"])
def test_the_order_of_the_index_changes_nothing(tmp_path, secret):
    vindr(tmp_path)
    build("vindr", tmp_path, secret=secret)
    first = (tmp_path / "manifest.csv").read_bytes()
    vindr(tmp_path, shuffled=True)
    build("vindr", tmp_path, secret=secret, overwrite=True)
    assert (tmp_path / "manifest.csv").read_bytes() == first


def test_secret_and_seed_decide_the_names(tmp_path):
    vindr(tmp_path)

    def names(**options):
        frame = build("vindr", tmp_path, overwrite=True, **options).manifest
        return dict(zip(frame["path"], frame["patient"], strict=True))

    assert set(names().values()) == {"P00001", "P00002", "P00003", "P00004"}
    assert len({frozenset(names(seed=seed).items()) for seed in range(6)}) > 1
    keyed = names(secret=b"0123456789abcdef")
    assert keyed == names(secret=b"0123456789abcdef", seed=9)
    assert not set(keyed.values()) & set(names(secret=b"0123456789abcdeg").values())
    shutil.rmtree(tmp_path / "images" / "SECRETstudy0")
    assert names(secret=b"0123456789abcdef").items() <= keyed.items()


def test_the_archives_own_split_only_when_asked(tmp_path):
    vindr(tmp_path / "v")
    frame = build("vindr", tmp_path / "v", archive_split=True).manifest
    assert frame.groupby("split")["patient"].nunique().to_dict() == {"heldout": 3, "train": 1}
    rsna(tmp_path / "r")
    with pytest.raises(AdapterError, match="--archive-split: rsna states no split"):
        build("rsna", tmp_path / "r", archive_split=True)


def test_what_a_folder_holds_beside_mammograms_is_counted(tmp_path):
    folder(tmp_path)
    skipped = build("folder", tmp_path).skipped
    assert sum(skipped.values()) == 8 and set(skipped.values()) == {1}
    assert set(skipped) == {"view neither CC nor MLO", "modified view", "for processing, not for presentation",
                            "not a DICOM file", "not mammography", "not single frame", "side neither L nor R",
                            "no patient stated"}
    assert build("folder", tmp_path).skipped["not a DICOM file"] == 2  # the manifest itself, too


@pytest.mark.parametrize("group", ["study", "folder"])
@pytest.mark.parametrize("name", ["Anonymous", ""])
def test_one_patient_id_for_all_files_is_no_patient(tmp_path, group, name):
    for woman in range(4):
        for side, view in VIEWS:
            dicom(tmp_path / f"SECRET{woman}" / f"{side}{view}", patient=name, side=side, view=view,
                  study=f"1.2.3.{woman if group == 'study' else 1}")
    summary = build("folder", tmp_path)
    assert summary.manifest["patient"].nunique() == 4 and summary.manifest.groupby("pair")["view"].nunique().eq(2).all()
    assert summary.manifest.groupby("patient")["path"].agg(lambda paths: paths.str[:7].nunique()).eq(1).all()
    assert any(f"each {group} counts as a patient" in line for line in summary.lines())


def test_films_of_cbis_are_pairs_by_their_patient_id(tmp_path):
    """As TCIA ships them: no view but in PatientID and Patient Orientation, a study a film."""
    for number, (side, view) in enumerate([*VIEWS, ("R", "CC_1")]):
        name = f"Calc-Training_P_00042_{'LEFT' if side == 'L' else 'RIGHT'}_{view}"
        dicom(tmp_path / name / "1-1.dcm", patient=name, study=f"1.2.3.{number}", side=side, ViewCodeSequence=None,
              PatientOrientation=view)
    summary = build("folder", tmp_path)
    assert summary.manifest.groupby("pair")["view"].agg(sorted).tolist() == [["CC", "MLO"]] * 2
    assert summary.manifest["patient"].nunique() == 1 and summary.skipped == {"no view stated": 1}


def test_one_womans_views_stay_together(tmp_path):
    for side, view in VIEWS:
        dicom(tmp_path / "images" / f"{side}{view}" / "1.dcm", side=side, view=view)
    summary = build("folder", tmp_path)
    assert summary.manifest["patient"].nunique() == 1 and not summary.notes


def test_an_archive_that_lists_nothing_says_why(tmp_path):
    for number, view in enumerate(("CC", "MLO", "ML")):
        tags = {} if view == "ML" else {"ViewCodeSequence": None, "PatientOrientation": view}
        dicom(tmp_path / f"{number}.dcm", view=view, **tags)
    with pytest.raises(AdapterError, match=r"\(0 listed, 0 files missing; 2 × no view stated; 1 × view neither CC nor"):
        build("folder", tmp_path)


def test_files_that_pair_nowhere_are_told(tmp_path):
    for number, view in enumerate(("CC", "MLO")):
        dicom(tmp_path / f"{number}.dcm", view=view, patient=f"SECRET{number}")
    assert "No breast has both views: files name different patients" in build("folder", tmp_path).lines()[-1]


def test_archives_as_their_hosts_ship_them(tmp_path):
    cmmd(tmp_path / "c" / "manifest-1616439774456")
    assert len(build("cmmd", tmp_path / "c").manifest) == 8
    inbreast(tmp_path / "i" / "INbreast Release 1.0")
    index = tmp_path / "i" / "INbreast Release 1.0" / "INbreast.csv"
    first = build("inbreast", tmp_path / "i").manifest
    rewritten = re.sub(r"(\d{8});", r"\1.0;", index.read_text()).replace(";", ",")  # a spreadsheet saved it anew
    index.write_text(rewritten, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(build("inbreast", tmp_path / "i").manifest, first)
    index.rename(index.with_suffix(".xls"))
    with pytest.raises(AdapterError, match=r"^INbreast.xls: save its sheet as INbreast.csv beside it"):
        build("inbreast", tmp_path / "i")
    embed(tmp_path / "e")
    for path in (tmp_path / "e" / "tables").iterdir():
        path.rename(path.with_name(path.stem.replace("OpenData", "OpenData_NUS_Datathon") + "_reduced.csv"))
    assert len(build("embed", tmp_path / "e").manifest) == 8


def test_negatives_that_embed_implies_only_when_asked(tmp_path):
    embed(tmp_path)
    findings = [("p", "SECRET666857159", "L", "B", "MG Screening Bilateral"),
                ("p", "SECRET666857169", "R", "S", "MG Left")]
    table(tmp_path / "tables" / "EMBED_OpenData_clinical.csv", "empi_anon,acc_anon,side,asses,desc", findings)

    def grades(**options):
        frame = build("embed", tmp_path, overwrite=True, **options).manifest
        return frame["birads"].astype("string").fillna("").value_counts().to_dict()

    assert grades() == {"2": 2, "4": 2, "": 4} and grades(implied_negatives=True) == {"2": 2, "1": 2, "4": 2, "": 2}
    with pytest.raises(AdapterError, match="--implied-negatives: only embed"):
        build("vindr", tmp_path, implied_negatives=True)


def test_patients_whom_tcia_cannot_tell_apart_are_left_out(tmp_path):
    cmmd(tmp_path)
    for patient in ("D1-0202", "D2-0284"):
        dicom(tmp_path / "CMMD" / patient / "1-1.dcm", patient=patient)
    summary = build("cmmd", tmp_path)
    assert len(summary.manifest) == 8 and sum(summary.skipped.values()) == 2


@pytest.mark.parametrize(("split", "left"), [("train", 15), ("heldout", 12)])
def test_a_copy_under_another_patient_goes_and_the_patient_too_where_she_is_on_both_sides(tmp_path, split, left):
    vindr(tmp_path)
    women = build("vindr", tmp_path).manifest.groupby("split")["path"].agg(["min", "max"])
    first, other = (re.search(r"study(\d)", path)[1] for path in (women.loc["train", "min"], women.loc[split, "max"]))
    images = tmp_path / "images"
    shutil.copy(images / f"SECRETstudy{first}" / f"SECRETimage{first}LCC.dicom",
                images / f"SECRETstudy{other}" / f"SECRETimage{other}LCC.dicom")
    summary = build("vindr", tmp_path, overwrite=True)
    assert summary.skipped["same content as another file"] == 1
    assert summary.skipped["of a patient who is on the other side of the split under another name"] == 15 - left
    assert len(summary.manifest) == left and summary.manifest["sha256"].is_unique


@pytest.mark.parametrize("uid", ["", "REMOVED"])
def test_without_a_study_each_folder_is_a_visit(tmp_path, uid):
    for visit, views in (("2019", ("CC",)), ("2021", ("CC", "MLO"))):
        for view in views:
            dicom(tmp_path / "a" / visit / view, view=view, study=uid)
    summary = build("folder", tmp_path)
    pairs = summary.manifest.groupby("pair")["path"].agg(list)
    assert sorted(map(len, pairs)) == [1, 2] and all("2021" in path for path in max(pairs, key=len))
    assert "3 files state no study: each folder counts as one" in summary.lines()


def test_a_folder_an_image_without_a_study_is_no_visit(tmp_path):
    for view in ("CC", "MLO"):
        dicom(tmp_path / "a" / view / "1-1.dcm", view=view, study="")
    summary = build("folder", tmp_path)
    assert summary.manifest["pair"].nunique() == 1
    assert any(line.startswith("2 files state no study: all of one patient") for line in summary.lines())


def test_linked_folders_are_read_once_and_closed_ones_counted(tmp_path, monkeypatch):
    archive, disk = tmp_path / "archive", tmp_path / "disk"
    for place, patient in ((archive / "a", "1"), (disk, "2")):
        for view in ("CC", "MLO"):
            dicom(place / view, patient=patient, view=view)
    (archive / "linked").symlink_to(disk)
    (archive / "a" / "round").symlink_to(archive)
    summary = build("folder", archive)
    assert summary.manifest["patient"].nunique() == 2 and len(summary.manifest) == 4
    walk = os.walk

    def closed(place, onerror, **options):
        onerror(PermissionError(13, "Permission denied", "/SECRET"))
        return walk(place, **options)

    monkeypatch.setattr(os, "walk", closed)
    lines = build("folder", archive).lines()
    assert any("1 × folder that can't be opened" in line for line in lines) and "SECRET" not in str(lines)


def test_an_image_in_a_closed_folder_is_counted_as_missing(tmp_path, monkeypatch):
    vindr(tmp_path)
    plain, stat = os.path.isfile, Path.stat
    monkeypatch.setattr(os.path, "isfile", lambda path: "SECRETimage1LCC" not in str(path) and plain(path))

    def refuses(self, **options):
        if "SECRETimage1LCC" in str(self):
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", refuses)
    assert build("vindr", tmp_path).missing == {"breast-level_annotations.csv": [6]}


def test_parts_of_a_download_are_not_taken_for_the_whole(tmp_path):
    for part in ("manifest-1", "manifest-2"):
        cmmd(tmp_path / part)
    with pytest.raises(AdapterError, match="CMMD: found 2 times below ROOT, as parts of a download"):
        build("cmmd", tmp_path)
    assert len(build("cmmd", tmp_path / "manifest-1").manifest) == 8


def test_an_index_with_a_comma_at_its_rows_ends_is_told(tmp_path):
    vindr(tmp_path)
    index = tmp_path / "breast-level_annotations.csv"
    header, *lines = index.read_text().splitlines()
    index.write_text("\n".join([header, *(f"{line}," for line in lines)]))
    with pytest.raises(AdapterError, match="breast-level_annotations.csv: a row has more fields than the header"):
        build("vindr", tmp_path)


def test_an_unreadable_image_stops_without_its_name(tmp_path, monkeypatch):
    vindr(tmp_path)

    def refuses(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checksums, "sha256", refuses)
    with pytest.raises(AdapterError, match=r"^an image file can't be read \(Permission denied\); see to") as error:
        build("vindr", tmp_path)
    assert "SECRET" not in str(error.value)


def test_absent_images_are_counted_by_row(tmp_path):
    vindr(tmp_path)
    for path in sorted((tmp_path / "images" / "SECRETstudy1").iterdir())[:2]:
        path.unlink()
    summary = build("vindr", tmp_path)
    assert summary.missing == {"breast-level_annotations.csv": [6, 7]} and len(summary.manifest) == 14
    assert "missing files: 2, breast-level_annotations.csv rows 6, 7" in summary.lines()
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(AdapterError, match=r"no usable CC or MLO.*16 files missing.*expected images/<study_id>"):
        build("vindr", tmp_path)


INDEXES = [("vindr", "breast-level_annotations.csv", "breast_birads"), ("rsna", "train.csv", "BIRADS"),
           ("cbis", "calc_case_description_test_set.csv", "image file path"), ("inbreast", "INbreast.csv", "Bi-Rads"),
           ("embed", "tables/EMBED_OpenData_metadata.csv", "anon_dicom_path"),
           ("embed", "tables/EMBED_OpenData_clinical.csv", "asses"),
           ("csaw", "CSAW-CC_breast_cancer_screening_data.csv", "anon_filename")]


@pytest.mark.parametrize(("source", "index", "column"), INDEXES)
def test_a_missing_column_or_index_is_named_with_a_remedy(tmp_path, source, index, column):
    ARCHIVES[source](tmp_path)
    path, name = tmp_path / index, index.rsplit("/", 1)[-1]
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(AdapterError, match=f"^{name}, row 1: column '{column}' is missing; take the file"):
        build(source, tmp_path)
    path.unlink()
    with pytest.raises(AdapterError, match=f"{name}.*: not found; ROOT must be the archive's folder"):
        build(source, tmp_path)
    assert not (tmp_path / "manifest.csv").exists()


def test_an_index_that_is_no_table_or_is_there_twice(tmp_path):
    vindr(tmp_path)
    index = tmp_path / "breast-level_annotations.csv"
    (tmp_path / "copy").mkdir()
    shutil.copy(index, tmp_path / "copy")
    with pytest.raises(AdapterError, match="found 2 times below ROOT"):
        build("vindr", tmp_path)
    shutil.rmtree(tmp_path / "copy")
    index.write_bytes(b"")
    with pytest.raises(AdapterError, match="not a UTF-8 table"):
        build("vindr", tmp_path)


def test_cmmd_without_its_folder(tmp_path):
    with pytest.raises(AdapterError, match="CMMD: no such folder; ROOT must hold"):
        build("cmmd", tmp_path)


def test_an_archive_without_one_of_the_views_gets_a_manifest_that_no_study_takes(tmp_path):
    for side in "LR":
        dicom(tmp_path / "a" / side, side=side, view="CC")
    summary = build("folder", tmp_path)
    assert "no study can be made of it, but `mammorgb complete` draws absent views" in summary.lines()[-1]
    with pytest.raises(ManifestError, match="no row is MLO"):
        load_manifest(tmp_path / "manifest.csv")
    assert len(load_manifest(tmp_path / "manifest.csv", both_views=False)) == 2 and not list(tmp_path.glob(".new*"))


def test_the_manifest_must_lie_above_its_files_and_links_help(tmp_path):
    vindr(tmp_path / "disk" / "v")
    with pytest.raises(AdapterError, match="--out: must lie in ROOT or in a folder above it"):
        build_manifest("vindr", tmp_path / "disk" / "v", tmp_path / "data" / "m.csv", progress=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "v").symlink_to(tmp_path / "disk" / "v")
    frame = build_manifest("vindr", tmp_path / "data" / "v", tmp_path / "data" / "m.csv", progress=False).manifest
    assert frame["path"].str.startswith("v/images/").all()


def test_a_killed_call_continues_and_a_changed_file_is_read_again(tmp_path, monkeypatch):
    vindr(tmp_path)
    calls = []

    def counted(path, dies_after=None):
        calls.append(path)
        if dies_after is not None and len(calls) > dies_after:
            assert len(json.loads((tmp_path / ".mammorgb-cache" / "manifest.csv.json").read_text())) == dies_after
            raise KeyboardInterrupt
        return sha256(path)

    monkeypatch.setattr(checksums, "BATCH", 4)
    monkeypatch.setattr(checksums, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(checksums, "sha256", lambda path: counted(path, dies_after=8))
    with pytest.raises(KeyboardInterrupt):
        build("vindr", tmp_path)
    assert not (tmp_path / "manifest.csv").exists()
    calls.clear()
    monkeypatch.setattr(checksums, "sha256", counted)
    frame = build("vindr", tmp_path).manifest
    assert len(calls) == 8
    calls.clear()
    changed = tmp_path / frame["path"][3]
    changed.write_bytes(changed.read_bytes() + b"\0\0")
    again = build("vindr", tmp_path, overwrite=True).manifest
    assert calls == [changed] and again["sha256"][3] == sha256(changed) != frame["sha256"][3]
    cache = tmp_path / ".mammorgb-cache"
    assert (cache / ".gitignore").read_text() == "*\n"
    (cache / "manifest.csv.json").write_text("{broken")
    assert build("vindr", tmp_path).manifest["sha256"].tolist() == again["sha256"].tolist()


def test_a_manifest_that_differs_is_kept(tmp_path):
    vindr(tmp_path)
    build("vindr", tmp_path)
    before = (tmp_path / "manifest.csv").read_bytes()
    build("vindr", tmp_path)
    with pytest.raises(AdapterError, match="a manifest that differs.*--overwrite"):
        build("vindr", tmp_path, seed=1)
    assert (tmp_path / "manifest.csv").read_bytes() == before and not list(tmp_path.glob(".new*"))


def test_an_archive_without_grades_is_told_what_to_set(tmp_path):
    cmmd(tmp_path)
    assert "set accepted_birads or unknown_birads" in build("cmmd", tmp_path).lines()[-1]
    vindr(tmp_path / "v")
    assert build("vindr", tmp_path / "v").lines()[-1] == "BI-RADS: 2: 8, 4: 8"


def test_phantoms_come_back_as_they_were_made(cohort, tmp_path):
    """Headers written elsewhere: sides, views, implants and pairs are those of the cohort's own manifest."""
    made = cohort[1].set_index("path")
    (tmp_path / "p").symlink_to(cohort[0])
    summary = build_manifest("folder", tmp_path / "p", tmp_path / "m.csv", progress=False)
    read = summary.manifest.assign(path=summary.manifest["path"].str.removeprefix("p/")).set_index("path")
    made = made.loc[read.index]
    for column in ("laterality", "view", "implant", "sha256"):
        assert read[column].tolist() == made[column].tolist(), column
    both = pd.DataFrame({"made": made["pair"], "read": read["pair"]}).drop_duplicates()
    assert both["made"].is_unique and both["read"].is_unique
    assert len(read) + sum(summary.skipped.values()) - summary.skipped["not a DICOM file"] == len(cohort[1])


def test_the_command_knows_every_archive(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["manifest", "--help"])
    assert stopped.value.code == 0 and "{" + ",".join(ADAPTERS) + "}" in capsys.readouterr().out


def test_the_command(tmp_path, capsys):
    vindr(tmp_path / "v")
    secret = tmp_path / "secret"
    arguments = ["manifest", "vindr", str(tmp_path / "v"), "--secret-file", str(secret)]
    assert main(arguments) == 1 and "openssl rand" in capsys.readouterr().err
    secret.write_text("short\n")
    assert main(arguments) == 1 and "fewer than 16 bytes" in capsys.readouterr().err
    secret.write_text("0123456789abcdef0123456789abcdef\n")
    assert main(arguments) == 0
    printed = "".join(capsys.readouterr())
    assert "images: 16; breasts with both views: 8; patients: 4 (2 train, 2 heldout)" in printed
    assert "BI-RADS: 2: 8, 4: 8" in printed and "SECRET" not in printed and os.sep + "images" not in printed
    assert load_manifest(tmp_path / "v" / "manifest.csv")["patient"].str.fullmatch("P[0-9a-f]{16}").all()
    assert main(["manifest", "vindr", str(tmp_path / "nowhere")]) == 1
    assert "ROOT: no such folder" in capsys.readouterr().err
