"""What the check of a manifest finds out, that it continues after a kill, and which images it points at."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from kills import killed_at_third_batch

from mammorgb_utils.data.batch import resumable
from mammorgb_utils.data.manifest import write_manifest
from mammorgb_utils.data.quality import (
    BINS,
    RULES,
    SHARE,
    check_images,
    find_odd,
    histograms,
    image_facts,
    picture,
    scanner_distances,
    with_reasons,
)
from mammorgb_utils.protocol import Protocol

FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"


@pytest.fixture
def in_process(monkeypatch):
    """Images are read here, not in workers, which take seconds to start; gives the paths that were read."""
    read = []

    def mapped(function, paths):
        for path in paths:
            read.append(path)
            yield path, function(path)

    monkeypatch.setattr(resumable, "map_isolated", mapped)
    return read


def first(cohort, **wanted):
    folder, rows = cohort
    chosen = rows[np.logical_and.reduce([rows[key] == value for key, value in wanted.items()])]
    return folder / chosen["path"].iloc[0]


def changed(source, target, change=None, **tags):
    """A copy of a phantom with other tags, or stored codes."""
    data = pydicom.dcmread(source)
    if change:
        data.PixelData = change(data.pixel_array).astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(target)
    return image_facts(target, 512, "reject")


def usable(cohort):
    return first(cohort, laterality="L", view="CC", birads=2)


def test_facts_of_a_phantom(cohort):
    facts = image_facts(usable(cohort), 512, "reject")
    assert facts["code"] == facts["reason"] == facts["conflicts"] == ""
    assert (facts["rows"], facts["columns"], facts["bits"]) == (320, 256, 12)
    assert facts["scanner"] == "MammoRGB phantom" and facts["transfer_syntax"] == "Explicit VR Little Endian"
    assert facts["voi"] == "window" and facts["voi_choices"] == 1
    assert facts["chest_wall"] == facts["chest_wall_by_tags"] == "left"
    assert facts["header_laterality"] == "L" and facts["header_view"] == "CC"
    assert facts["opposite_share"] == 0 and facts["air_level"] < 0.15 and facts["grey_levels"] > 256
    assert facts["breast_cm2"] == pytest.approx(facts["region_share"] * 32.0 * 25.6 * 0.9375**2, rel=1e-3)
    counts = np.array(facts["breast_histogram"].split(), int)
    assert counts.size == BINS and counts.sum() == pytest.approx(facts["region_share"] * 320 * 256, abs=1)
    assert np.array(facts["image_histogram"].split(), int).sum() == 320 * 256


def test_large_images_are_measured_at_reduced_size_but_described_whole(cohort, tmp_path):
    small = image_facts(usable(cohort), 512, "reject")
    facts = changed(usable(cohort), tmp_path / "large.dcm", lambda codes: np.kron(codes, np.ones((5, 5))), Rows=1600,
                    Columns=1280, ImagerPixelSpacing=[0.1875, 0.1875])
    assert (facts["rows"], facts["columns"], facts["row_spacing_mm"]) == (1600, 1280, 0.1875)
    assert np.array(facts["image_histogram"].split(), int).sum() == 800 * 640
    assert facts["breast_cm2"] == pytest.approx(small["breast_cm2"], rel=0.02)
    assert facts["grey_levels"] == small["grey_levels"]


def test_few_levels_and_white_are_measured(cohort, tmp_path):
    coarse = changed(usable(cohort), tmp_path / "coarse.dcm", lambda codes: codes // 256 * 256)
    assert 8 < coarse["grey_levels"] <= 16
    white = changed(usable(cohort), tmp_path / "white.dcm", lambda codes: np.where(codes > 1000, 4095, codes))
    assert white["saturated_share"] > 0.3


def test_a_flipped_image_has_its_chest_wall_elsewhere(cohort, tmp_path):
    facts = changed(usable(cohort), tmp_path / "flipped.dcm", lambda codes: codes[:, ::-1])
    assert (facts["chest_wall"], facts["chest_wall_by_tags"]) == ("right", "left")


def test_a_rejected_image_keeps_what_its_header_tells(cohort, tmp_path):
    facts = changed(usable(cohort), tmp_path / "raw.dcm", SOPClassUID=FOR_PROCESSING, PixelIntensityRelationshipSign=-1)
    assert facts["code"] == "for_processing" and "detector values" in facts["reason"]
    assert facts["scanner"] == "MammoRGB phantom" and facts["bits"] == 12 and "region_share" not in facts
    assert image_facts(tmp_path / "raw.dcm", 512, "convert")["voi"] == "log"
    assert image_facts(tmp_path / "absent.dcm", 512, "reject")["code"] == "missing_file"
    (tmp_path / "text.dcm").write_text("Jane Doe")
    facts = image_facts(tmp_path / "text.dcm", 512, "reject")
    assert facts["code"] and "Doe" not in str(facts)


@pytest.mark.skipif("MAMMORGB_REAL_DATA" not in os.environ, reason="MAMMORGB_REAL_DATA isn't set")
def test_facts_of_real_files():
    folder = Path(os.environ["MAMMORGB_REAL_DATA"]) / "dicom"
    facts = image_facts(folder / "fodicom_GH133_R_MLO_jpegll_sv1.dcm", 512, "reject")
    assert facts["scanner"].startswith("GE Senographe") and (facts["voi"], facts["voi_choices"]) == ("lut", 6)
    assert facts["chest_wall"] == facts["chest_wall_by_tags"] == "right" and facts["opposite_share"] == 0
    assert SHARE[0] < facts["region_share"] < SHARE[1] and facts["grey_levels"] > 1000
    assert image_facts(folder / "weasis_mg_calib102.dcm", 512, "reject")["code"] == "modified_view"


def test_a_table_of_the_whole_manifest(cohort, in_process):
    folder, rows = cohort
    images = check_images(folder / "manifest.csv", Protocol(), progress=False)
    assert images["row"].tolist() == list(range(2, len(rows) + 2)) and images["pair"].tolist() == rows["pair"].tolist()
    assert {"path", "sha256", "patient", "stamp"}.isdisjoint(images)
    assert set(images["code"]) == {"", "implant", "unreadable"}
    read = images["code"] == ""
    shares = histograms(images, "breast_histogram")
    assert np.allclose(shares[read].sum(axis=1), 1) and np.isnan(shares[~read]).all()
    assert images.loc[read, "region_share"].between(0.05, 0.6).all() and images.loc[~read, "region_share"].isna().all()
    pixels, region = picture(folder / rows["path"][read.idxmax()], 100, "reject")
    assert pixels.shape == region.shape == (100, 80) and 0.05 < region.mean() < 0.6


def test_a_killed_check_continues_and_finds_the_same(cohort, in_process, monkeypatch, tmp_path):
    folder, rows = cohort
    manifest = tmp_path / "manifest.csv"
    (tmp_path / "archive").symlink_to(folder)
    rows = rows.assign(path="archive/" + rows["path"])
    write_manifest(rows, manifest)
    with killed_at_third_batch(), pytest.raises(KeyboardInterrupt):
        check_images(manifest, Protocol(), progress=False)
    log = tmp_path / ".mammorgb-cache" / "manifest.csv.quality.jsonl"
    log.write_text(log.read_text() + '{"row": 20, "co')  # the line that a kill cut short
    assert (log.parent / ".gitignore").read_text() == "*\n" and str(folder) not in log.read_text()
    in_process.clear()
    continued = check_images(manifest, Protocol(), progress=False)
    assert len(in_process) == len(rows) - 8
    log.unlink()
    pd.testing.assert_frame_equal(check_images(manifest, Protocol(), progress=False), continued)
    in_process.clear()
    pd.testing.assert_frame_equal(check_images(manifest, Protocol(), progress=False), continued)
    assert in_process == []


def test_what_has_changed_or_failed_is_read_again(cohort, in_process):
    manifest = cohort[0] / "manifest.csv"
    check_images(manifest, Protocol(), progress=False)
    log = cohort[0] / ".mammorgb-cache" / "manifest.csv.quality.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0].replace('"code": ""', '"code": "timeout"'), *lines[1:]]) + "\n")
    in_process.clear()
    check_images(manifest, Protocol(), progress=False)
    assert len(in_process) == 1
    usable(cohort).touch()
    check_images(manifest, Protocol(), progress=False)
    assert len(in_process) == 2 and in_process[1] == usable(cohort)
    check_images(manifest, Protocol(for_processing="convert"), progress=False)
    assert len(in_process) == 2 + len(cohort[1])


def usual(n=24) -> pd.DataFrame:
    """Rows as of `check_images`, of which none is odd."""
    place = np.arange(n)
    frame = pd.DataFrame({"pair": [f"P{i // 2}" for i in place], "view": np.where(place % 2, "MLO", "CC"),
                          "laterality": "L", "header_laterality": "L", "chest_wall": "left",
                          "chest_wall_by_tags": "left", "region_share": 0.3, "opposite_share": 0.0,
                          "saturated_share": 0.0, "rows": 320, "columns": 256, "scanner": "Hologic"})
    frame["header_view"], frame["grey_levels"] = frame["view"], pd.array([900] * n, "Int64")
    frame[["code", "reason", "doubts", "copies", "conflicts"]] = ""
    frame["breast_cm2"] = 100.0 + place % 5
    frame["breast_histogram"] = [" ".join(map(str, np.roll([0] * 30 + [9] * 4 + [0] * 30, i % 5))) for i in place]
    return frame


def test_usual_images_give_no_reason():
    frame = usual()
    assert find_odd(frame).empty and with_reasons(frame, find_odd(frame))["odd"].eq("").all()


@pytest.mark.parametrize(("number", "change", "sentence"), [
    (0, {"conflicts": "its tags name both sides"}, "its tags name both sides"),
    (1, {"chest_wall": "right"}, "chest wall on the right by its pixels, on the left by its tags"),
    (2, {"header_view": "MLO"}, "header says view MLO"), (2, {"header_laterality": "R"}, "header says laterality R"),
    (3, {"region_share": 0.03}, "the breast region covers 3.0% of the image"),
    (3, {"region_share": 0.9}, "the breast region covers 90.0% of the image"),
    (4, {"opposite_share": 0.1}, "the breast region takes 10.0% of the edge opposite its chest wall"),
    (5, {"saturated_share": 0.06}, "6.0% of the breast is white"), (6, {"grey_levels": 63}, "63 different grey levels"),
    (8, {"breast_histogram": " ".join(["9"] * 4 + ["0"] * 60)}, "median deviations farther than usual")])
def test_each_rule_finds_its_image_alone(number, change, sentence):
    frame = usual()
    for column, value in change.items():
        frame.loc[4, column] = value
    odd = find_odd(frame)
    assert odd["image"].tolist() == [4] and odd["reason"].tolist() == [list(RULES)[number]]
    assert sentence in odd["sentence"][0] and with_reasons(frame, odd)["odd"][4] == odd["sentence"][0]


def test_views_are_compared_within_a_breast():
    frame = usual()
    frame.loc[4, "breast_cm2"] = 40.0
    odd = find_odd(frame)
    assert odd["image"].tolist() == [4, 5] and odd["reason"].unique().tolist() == [list(RULES)[7]]
    assert odd["sentence"][0] == "the region of its MLO view is 2.50 times that of its CC view"
    frame["breast_cm2"] = np.nan
    frame.loc[4, "rows"] = 100  # pixels are compared where no spacing is known
    assert "3.20 times" in find_odd(frame)["sentence"][0]


def test_rejected_images_are_listed_by_code_and_the_worst_comes_first():
    frame = usual()
    frame.loc[[2, 7], ["code", "reason"]] = ["not_greyscale", "its pixels hold more than one sample"]
    frame.loc[[2, 7], ["region_share", "saturated_share"]] = np.nan
    frame.loc[[10, 12, 14], "saturated_share"] = [0.06, 0.5, 0.2]
    odd = find_odd(frame)
    assert odd["image"].tolist() == [2, 7, 12, 14, 10]
    assert odd["reason"].tolist()[:2] == ["Rejected: not greyscale"] * 2
    assert find_odd(frame.loc[[2, 7]])["image"].tolist() == [2, 7]


def test_few_images_have_no_scanner_of_their_own_to_differ_from():
    distances = scanner_distances(usual(24).assign(scanner=["A"] * 20 + ["B"] * 4))
    assert distances[:20].notna().all() and distances[20:].isna().all()
    assert distances[:20].max() == pytest.approx(2 / BINS, rel=1e-3)
