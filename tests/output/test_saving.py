"""Saving and showing: every digit in CSV, captions and columns of the one list, nothing under another name."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from pandas.io.formats.style import Styler

from mammorgb_utils.output import present, save_figure, save_table, saving
from mammorgb_utils.output.outputs import OutputsError
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run

TABLE = pd.DataFrame({
    "set": ["real", "sum"], "n": [2500, 3], "n_nan": 0, "iou_median": [0.8401234567890123, 0.9], "dsc_median": 0.9,
    "iou_no_muscle_median": 0.7, "dsc_no_muscle_median": 0.8, "plausible": 0.95, "iou_q1": 0.5})


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A run folder, and what is displayed of it."""
    displayed = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    return Run(tmp_path, Protocol(), tmp_path / "manifest.csv"), displayed


def figure():
    drawn = plt.figure(figsize=(2, 1))
    plt.close(drawn)
    return drawn


def body(folder, name="overlap_summary"):
    return (folder / f"{name}.tex").read_text().split(r"\midrule")[1].strip().splitlines()


def test_csv_keeps_every_digit_and_latex_the_listed_columns(tmp_path):
    for folder in ("one", "two"):
        save_table(TABLE, tmp_path / folder, "overlap_summary")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "one" / "overlap_summary.csv"), TABLE)
    row = body(tmp_path / "one")[0]
    assert row.startswith("Real & 2,500 & 0 & 0.840 & 0.900") and "0.500" not in row
    for kind in ("csv", "tex"):
        files = [(tmp_path / folder / f"overlap_summary.{kind}").read_bytes() for folder in ("one", "two")]
        assert files[0] == files[1]
    assert sorted(path.suffix for path in (tmp_path / "one").iterdir()) == [".csv", ".tex"]


def test_the_caption_is_that_of_the_list_and_takes_a_remark(tmp_path):
    save_table(TABLE, tmp_path, "reader_study", remark="Simulated.")
    assert r"\caption{Readers. Accuracy, AUC and agreement, with" in (tmp_path / "reader_study.tex").read_text()
    assert r"say so. Simulated.}" in (tmp_path / "reader_study.tex").read_text()


def test_a_table_and_a_figure_are_saved_and_shown_in_one_call(study):
    run, displayed = study
    drawn = figure()
    assert present(run, "distances", drawn) is None
    present(run, "overlap_summary", TABLE)
    assert displayed[0] is drawn and isinstance(displayed[1], Styler)
    assert list(displayed[1].data)[:2] == ["Set", "n"] and displayed[1].data.shape == (2, 8)
    assert {path.name for path in run.figures.iterdir()} == {"distances.pdf", "distances.png"}
    assert {path.name for path in run.tables.iterdir()} == {"overlap_summary.csv", "overlap_summary.tex"}


def test_some_rows_keep_the_listed_columns_and_other_frames_are_shown_as_they_are(study):
    run, displayed = study
    present(run, "overlap_summary", TABLE, shown=TABLE[TABLE["set"] == "sum"])
    present(run, "overlap_summary", TABLE, shown=TABLE[["set", "iou_q1"]])
    assert [styler.data.shape for styler in displayed] == [(1, 8), (2, 2)]
    assert len(pd.read_csv(run.tables / "overlap_summary.csv")) == 2, "what is saved is whole"


def test_a_listed_column_that_a_table_lacks_is_named(study):
    run, displayed = study
    with pytest.raises(OutputsError, match="table 'overlap_summary': it has no column 'n_nan'"):
        present(run, "overlap_summary", TABLE.drop(columns="n_nan"))
    assert displayed == [] and not run.tables.exists()


@pytest.mark.parametrize(("save", "part", "wrong", "meant"), [
    (save_table, TABLE, "claim", "table 'claim'; did you mean 'claims'"),
    (save_figure, figure(), "distance", "figure 'distance'; did you mean 'distances'")])
def test_an_unlisted_name_is_refused_and_nothing_written(tmp_path, save, part, wrong, meant):
    with pytest.raises(OutputsError, match=f"outputs.yaml has no {meant}"):
        save(part, tmp_path, wrong)
    assert list(tmp_path.iterdir()) == [] and saving.__doc__
