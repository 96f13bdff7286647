"""Files as they come: words where numbers or sequences belong, no preamble, no transfer syntax, names not in UTF-8."""

import os
import sys

import numpy as np
import pydicom
import pytest
from dicom_files import breast_codes, write_mammogram
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mammorgb_utils.data import headers
from mammorgb_utils.data.archives import build_manifest
from mammorgb_utils.data.archives.folder import list_images
from mammorgb_utils.data.dicom import RejectedImage, read_mammogram
from mammorgb_utils.data.manifest import ManifestError, load_manifest, verify_checksums

_DECISIVE = ("Rows", "BitsStored", "PixelPaddingValue", "SamplesPerPixel", "PhotometricInterpretation", "WindowWidth",
             "RescaleSlope")  # of which a wrong number makes another image
SOUND = {"PatientID": "1", "StudyInstanceUID": "1.2.3"}


def both_views(folder, **tags):
    folder.mkdir(exist_ok=True)
    return [write_mammogram(folder / f"{view}.dcm", breast_codes(view=view), **SOUND | {"ViewPosition": view} | tags)
            for view in ("CC", "MLO")]


def replaced(path, name, vr, value):
    dataset = pydicom.dcmread(path)
    dataset.add_new(pydicom.datadict.tag_for_keyword(name), vr, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("name", ["AnatomicRegionSequence", "ViewCodeSequence", "ViewModifierCodeSequence",
                                  "SpecimenDescriptionSequence", "EstimatedRadiographicMagnificationFactor",
                                  "NumberOfFrames", "VOILUTSequence", "ModalityLUTSequence", "WindowCenter",
                                  "ImagerPixelSpacing", "RescaleSlope", "PixelIntensityRelationshipSign"])
def test_a_word_in_a_numbers_or_sequences_place_counts_as_absent_and_is_listed(tmp_path, name):
    sound = read_mammogram(write_mammogram(tmp_path / "sound.dcm", breast_codes()))
    mammogram = read_mammogram(replaced(write_mammogram(tmp_path / "a.dcm", breast_codes()), name, "LO", "REMOVED"))
    assert np.array_equal(mammogram.pixels, sound.pixels) and (mammogram.laterality, mammogram.view) == ("L", "CC")
    assert f"its header holds no value of the right kind in {name}" in mammogram.conflicts


@pytest.mark.parametrize("frames", ["0", "-3", ""])
def test_a_number_of_frames_that_none_can_have_counts_as_one(tmp_path, frames):
    path = replaced(write_mammogram(tmp_path / "a.dcm", breast_codes()), "NumberOfFrames", "IS", frames)
    assert read_mammogram(path).pixels.shape == (320, 256)


def test_an_essential_number_that_is_none_is_named(tmp_path):
    path = replaced(write_mammogram(tmp_path / "a.dcm", breast_codes()), "BitsStored", "LO", "REMOVED")
    with pytest.raises(RejectedImage, match="unreadable: its header tells no number for BitsStored"):
        read_mammogram(path)


def test_placeholders_state_nothing(tmp_path):
    item = Dataset()
    item.CodeValue = item.CodeMeaning = "Anonymous"
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), ViewCodeSequence=Sequence([item]), ViewPosition="CC",
                           AnatomicRegionSequence=Sequence([item]), ContainerIdentifier="REMOVED")
    mammogram = read_mammogram(path)
    assert (mammogram.view, mammogram.laterality) == ("CC", "L") and not mammogram.conflicts
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), ViewPosition="REMOVED", PatientOrientation="REMOVED")
    assert read_mammogram(path).view is None and read_mammogram(path).chest_wall_by_tags == "left"


def test_one_odd_header_neither_ends_a_listing_nor_is_called_something_else(tmp_path):
    for number, (name, value) in enumerate([("AnatomicRegionSequence", "REMOVED"), ("ViewCodeSequence", "REMOVED"),
                                            ("NumberOfFrames", "REMOVED"), ("Manufacturer", "plain")]):
        for path in both_views(tmp_path / str(number), PatientID=str(number), RescaleIntercept=number, RescaleSlope=1):
            replaced(path, name, "LO", value)
    (tmp_path / "notes.txt").write_text("Jane Doe")
    (tmp_path / "cells.bin").write_bytes(b"\x08\x00" + bytes(range(256)) * 4)
    summary = build_manifest("folder", tmp_path, tmp_path / "manifest.csv", progress=False)
    assert len(summary.manifest) == 8
    assert summary.skipped["not a DICOM file"] + summary.skipped["header that can't be read"] == 2


def placeholder():
    item = Dataset()
    item.PatientName = item.CodeValue = "Anonymous"
    return Sequence([item])


@pytest.mark.parametrize(("vr", "value"), [("LO", "REMOVED"), ("LO", ["a", "b", "c"]), ("SQ", placeholder()),
                                           ("US", 65535), ("FD", float("nan"))])
def test_any_value_in_any_place_is_listed_or_counted_and_read_or_rejected(tmp_path, vr, value):
    names = {*headers.TAGS, "Rows", "BitsStored", "WindowWidth", "RescaleSlope", "PixelPaddingValue", "VOILUTFunction",
             "PhotometricInterpretation", "PixelSpacing", "PatientID", "BurnedInAnnotation"}
    for name in sorted(names):
        path = write_mammogram(tmp_path / f"{name}.dcm", breast_codes()[::2, ::2].copy(), **SOUND)
        replaced(path, name, vr, value)
        try:
            assert read_mammogram(path).pixels.shape == (160, 128)
        except RejectedImage as error:
            assert error.code != "unreadable" or name in _DECISIVE
    listing = list_images(tmp_path)
    assert "not a DICOM file" not in listing.skipped and "header that can't be read" not in listing.skipped
    assert len(listing.records) > len(names) / 2


@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
@pytest.mark.parametrize("bare", [False, True])
def test_files_without_transfer_syntax_or_meta_information_are_read(tmp_path, syntax, bare):
    sound = read_mammogram(write_mammogram(tmp_path / "sound.dcm", breast_codes(), syntax=syntax))
    dataset = pydicom.dcmread(tmp_path / "sound.dcm")
    del dataset.file_meta.TransferSyntaxUID
    if bare:
        del dataset.file_meta, dataset.preamble
    dataset.save_as(tmp_path / "odd.dcm", implicit_vr=syntax == "implicit", little_endian=True,
                    enforce_file_format=False)
    assert np.array_equal(read_mammogram(tmp_path / "odd.dcm").pixels, sound.pixels)
    assert headers.text(headers.read_header(tmp_path / "odd.dcm"), "Modality") == "MG"


def test_a_file_without_its_preamble_is_read(tmp_path):
    path = write_mammogram(tmp_path / "a.dcm", breast_codes(), syntax="jpeg_lossless_sv1")
    sound = read_mammogram(path)
    path.write_bytes(path.read_bytes()[132:])
    assert np.array_equal(read_mammogram(path).pixels, sound.pixels)


def test_compressed_pixels_without_a_transfer_syntax_are_named(tmp_path):
    dataset = pydicom.dcmread(write_mammogram(tmp_path / "a.dcm", breast_codes(), syntax="jpeg_2000_lossless"))
    del dataset.file_meta.TransferSyntaxUID
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True, enforce_file_format=False)
    with pytest.raises(RejectedImage, match="its pixels are compressed, and no transfer syntax tells how"):
        read_mammogram(tmp_path / "a.dcm")


def test_what_is_no_dicom_file_is_called_so(tmp_path):
    (tmp_path / "text.dcm").write_text("Jane Doe")
    with pytest.raises(RejectedImage, match="unreadable: it begins like no DICOM file") as error:
        read_mammogram(tmp_path / "text.dcm")
    assert "Doe" not in str(error.value)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are UTF-8 by rule elsewhere")
def test_file_names_that_are_no_utf_8_work(tmp_path):
    both_views(tmp_path / "a")
    os.rename(os.fsencode(tmp_path / "a" / "CC.dcm"), os.fsencode(tmp_path / "a") + b"/CC-\xe9.dcm")
    summary = build_manifest("folder", tmp_path, tmp_path / "manifest.csv", progress=False)
    frame = load_manifest(tmp_path / "manifest.csv")
    assert len(summary.manifest) == len(frame) == 2 and b"CC-\xe9.dcm" in (tmp_path / "manifest.csv").read_bytes()
    verify_checksums(frame, tmp_path, progress=False)
    assert all(read_mammogram(tmp_path / path).pixels.size for path in frame["path"])


def test_only_a_path_may_hold_other_bytes(tmp_path):
    both_views(tmp_path / "a")
    build_manifest("folder", tmp_path, tmp_path / "manifest.csv", progress=False)
    text = (tmp_path / "manifest.csv").read_bytes()
    (tmp_path / "manifest.csv").write_bytes(text.replace(b"folder,", b"f\xe9lder,"))
    with pytest.raises(ManifestError, match="not a UTF-8 CSV table"):
        load_manifest(tmp_path / "manifest.csv")
