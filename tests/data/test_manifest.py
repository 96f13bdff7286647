"""A manifest is refused with row, column and remedy before anything is computed."""

import pandas as pd
import pytest

from mammorgb_utils.data.manifest import (
    COLUMNS,
    ManifestError,
    load_manifest,
    require_files,
    verify_checksums,
    write_manifest,
)


def rows() -> pd.DataFrame:
    base = {"patient": "P1", "exam": "E1", "laterality": "L", "birads": "2", "implant": "false", "source": "phantom",
            "split": "train", "sha256": "0" * 64}
    return pd.DataFrame([base | {"pair": "P1-E1-L", "view": view, "path": f"{view}.dcm"} for view in ("CC", "MLO")])


def load(tmp_path, frame: pd.DataFrame) -> pd.DataFrame:
    frame.to_csv(tmp_path / "m.csv", index=False)
    return load_manifest(tmp_path / "m.csv")


def test_a_sound_manifest_comes_back_typed(tmp_path):
    frame = load(tmp_path, rows().assign(birads=["2", ""], implant=["true", ""]))
    assert list(frame) == list(COLUMNS)
    assert frame["birads"].tolist() == [2, pd.NA] and frame["implant"].tolist() == [True, pd.NA]


def test_density_may_be_there_or_not(tmp_path):
    assert load(tmp_path, rows().assign(density=["C", ""]))["density"].tolist() == ["C", ""]
    write_manifest(load(tmp_path, rows().assign(density="B")), tmp_path / "w.csv")
    assert load_manifest(tmp_path / "w.csv")["density"].tolist() == ["B", "B"]
    write_manifest(load(tmp_path, rows()), tmp_path / "w.csv")
    assert (tmp_path / "w.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    with pytest.raises(ManifestError, match="column density: 'dense' isn't allowed; give A, B, C or D, or empty"):
        load(tmp_path, rows().assign(density="dense"))


@pytest.mark.parametrize(("column", "value", "message"), [
    ("laterality", "left", r"row 2, column laterality: 'left' isn't allowed; give L or R"),
    ("view", "ML", r"row 2, column view: 'ML' isn't allowed; give CC or MLO"),
    ("birads", "7", r"row 2, column birads: '7' isn't allowed; give 0 to 6, or empty"),
    ("implant", "no", r"row 2, column implant: 'no' isn't allowed"),
    ("split", "test", r"row 2, column split: 'test' isn't allowed; give train or heldout"),
    ("sha256", "abc", r"row 2, column sha256: 'abc' isn't allowed"),
    ("pair", "", r"row 2, column pair: '' isn't allowed; give a pseudonym"),
])
def test_a_wrong_value_names_row_column_and_remedy(tmp_path, column, value, message):
    frame = rows()
    frame.loc[0, column] = value
    with pytest.raises(ManifestError, match=message):
        load(tmp_path, frame)


@pytest.mark.parametrize("path", ["/home/jane_doe/a.dcm", "../jane_doe/a.dcm", "x/../../jane_doe/a.dcm"])
def test_a_path_outside_is_refused_and_not_repeated(tmp_path, path):
    frame = rows()
    frame.loc[0, "path"] = path
    with pytest.raises(ManifestError, match="row 2, column path: this value") as error:
        load(tmp_path, frame)
    assert "jane_doe" not in str(error.value)


def test_a_comma_at_the_rows_ends_is_told(tmp_path):
    header, *lines = rows().to_csv(index=False).splitlines()
    (tmp_path / "m.csv").write_text("\n".join([header, *(f"{line}," for line in lines)]))
    with pytest.raises(ManifestError, match=r"m\.csv, row 1: rows below have more fields, be it a last comma"):
        load_manifest(tmp_path / "m.csv")


def test_missing_and_unknown_columns_are_named(tmp_path):
    with pytest.raises(ManifestError, match="column 'view' is missing; column 'veiw' is unknown"):
        load(tmp_path, rows().rename(columns={"view": "veiw"}))


@pytest.mark.parametrize(("change", "message"), [
    ({"view": "CC"}, "no row is MLO; the study needs both views"),
    ({"laterality": ["L", "R"]}, "column laterality: pair 'P1-E1-L' has more than one laterality"),
    ({"patient": ["P1", "P2"]}, "column patient: pair 'P1-E1-L' has more than one patient"),
    ({"path": "same.dcm"}, "row 3, column path: an earlier row has the same file"),
    ({"pair": ["a", "b"]}, "row 3, column pair: 'b' is a breast that an earlier row names otherwise"),
    ({"pair": ["a", "b"], "exam": ["1", "2"], "split": ["train", "heldout"]},
     "column split: patient 'P1' is in train and heldout"),
])
def test_rows_that_contradict_each_other(tmp_path, change, message):
    with pytest.raises(ManifestError, match=message):
        load(tmp_path, rows().assign(**change))


def test_many_errors_are_counted_not_all_printed(tmp_path):
    frame = pd.concat([rows()] * 10, ignore_index=True).assign(split="x")
    with pytest.raises(ManifestError, match="and 15 more"):
        load(tmp_path, frame)


def test_empty_and_absent_files(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ManifestError, match="not a UTF-8 CSV table"):
        load_manifest(tmp_path / "empty.csv")
    with pytest.raises(ManifestError, match="MANIFEST="):
        load_manifest(tmp_path / "absent.csv")


def test_absent_and_changed_files_are_found_before_use(cohort, tmp_path):
    folder, frame = cohort
    verify_checksums(frame.head(2), folder, progress=False)
    with pytest.raises(ManifestError, match="1 files have changed:\n.*row 3, column sha256.*restore it"):
        verify_checksums(frame.head(2).assign(sha256=[frame["sha256"][0], "0" * 64]), folder, progress=False)
    with pytest.raises(ManifestError, match="2 files are absent:\n.*row 2, column path"):
        require_files(frame.head(2), tmp_path)


def test_a_file_that_cant_be_read_is_told_by_its_row(tmp_path, monkeypatch, cohort):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("mammorgb_utils.data.batch.checksums.sha256", closed)
    with pytest.raises(ManifestError, match=r"row 2, column path: .* can't be read \(Permission denied\)") as error:
        verify_checksums(cohort[1].head(1), cohort[0], progress=False)
    assert cohort[1]["path"].iloc[0] not in str(error.value) and error.value.__cause__ is None
