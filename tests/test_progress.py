"""What a study's watcher is told: a line a stage, expected times from studies that are there, a bar in a terminal."""

import io
import json
import os

import pandas as pd
import pytest

from mammorgb_utils import progress
from mammorgb_utils.progress import Watch, clock, expected_seconds, last_progress, noted, read_journal, stage_seconds
from mammorgb_utils.protocol import Protocol

SMOKE = Protocol.load("smoke")
STAGES = ["01_preprocess", "02_train_sum", "02_train_zero", "05_stats"]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(progress, "PUBLISHED", tmp_path / "stage_times.csv")

    def run(name, *notes, profile="smoke"):
        root = tmp_path / "runs" / name
        (root / "notebooks").mkdir(parents=True)
        (root / "protocol.json").write_text(json.dumps({"protocol": {"profile": profile}}))
        for stage, seconds, done in notes:
            tell(root, stage, seconds, done)
        return root

    return run


def tell(root, stage, seconds=None, done=True):
    """What a stage notes that began, and ended after some seconds."""
    note = {"stage": stage, "began": 0.0, "machine": progress._MACHINE}
    ending = [] if seconds is None else [note | {"seconds": seconds, "done": done}]
    with (root / progress.JOURNAL).open("a") as journal:
        journal.writelines(json.dumps(line) + "\n" for line in [note, *ending])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_begin_and_end_are_noted_also_of_what_failed(runs):
    root = runs("a")
    with noted(root, "01_preprocess"):
        assert [note.get("done") for note in read_journal(root)] == [None]
    with pytest.raises(KeyError), noted(root, "05_stats"):
        raise KeyError
    assert [(note["stage"], note.get("done")) for note in read_journal(root)] == [
        ("01_preprocess", None), ("01_preprocess", True), ("05_stats", None), ("05_stats", False)]
    assert list(stage_seconds(root)) == ["01_preprocess"]


def test_a_line_that_was_cut_off_is_none(runs):
    root = runs("a", ("01_preprocess", 3.0, True))
    with (root / progress.JOURNAL).open("a") as journal:
        journal.write('{"stage": "02_tr')
    assert [note["stage"] for note in read_journal(root)] == ["01_preprocess"] * 2 and read_journal(root / "none") == []


def test_pieces_of_a_stage_that_was_ended_and_went_on_count_together(runs):
    root = runs("a", ("02_train_sum", 30.0, False), ("02_train_sum", 50.0, True), ("02_train_sum", 4.0, True))
    assert stage_seconds(root) == {"02_train_sum": 80.0}


def test_times_are_those_of_studies_of_the_profile_here(runs):
    runs("a", ("01_preprocess", 10.0, True), ("05_stats", 4.0, True))
    runs("b", ("01_preprocess", 12.0, True))
    runs("c", ("01_preprocess", 900.0, True), profile="laptop")
    assert expected_seconds("smoke")[0] == {"01_preprocess": 12.0, "05_stats": 4.0}
    assert expected_seconds("paper") == ({}, "")


def test_times_of_another_machine_are_not_ones_own(runs, monkeypatch):
    runs("a", ("01_preprocess", 10.0, True))
    monkeypatch.setattr(progress, "_MACHINE", "another, 96 cores")
    assert expected_seconds("smoke") == ({}, "")


def test_without_a_study_here_the_published_times_count(runs):
    frame = pd.DataFrame({"profile": ["smoke", "paper"], "stage": ["01_preprocess"] * 2, "seconds": [7.0, 9.0],
                          "machine": "m, 2 cores"})
    frame.to_csv(progress.PUBLISHED, index=False)
    assert expected_seconds("smoke") == ({"01_preprocess": 7.0}, "as measured on m, 2 cores")


def test_a_log_gets_a_line_a_stage_and_no_bar(runs, capsys):
    runs("before", *((stage, 60.0, True) for stage in STAGES))
    root = runs("now")
    watch = Watch(root, SMOKE, STAGES, cores=2)
    for stage in STAGES[:3]:
        tell(root, stage)
        watch.look()
    tell(root, "01_preprocess", 65.0)
    tell(root, "02_train_sum", 5.0, done=False)
    watch.close()
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "runs/now: 4 stages to do, about 3:00 as studies of this profile took here"
    assert [line.split()[:6] for line in lines] == [["1/4", "01_preprocess", "1:05", "of", "about", "1:00"],
                                                   ["2/4", "02_train_sum", "0:05", "of", "about", "1:00,"]]
    assert "NOT DONE" in lines[1]


def test_without_times_nothing_is_foretold(runs, capsys):
    root = runs("now")
    watch = Watch(root, SMOKE, STAGES[:1], cores=2)
    tell(root, "01_preprocess", 65.0)
    watch.close()
    assert "about" not in capsys.readouterr().out


def test_a_stage_that_is_there_counts_only_once_it_is_done_anew(runs, capsys):
    root = runs("now")
    for stage in STAGES:
        (root / "notebooks" / f"{stage}.ipynb").touch()
    watch = Watch(root, SMOKE, STAGES, cores=2)
    tell(root, "05_stats", 2.0)
    watch.close()
    assert capsys.readouterr().out.splitlines()[0] == "runs/now: no stages to do" and watch._open == ["05_stats"]


def test_a_terminal_gets_a_bar_that_knows_what_runs_and_leaves_nothing_behind(runs, monkeypatch):
    runs("before", *((stage, 60.0, True) for stage in STAGES))
    root, terminal = runs("now"), Terminal()
    monkeypatch.setattr(progress.sys, "stdout", terminal)
    monkeypatch.setattr(progress.time, "time", lambda: 30.0)
    (root / progress.LOG).write_bytes(b"sum:  10%|# |\rsum:  48%|## |\r")
    watch = Watch(root, SMOKE, STAGES, cores=2)
    tell(root, "01_preprocess")
    watch.look()
    assert "0/4" in terminal.getvalue() and "01_preprocess 0:30/1:00" in terminal.getvalue()
    assert "sum:  48%|" in terminal.getvalue() and watch._bar.n == pytest.approx(30 / 240)
    watch.close()
    assert terminal.getvalue().endswith("\r")


def test_the_last_progress_is_that_of_the_log(tmp_path):
    assert last_progress(tmp_path) == ""
    (tmp_path / progress.LOG).write_bytes(b"x" * 2000 + b"\nmodel:  1%|  |\rmodel:  2%|# |\njobid: 2\n")
    assert last_progress(tmp_path) == "model:  2%|# |"


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (65, "1:05"), (3605, "1:00:05"), (754, "12:34")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_stages_that_work_side_by_side_write_whole_lines(runs):
    root = runs("a")
    children = []
    for number in range(4):
        child = os.fork()
        if not child:
            for _ in range(50):
                with noted(root, f"stage_{number}"):
                    pass
            os._exit(0)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    assert len(read_journal(root)) == 4 * 50 * 2
