"""Archives that aren't as their hosts ship them: what a user is told, and what still comes of it."""

import json
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from archive_trees import ARCHIVES, build, cmmd, dicom, embed, inbreast, table, vindr

from mammorgb_utils.cli import main
from mammorgb_utils.data.archives import ADAPTERS, AdapterError, build_manifest
from mammorgb_utils.data.batch import checksums
from mammorgb_utils.data.manifest import ManifestError, load_manifest
from mammorgb_utils.runs import sha256


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
