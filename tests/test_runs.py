"""Run folders: one study each, nothing half-written."""

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest

import mammorgb_utils
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


def test_a_study_from_before_a_field_goes_on_with_its_default_alone(project):
    root, file = Run.open("mine", "smoke").root, "protocol.json"
    record = json.loads((root / file).read_text())
    del record["protocol"]["condition"]
    (root / file).write_text(json.dumps(record))
    assert Run.open("mine", "smoke").protocol.condition == "none"
    with pytest.raises(RunError, match="holds another study .condition: .none. recorded, .density. asked for"):
        Run.open("mine", "smoke", condition="density")
    del record["protocol"]["sampling_spacing"]
    (root / file).write_text(json.dumps(record))
    assert Run.recorded("mine").protocol.sampling_spacing == "trailing", "as it was drawn then"


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


def git(folder, *arguments):
    who = ("-c", "user.name=n", "-c", "user.email=n@n", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["study", "two words"])
def test_the_commit_is_that_of_the_project_alone(tmp_path, monkeypatch, name):
    root = tmp_path / name
    root.mkdir()
    monkeypatch.setattr(runs, "PROJECT_ROOT", root)
    version = f"version {mammorgb_utils.__version__}, not a git checkout"
    assert runs._commit() == version
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "somebody else's")
    assert runs._commit() == version, "a download inside another repository"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert runs._commit() == version
    monkeypatch.delenv("GIT_DIR")
    git(root, "init", "-q")
    (root / "code.py").write_text("a = 1")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "own")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    own = subprocess.run(["git", "-C", root, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True,
                         text=True, env={"PATH": os.environ["PATH"]}).stdout.strip()
    assert runs._commit() == own
    (root / "code.py").write_text("a = 2")
    assert runs._commit() == f"{own}-dirty"


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
