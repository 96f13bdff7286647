"""Detector values: an archive's listing takes them only where nothing is there for presentation."""

import pydicom

from mammorgb_utils.data.archives import build_manifest
from mammorgb_utils.data.headers import FOR_PROCESSING

KEPT = "for processing (kept, but rejected by the study unless for_processing: convert)"


def copied(source, target, **tags):
    data = pydicom.dcmread(source)
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(target)


def test_detector_values_are_taken_of_views_that_are_not_shown_otherwise(cohort, tmp_path):
    folder, rows = cohort
    cc, mlo = (folder / rows[(rows["birads"] == 2) & (rows["view"] == view)]["path"].iloc[0] for view in ("CC", "MLO"))
    raw = {"SOPClassUID": FOR_PROCESSING, "PresentationIntentType": "FOR PROCESSING"}
    copied(cc, tmp_path / "0-raw.dcm", **raw)
    copied(cc, tmp_path / "1.dcm")
    copied(mlo, tmp_path / "2-raw.dcm", **raw)
    summary = build_manifest("folder", tmp_path, tmp_path / "manifest.csv", progress=False)
    assert summary.manifest["path"].tolist() == ["1.dcm", "2-raw.dcm"]
    assert summary.skipped["for processing, not for presentation"] == summary.skipped[KEPT] == 1
    assert any(KEPT in line for line in summary.lines())


def test_detector_values_of_an_unknown_view_are_counted_once(cohort, tmp_path):
    folder, rows = cohort
    for number, path in enumerate(rows[rows["birads"] == 2]["path"].iloc[:2]):
        copied(folder / path, tmp_path / f"{number}.dcm")
    copied(folder / rows["path"].iloc[0], tmp_path / "raw.dcm", SOPClassUID=FOR_PROCESSING, PatientID="")
    summary = build_manifest("folder", tmp_path, tmp_path / "manifest.csv", progress=False)
    assert len(summary.manifest) == 2 and summary.skipped == {"no patient stated": 1}
