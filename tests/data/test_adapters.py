"""Archives in their own layouts: what their manifests say, and what they never say."""

import re
import shutil

import pandas as pd
import pytest
from archive_trees import ARCHIVES, PLANTED, VIEWS, build, cbis, dicom, embed, folder, rsna, vindr

from mammorgb_utils.data.archives import AdapterError
from mammorgb_utils.data.archives.base import Listing, worst_grade
from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.runs import sha256


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
