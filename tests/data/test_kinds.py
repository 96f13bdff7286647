"""Which images are mammograms for the study: known kinds are taken or left out with a reason, others are named."""

import pandas as pd
import pytest
from dicom_files import breast_codes, write_mammogram
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mammorgb_utils.data import kinds
from mammorgb_utils.data.archives import build_manifest
from mammorgb_utils.data.dicom import RejectedImage, read_mammogram
from mammorgb_utils.data.headers import FOR_PRESENTATION, FOR_PROCESSING
from mammorgb_utils.data.quality import find_odd, image_facts


def header(**tags) -> Dataset:
    dataset = Dataset()
    dataset.Modality, dataset.SOPClassUID = "MG", FOR_PRESENTATION
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def code_of(**tags):
    problem = kinds.rejection(header(**tags))
    return problem and problem[0]


@pytest.mark.parametrize(("stored", "modality", "expected"), [
    (FOR_PRESENTATION, "MG", None), (FOR_PROCESSING, "MG", None), (FOR_PRESENTATION, "REMOVED", None),
    (uid.SecondaryCaptureImageStorage, "MG", None), (uid.SecondaryCaptureImageStorage, "OT", None),
    (uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "MG", None),
    (uid.ComputedRadiographyImageStorage, "MG", None), (uid.ComputedRadiographyImageStorage, "CR", "not_mammography"),
    (uid.BreastTomosynthesisImageStorage, "MG", "tomosynthesis"),
    (uid.BreastProjectionXRayImageStorageForPresentation, "MG", "tomosynthesis"),
    (uid.BreastProjectionXRayImageStorageForProcessing, "MG", "tomosynthesis"),
    (uid.CTImageStorage, "MG", "not_mammography"), (uid.MRImageStorage, "MG", "not_mammography"),
    (uid.UltrasoundImageStorage, "US", "not_mammography"), (uid.EncapsulatedPDFStorage, "MG", "not_mammography"),
    (uid.DigitalXRayImageStorageForPresentation, "MG", None),
    (uid.DigitalXRayImageStorageForPresentation, "DX", "not_mammography"),
    ("1.2.826.0.1.3680043.9.1", "MG", None), ("", "MG", None), ("", "", "not_mammography")])
def test_classes_of_mammograms_are_taken_and_of_other_images_not(stored, modality, expected):
    assert code_of(SOPClassUID=stored, Modality=modality) == expected


def test_a_computed_radiograph_with_a_mammographic_view_is_one():
    assert code_of(SOPClassUID=uid.ComputedRadiographyImageStorage, Modality="CR", ViewPosition="MLO") is None


@pytest.mark.parametrize(("words", "expected"), [
    ("TOMO_PROJ", "tomosynthesis"), ("TOMOSYNTHESIS", "tomosynthesis"), ("TOMO", "tomosynthesis"),
    ("MAXIMUM", "tomosynthesis"), ("SLAB", "tomosynthesis"), ("VOLUME", "tomosynthesis"),
    ("TOMOSYNTHESIS\\GENERATED_2D", "derived"), ("\\GENERATED_2D", "derived"), ("SUBTRACTION", "derived"),
    ("SYNTHETIC_2D", "derived"), ("C-VIEW", "derived"), ("VOLUME_PREVIEW", "derived"),
    ("STEREO_SCOUT", "biopsy"), ("STEREO_MINUS", "biopsy"), ("TOMO_SCOUT", "biopsy"), ("PREFIRE", "biopsy"),
    ("POSTFIRE", "biopsy"), ("POSTBIOPSY", "biopsy"), ("POSTMARKER", "biopsy"), ("LOCALIZATION", "biopsy"),
    ("POST_CONTRAST\\\\HIGH_ENERGY", "contrast"), ("\\LOW_ENERGY", "contrast"), ("\\RECOMBINED", "contrast"),
    ("SPECIMEN", "specimen"), ("CALIBRATION", "quality_control"),
    ("", None), ("NONE", None), ("LEFT", None), ("POST_PROCESSED\\\\150000", None)])
def test_image_type_tells_the_kind_from_its_third_value_on(words, expected):
    assert code_of(ImageType=["DERIVED", "PRIMARY", *words.split("\\")]) == expected
    assert not kinds.doubts(header(ImageType=["DERIVED", "PRIMARY", *(words if not expected else "").split("\\")]))


@pytest.mark.parametrize(("description", "expected"), [
    ("L CC C-View", "derived"), ("S-View", "derived"), ("ROUTINE3D_V-Preview_RMLO", "derived"),
    ("Insight 2D L MLO", "derived"), ("R CC Intelligent 2D", "derived"), ("Synthesized 2D", "derived"),
    ("L MLO Tomosynthesis Reconstruction", "tomosynthesis"), ("ROUTINE3D_Planes_RMLO", "tomosynthesis"),
    ("ROUTINE3D_Slabs_LCC", "tomosynthesis"), ("Breast DBT", "tomosynthesis"),
    ("Stereo scout", "biopsy"), ("R CC wire localization", "biopsy"), ("CESM L CC", "contrast"),
    ("R MLO Clarity HD", "tomosynthesis"),
    ("L CC SmartSlices", "tomosynthesis"), ("ACR phantom", "quality_control"), ("Specimen radiography", "specimen"),
    ("L CC", None), ("MAMMOSCREENING 1E LEZING", None), ("R CC VIEW", None), ("Standard Screening - CC", None),
    ("", None)])
def test_makers_words_in_the_series_description_tell_the_kind(description, expected):
    assert code_of(SeriesDescription=description) == expected


def test_a_tag_of_tomosynthesis_and_a_breast_are_known():
    assert code_of(TomoClass="TOMOSYNTHESIS") == "tomosynthesis"
    assert not kinds.doubts(header(BodyPartExamined="BREAST")) and not kinds.doubts(header(BodyPartExamined="REMOVED"))


def test_quality_control_images_and_specimens_are_left_out_and_placeholders_are_none():
    assert code_of(QualityControlImage="YES") == "quality_control" and code_of(QualityControlImage="NO") is None
    item = Dataset()
    item.SpecimenIdentifier = "7"
    assert code_of(SpecimenDescriptionSequence=Sequence([item])) == code_of(ContainerIdentifier="7") == "specimen"
    item.SpecimenIdentifier = "Anonymous"
    assert code_of(SpecimenDescriptionSequence=Sequence([item]), ContainerIdentifier="REMOVED") is None


@pytest.mark.parametrize(("tags", "sentence"), [
    ({"SOPClassUID": uid.DigitalXRayImageStorageForPresentation}, "SOP class isn't known"),
    ({"SOPClassUID": ""}, "SOP class isn't known"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "LARSSON"]}, "Image Type holds a word that isn't known"),
    ({"BodyPartExamined": "CHEST"}, "body part"), ({"ContrastBolusAgent": "Iohexol"}, "contrast agent")])
def test_what_is_neither_known_good_nor_bad_is_used_and_named(tags, sentence, tmp_path):
    (told,) = kinds.doubts(header(**tags))
    assert sentence in told and "LARSSON" not in told
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), **tags)
    assert told in read_mammogram(path).conflicts
    facts = image_facts(path, 512, "reject")
    assert facts["doubts"] == told and told not in facts["conflicts"]


def test_a_folder_is_listed_by_kind_and_the_unknown_is_counted(tmp_path):
    for number, words in enumerate(([], ["TOMO_PROJ"], ["", "RECOMBINED"], ["ODD"])):
        for view in ("CC", "MLO"):
            write_mammogram(tmp_path / f"{number}{view}.dcm", breast_codes(view=view), ViewPosition=view,
                            PatientID=str(number), StudyInstanceUID="1.2.3", ImageType=["ORIGINAL", "PRIMARY", *words],
                            RescaleIntercept=number, RescaleSlope=1)
    summary = build_manifest("folder", tmp_path, tmp_path / "manifest.csv", progress=False)
    assert len(summary.manifest) == 4
    assert summary.skipped["tomosynthesis"] == summary.skipped["contrast"] == 2
    assert sum(count for reason, count in summary.skipped.items() if reason.startswith("kind of image not known")) == 2


def test_the_check_counts_unknown_kinds_under_a_heading_of_their_own(tmp_path):
    images = pd.DataFrame([image_facts(write_mammogram(tmp_path / f"{n}.dcm", breast_codes(), ImageType=kind), 512,
                                       "reject") | {"pair": "p", "view": "CC", "laterality": "L", "copies": ""}
                           for n, kind in enumerate((["ORIGINAL", "PRIMARY"], ["ORIGINAL", "PRIMARY", "ODD"]))])
    odd = find_odd(images)
    assert odd.loc[odd["reason"] == "Kind of image not known here", "image"].tolist() == [1]


def test_the_reader_gives_the_code(tmp_path):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), ImageType=["ORIGINAL", "PRIMARY", "TOMO_PROJ", "NONE"])
    with pytest.raises(RejectedImage, match="tomosynthesis: it is a projection"):
        read_mammogram(path)
