"""What a header says: side, view, orientation and kind, each from every tag that states it."""

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mammorgb_utils.data import headers, kinds, orientation


def code(value: str, **content) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", content.pop("meaning", "")
    for name, inner in content.items():
        setattr(item, name, Sequence(inner))
    return item


def header(**tags) -> Dataset:
    dataset = Dataset()
    dataset.Modality, dataset.SOPClassUID = "MG", headers.FOR_PRESENTATION
    for name, value in tags.items():
        setattr(dataset, name, Sequence(value) if isinstance(value, list) and name.endswith("Sequence") else value)
    return dataset


@pytest.mark.parametrize(("tags", "view", "conflicts"), [
    ({"ViewPosition": "CC"}, "CC", 0),
    ({"ViewPosition": "MLO "}, "MLO", 0),
    ({"ViewPosition": "ML"}, "other", 0),
    ({}, None, 0),
    ({"ViewCodeSequence": [code("399368009")]}, "MLO", 0),
    ({"ViewCodeSequence": [code("R-10242")], "ViewPosition": "CC"}, "CC", 0),
    ({"ViewCodeSequence": [code("R-10242")], "ViewPosition": "MLO"}, "CC", 1),
    ({"ViewCodeSequence": [code("R-10224")], "ViewPosition": "CC"}, "other", 1),
    ({"ViewCodeSequence": [code("")], "ViewPosition": "CC"}, "CC", 0),
])
def test_the_view_is_read_from_code_or_position(tags, view, conflicts):
    found, sentences = headers.view_of(header(**tags))
    assert found == view and len(sentences) == conflicts


@pytest.mark.parametrize(("tags", "side", "conflicts"), [
    ({"ImageLaterality": "R"}, "R", 0),
    ({"Laterality": "L"}, "L", 0),
    ({"ImageLaterality": "R", "Laterality": "L"}, "R", 1),
    ({"ImageLaterality": "B"}, "both", 0),
    ({"AnatomicRegionSequence": [code("T-04000", AnatomicRegionModifierSequence=[code("G-A101")])]}, "L", 0),
    ({"ImageLaterality": "R", "AnatomicRegionSequence":
        [code("T-04000", AnatomicRegionModifierSequence=[code("7771000")])]}, "R", 1),
    ({"ImageLaterality": "U"}, None, 0),
])
def test_the_side_is_read_from_every_tag_that_states_it(tags, side, conflicts):
    found, sentences = headers.laterality_of(header(**tags))
    assert found == side and len(sentences) == conflicts


@pytest.mark.parametrize(("tags", "wall", "conflicts"), [
    ({"PatientOrientation": ["A", "R"], "ImageLaterality": "L"}, "left", 0),
    ({"PatientOrientation": ["P", "FL"], "ImageLaterality": "R"}, "right", 0),
    ({"PatientOrientation": ["P", "L"], "ImageLaterality": "L"}, "right", 1),
    ({"PatientOrientation": ["A", "FR"]}, "left", 0),
    ({"PatientOrientation": ""}, None, 0),
    ({"PatientOrientation": ["H", "F"], "ImageLaterality": "R"}, "right", 0),
    ({}, None, 0),
])
def test_the_chest_walls_side_follows_orientation_then_laterality(tags, wall, conflicts):
    found, sentences = orientation.chest_wall_by_tags(header(**tags))
    assert found == wall and len(sentences) == conflicts


def view_with(*modifiers: Dataset) -> dict:
    return {"ViewCodeSequence": [code("R-10242", ViewModifierCodeSequence=list(modifiers))]}


@pytest.mark.parametrize(("tags", "expected"), [
    ({}, None),
    ({"Modality": "CT"}, "not_mammography"),
    ({"Modality": "", "SOPClassUID": uid.SecondaryCaptureImageStorage}, None),
    ({"Modality": "RG", "SOPClassUID": uid.SecondaryCaptureImageStorage}, None),
    ({"Modality": "US", "SOPClassUID": uid.SecondaryCaptureImageStorage}, "not_mammography"),
    ({"NumberOfFrames": 40}, "not_single_frame"),
    ({"SamplesPerPixel": 3}, "not_greyscale"),
    ({"ContainerIdentifier": "7"}, "specimen"),
    (view_with(code("1", meaning="Specimen radiography")), "specimen"),
    (view_with(code("R-102D6", meaning="Magnification")), "modified_view"),
    (view_with(code("R-102D7", meaning="Spot compression")), "modified_view"),
    ({"ViewModifierCodeSequence": [code("R-102D7")]}, "modified_view"),
    (view_with(code("R-102D5", meaning="Implant displaced")), None),
    (view_with(), None),
    (view_with(code("")), None),
    ({"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]}, "derived"),
    ({"ImageType": ["DERIVED", "PRIMARY"]}, None),
    ({"EstimatedRadiographicMagnificationFactor": "1.8"}, "modified_view"),
    ({"EstimatedRadiographicMagnificationFactor": "1.07"}, None),
])
def test_what_isnt_a_plain_mammogram_has_a_code_and_a_sentence(tags, expected):
    problem = kinds.rejection(header(**tags))
    assert (problem and problem[0]) == expected and (problem is None or len(problem[1].split()) > 3)


def test_a_displaced_implant_is_an_implant():
    assert headers.implant_of(header(**view_with(code("R-102D5")))) is True
    assert headers.implant_of(header(BreastImplantPresent="NO")) is False
    assert headers.implant_of(header()) is None


@pytest.mark.parametrize(("tags", "expected"), [
    ({}, "MONOCHROME2"), ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
    ({"PhotometricInterpretation": "RGB"}, "MONOCHROME2")])
def test_a_header_without_photometric_interpretation_keeps_its_other_facts(tags, expected):
    assert headers.photometric_of(header(**tags)) == expected


def test_burnt_in_text_and_partial_views_are_listed():
    assert "burnt-in text" in headers.warnings_of(header(BurnedInAnnotation="YES"))[0]
    assert "partial view" in headers.warnings_of(header(PartialView="YES"))[0]
    assert headers.warnings_of(header(BurnedInAnnotation="NO")) == headers.warnings_of(header()) == ()


@pytest.mark.parametrize(("maker", "model", "shown"), [
    ("HOLOGIC, Inc.", "Selenia Dimensions", "Hologic Selenia Dimensions"),
    ("GE MEDICAL SYSTEMS", "Senographe Pristina", "GE Senographe Pristina"),
    ("Anna Larsson", "Selenia of Dr Larsson", "Selenia"),
    ("", "", "unknown scanner"),
])
def test_scanners_are_named_in_known_words_only(maker, model, shown):
    assert headers.scanner_of(header(Manufacturer=maker, ManufacturerModelName=model)) == shown
