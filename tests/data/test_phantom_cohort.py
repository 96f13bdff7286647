"""The cohort on disk: bytes, headers, exclusions, orientation, truth, resuming."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from mammorgb_utils.data.batch.workers import WorkerError
from mammorgb_utils.data.dicom import RejectedImage
from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.data.phantom import make_breast, render_view, write_cohort
from mammorgb_utils.data.phantom.cases import EXTRA_SHARES, Case, plan_cases
from mammorgb_utils.data.phantom.cohort import write_case
from mammorgb_utils.data.phantom.dicom_writer import Header, dicom_bytes
from mammorgb_utils.data.phantom.storage import ARTEFACTS, store, text_bitmap
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT

N_PAIRS, SEED = 12, 5


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("cohort")
    rows = write_cohort(folder, N_PAIRS, SEED, progress=False)
    return folder, rows, pd.read_csv(folder / "truth.csv", keep_default_na=False)


def readable(folder: Path, path: str) -> pydicom.Dataset | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(folder / path)
            return data if len(data.PixelData) == 2 * data.Rows * data.Columns else None
    except (AttributeError, EOFError, pydicom.errors.InvalidDicomError):
        return None


def test_same_seed_same_bytes(cohort, tmp_path):
    folder, rows, _ = cohort
    again = write_cohort(tmp_path, N_PAIRS, SEED, workers=1, progress=False)
    pd.testing.assert_frame_equal(rows, again)
    for path in [*rows["path"], "truth.csv", "truth_masks/masks.npz"]:
        assert (folder / path).read_bytes() == (tmp_path / path).read_bytes(), path


def test_another_seed_gives_other_breasts():
    keys = [{case.key(seed) for case in plan_cases(50, seed)} for seed in (1, 2)]
    assert keys[0].isdisjoint(keys[1])
    assert len(keys[0]) == len(plan_cases(50, 1))


def test_manifest_rows(cohort):
    _, rows, truth = cohort
    assert list(rows.columns) == ["pair", "patient", "exam", "laterality", "view", "birads", "implant", "source",
                                  "split", "path", "sha256", "density"]
    letters = truth.set_index("patient")["birads_density"].str.upper()
    assert rows["density"].tolist() == letters.loc[rows["patient"]].tolist() and rows["density"].isin([*"ABCD"]).all()
    assert rows["path"].is_unique and not rows["path"].str.startswith("/").any()
    usable = truth.loc[truth["role"] == "usable", "patient"]
    splits = rows[rows["patient"].isin(usable)].drop_duplicates("patient")["split"].value_counts()
    assert splits.to_dict() == {"train": N_PAIRS // 2, "heldout": N_PAIRS // 2}
    assert rows.groupby("patient")["pair"].nunique().eq(1).all()


def test_every_exclusion_is_there_and_labelled(cohort):
    folder, rows, truth = cohort
    files = {patient: part for patient, part in rows.groupby("patient")}
    by_role = {role: [files[patient] for patient in part["patient"]] for role, part in truth.groupby("role")}
    assert set(by_role) == {"usable", *EXTRA_SHARES}
    assert all((part["birads"] == 2).all() and len(part) == 2 for part in by_role["usable"])
    assert all((part["birads"] != 2).all() for part in by_role["other_birads"])
    assert all(len(part) == 1 for part in by_role["missing_view"])
    for part in by_role["implant"]:
        assert part["implant"].all()
        assert readable(folder, part["path"].iloc[0]).BreastImplantPresent == "YES"
    for part in by_role["duplicate"]:
        views = part[part["view"] == part["view"].mode()[0]]
        first, second = (readable(folder, path) for path in views["path"])
        assert first.PixelData == second.PixelData and first.SOPInstanceUID != second.SOPInstanceUID
    for part in by_role["unreadable"]:
        assert [readable(folder, path) for path in part["path"]].count(None) == 1


def test_shares_of_a_full_cohort():
    cases = plan_cases(600, 1)
    usable = [case for case in cases if case.role == "usable"]
    marked = [case.artefact for case in usable if case.artefact]
    assert len(usable) == 600
    assert len(cases) - 600 <= 60
    assert len(marked) == 42 and set(marked) == set(ARTEFACTS)
    assert [case.patient for case in cases] == [f"P{i + 1:04d}" for i in range(len(cases))]


@pytest.fixture(scope="module")
def artefact_cohort(tmp_path_factory) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """One patient of every artefact kind, all with the same breast."""
    folder = tmp_path_factory.mktemp("artefacts")
    cases = [Case(kind, "usable", "train", 1, 3, artefact=kind) for kind in ARTEFACTS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mammorgb_utils.data.phantom.cohort.plan_cases", lambda n_pairs, seed: cases)
        rows = write_cohort(folder, len(cases), SEED, workers=1, progress=False)
    return folder, rows, pd.read_csv(folder / "truth.csv", keep_default_na=False)


@pytest.mark.parametrize("name", ["cohort", "artefact_cohort"])
def test_dciodvfy_finds_no_error(request, name):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy (Debian dicom3tools) isn't installed: headers weren't validated")
    folder, rows, truth = request.getfixturevalue(name)
    broken = set(truth.loc[truth["role"] == "unreadable", "patient"])
    checked = 0
    for row in rows[~rows["patient"].isin(broken)].itertuples():
        output = subprocess.run(["dciodvfy", folder / row.path], capture_output=True, text=True, check=False)
        errors = [line for line in (output.stdout + output.stderr).splitlines() if "Error" in line]
        assert not errors, (row.path, errors)
        assert "MammographyImageForPresentation" in output.stdout + output.stderr
        checked += 1
    assert checked == len(rows) - 2 * len(broken) >= 2 * len(ARTEFACTS)


@pytest.mark.parametrize("laterality", ["L", "R"])
@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_side_label_and_header_as_scanners_store_them(laterality, view):
    image = render_view(make_breast((1, 1, 3)), view)
    stored = store(image, laterality, view)
    columns = (image > 0).sum(axis=0)
    near, far = (0, -1) if laterality == "L" else (-1, 0)
    assert (stored[40:, near] > 0).sum() >= columns[0] - 40 and not (stored[40:, far] > 0).any()
    bitmap = text_bitmap(f"{laterality} {view}")
    corner = stored[10:10 + bitmap.shape[0]]
    corner = corner[:, -8 - bitmap.shape[1]:-8] if laterality == "L" else corner[:, 8:8 + bitmap.shape[1]]
    np.testing.assert_array_equal(corner > 0.9, bitmap)
    data = pydicom.dcmread(_file(dicom_bytes(stored, Header(1, "P0001", laterality, view, 50.0))))
    expected = {("L", "CC"): ["A", "R"], ("L", "MLO"): ["A", "FR"], ("R", "CC"): ["P", "L"], ("R", "MLO"): ["P", "FL"]}
    assert list(data.PatientOrientation) == expected[laterality, view]
    assert data.ImageLaterality == laterality
    assert data.ViewCodeSequence[0].CodeValue == {"CC": "R-10242", "MLO": "R-10226"}[view]
    assert (data.BitsAllocated, data.BitsStored, data.PixelRepresentation) == (16, 12, 0)


def _file(content: bytes) -> BytesIO:
    return BytesIO(content)


def test_monochrome1_is_inverted_once():
    image = store(render_view(make_breast((1, 1, 3)), "CC"), "L", "CC")
    plain, inverse = (pydicom.dcmread(_file(dicom_bytes(image, Header(
        1, "P0001", "L", "CC", 50.0, monochrome1=flag)))) for flag in (False, True))
    assert (plain.PhotometricInterpretation, plain.PresentationLUTShape) == ("MONOCHROME2", "IDENTITY")
    assert (inverse.PhotometricInterpretation, inverse.PresentationLUTShape) == ("MONOCHROME1", "INVERSE")
    np.testing.assert_array_equal(plain.pixel_array, 4095 - inverse.pixel_array)
    assert plain.pixel_array[-1, -1] == 0


def test_header_names_no_library_version(cohort):
    folder, rows, truth = cohort
    usable = truth.loc[truth["role"] == "usable", "patient"].iloc[0]
    data = readable(folder, rows.loc[rows["patient"] == usable, "path"].iloc[0])
    assert data.file_meta.ImplementationVersionName == "MAMMORGB_1"
    assert all(uid.startswith("2.25.") for uid in (data.SOPInstanceUID, data.StudyInstanceUID,
                                                  data.file_meta.ImplementationClassUID))


def test_truth_masks_are_those_of_the_stored_pixels(cohort):
    folder, rows, truth = cohort
    masks = np.load(folder / "truth_masks" / "masks.npz")
    assert masks["pair"].tolist() == truth["pair"].tolist()
    plain = truth[(truth["role"] == "usable") & (truth["artefact"] == "")]
    assert len(plain) >= 8
    for index, row in plain.iterrows():
        for view in ("CC", "MLO"):
            path = rows.loc[(rows["patient"] == row["patient"]) & (rows["view"] == view), "path"].item()
            data = readable(folder, path)
            pixels = data.pixel_array if data.PhotometricInterpretation == "MONOCHROME2" else 4095 - data.pixel_array
            pixels = pixels if row["laterality"] == "L" else pixels[:, ::-1]
            shown = pixels[2::4, 2::4] > 0
            shown[:8, -30:] = False  # the label
            np.testing.assert_array_equal(shown, masks[view.lower()][index])


def test_artefacts_are_recorded_with_their_view(cohort):
    _, _, truth = cohort
    marked = truth[truth["artefact"] != ""]
    assert len(marked) == 1 and set(marked["role"]) == {"usable"} and set(marked["artefact_view"]) <= {"CC", "MLO"}


def test_every_artefact_changes_the_view_that_the_truth_names(artefact_cohort):
    folder, rows, truth = artefact_cohort
    assert truth["artefact"].tolist() == list(ARTEFACTS)
    breast = make_breast((SEED, 1, 3))
    for case in truth.itertuples():
        for view in ("CC", "MLO"):
            path = rows.loc[(rows["patient"] == case.patient) & (rows["view"] == view), "path"].item()
            data = readable(folder, path)
            pixels = data.pixel_array if data.PhotometricInterpretation == "MONOCHROME2" else 4095 - data.pixel_array
            clean = np.rint(store(render_view(breast, view), breast.laterality, view) * 4095)
            assert np.array_equal(pixels, clean) == (view != case.artefact_view), (case.artefact, view)


def test_a_partly_written_cohort_is_completed(cohort, tmp_path):
    folder, rows, _ = cohort
    shutil.copytree(folder, tmp_path / "copy")
    copy = tmp_path / "copy"
    kept, lost, damaged = copy / rows["path"].iloc[0], copy / rows["path"].iloc[5], copy / rows["path"].iloc[-1]
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    damaged.write_bytes(b"half a file")
    (copy / ".records" / f"{rows['patient'].iloc[9]}.json").unlink()
    (copy / "truth.csv").unlink()
    again = write_cohort(copy, N_PAIRS, SEED, workers=2, progress=False)
    pd.testing.assert_frame_equal(rows, again)
    assert kept.stat().st_mtime_ns == stamp, "a finished case must not be redone"
    for path in [*rows["path"], "truth.csv"]:
        assert (folder / path).read_bytes() == (copy / path).read_bytes(), path


def test_a_folder_of_another_cohort_is_refused(cohort):
    with pytest.raises(ValueError, match="holds another phantom cohort"):
        write_cohort(cohort[0], N_PAIRS, SEED + 1, progress=False)


def test_too_few_pairs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 2"):
        write_cohort(tmp_path, 1, SEED, progress=False)


def test_todays_code_writes_the_default_cohort_that_the_manifest_names(tmp_path):
    manifest = load_manifest(PROJECT_ROOT / "data_manifest.csv").set_index("path")["sha256"]
    usual = Protocol()
    for case in plan_cases(usual.phantom_pairs, usual.phantom_seed)[::220]:
        for row in write_case(tmp_path, usual.phantom_seed, case)["rows"]:
            stated = manifest[f"data/phantom-{usual.phantom_pairs}-{usual.phantom_seed}/{row['path']}"]
            assert row["sha256"] == stated, "raise GENERATOR_VERSION and write the manifest anew (CONTRIBUTING.md)"


def test_a_lost_worker_is_named_with_its_case(tmp_path, monkeypatch):
    lost = RejectedImage(Path(), "decoder_crash", "decoding it ended its worker process (SIGKILL)")
    monkeypatch.setattr("mammorgb_utils.data.phantom.cohort.map_isolated",
                        lambda work, cases, processes: ((case, lost) for case in cases))
    with pytest.raises(WorkerError, match=r"P0001: .*SIGKILL.*finished cases stay"):
        write_cohort(tmp_path, 2, 5, progress=False)
