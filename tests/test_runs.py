"""Run folders: one study each, nothing half-written."""

import os
import subprocess

import numpy as np
import pandas as pd
import pytest

from mammorgb_utils import runs
from mammorgb_utils.runs import Run, RunError, atomic_path, write_array, write_csv, write_json


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "PROJECT_ROOT", tmp_path)
    (tmp_path / "data_manifest.csv").write_text("pair\n")
    return tmp_path


def test_the_same_study_opens_again(project):
    assert Run.open("mine", "smoke") == Run.open("mine", "smoke")
    assert (project / "runs" / "mine" / "protocol.json").is_file()


def test_another_protocol_is_refused_with_the_difference_and_the_remedy(project):
    Run.open("mine", "smoke")
    with pytest.raises(RunError, match=r"runs/mine holds another study \(epochs: 1.0 recorded, 3.0 asked.*RUN="):
        Run.open("mine", "smoke", epochs=3)


def test_another_manifest_is_refused(project):
    Run.open("mine", "smoke")
    (project / "data_manifest.csv").write_text("pair\nP1\n")
    with pytest.raises(RunError, match="manifest: its content differs"):
        Run.open("mine", "smoke")


def test_an_absent_manifest_says_what_to_do(project):
    with pytest.raises(RunError, match="other.csv not found.*MANIFEST="):
        Run.open("mine", "smoke", manifest="other.csv")


def test_a_damaged_record_is_refused_without_a_traceback(project):
    Run.open("mine", "smoke")
    (project / "runs" / "mine" / "protocol.json").write_text('{"protocol"')
    with pytest.raises(RunError, match="protocol.json.*damaged"):
        Run.open("mine", "smoke")


def test_a_mistyped_encoding_lists_the_studys(project):
    with pytest.raises(RunError, match="'summ' isn't in this study; use all, or one of sum, absdiff, zero"):
        Run.open("mine", "smoke").encodings("summ")


def test_a_failed_writer_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert '"old"' in target.read_text() and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_arrays_come_back_memory_mapped(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_array(tmp_path / "a.npy", array)
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), array)


def test_what_a_killed_writer_began_goes_and_a_living_ones_stays(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    killed, living = (tmp_path / f".a.csv.{process}.csv" for process in (ended.pid, os.getppid()))
    other = tmp_path / f".b.csv.{ended.pid}.csv"
    for file in (killed, living, other):
        file.write_text("half")
    write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1]}))
    assert {file.name for file in tmp_path.iterdir()} == {"a.csv", living.name, other.name}
