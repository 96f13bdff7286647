"""The commands: what a user who made a mistake reads, and that nothing is lost by it."""

import shutil

import filelock
import pandas as pd
import pytest

from mammorgb_utils import commands, runs
from mammorgb_utils.cli import main
from mammorgb_utils.runs import PROJECT_ROOT, Run


@pytest.fixture
def project(cohort, tmp_path, monkeypatch):
    """A project folder with a cohort of its own; no notebook runs."""
    for module in (runs, commands):
        monkeypatch.setattr(module, "PROJECT_ROOT", tmp_path)
    shutil.copytree(cohort[0], tmp_path / "archive")
    return tmp_path


def failure(capsys, *arguments) -> str:
    assert main(list(arguments)) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_a_mistyped_profile_field_is_named(project, capsys):
    (project / "mine.yaml").write_text("learning_rat: 1.0\n")
    error = failure(capsys, "reproduce", "--profile", str(project / "mine.yaml"))
    assert "mine.yaml: unknown field 'learning_rat'; did you mean 'learning_rate'?" in error


@pytest.mark.parametrize(("change", "message"), [
    (lambda f: f.drop(columns="view"), "column 'view' is missing"),
    (lambda f: f[f["view"] == "CC"], "no row is MLO"),
    (lambda f: f.assign(path=f["path"] + "x"), "files are absent"),
])
def test_a_broken_manifest_stops_before_a_run_folder_is_made(project, capsys, change, message):
    path = project / "archive" / "manifest.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)
    error = failure(capsys, "reproduce", "--profile", "smoke", "--manifest", "archive/manifest.csv", "--run", "r")
    assert message in error and not (project / "runs").exists()


def test_the_run_folder_of_another_study_is_refused(project, capsys):
    Run.open("r", "laptop", "archive/manifest.csv")
    error = failure(capsys, "reproduce", "--profile", "smoke", "--manifest", "archive/manifest.csv", "--run", "r")
    assert "runs/r holds another study" in error and "RUN=" in error


def test_a_run_in_use_is_refused(project, capsys):
    run = Run.open("r", "smoke", "archive/manifest.csv")
    with filelock.FileLock(run.root / ".lock"):
        error = failure(capsys, "reproduce", "--profile", "smoke", "--manifest", "archive/manifest.csv", "--run", "r")
    assert "in use by another process" in error


def test_a_stage_whose_data_is_gone_is_done_again(project):
    run = Run.open("r", "smoke", "archive/manifest.csv")
    notebook = run.root / "notebooks" / "03_sample_sum.ipynb"
    notebook.parent.mkdir()
    run.samples("sum").parent.mkdir(parents=True)
    notebook.touch()
    run.samples("sum").touch()
    commands.forget_lost_stages(run)
    assert notebook.exists()
    run.samples("sum").unlink()
    commands.forget_lost_stages(run)
    assert not notebook.exists()


def test_phantom_writes_a_manifest_and_refuses_to_replace_another(project, capsys):
    arguments = ["phantom", "--profile", "smoke", "--pairs", "2", "--seed", "3", "--out", "data/p"]
    assert main(arguments) == 0
    manifest = project / "data" / "p" / "manifest.csv"
    written = manifest.read_bytes()
    assert main(arguments) == 0 and manifest.read_bytes() == written
    manifest.write_text(manifest.read_text().replace(",train,", ",heldout,"))
    assert "--overwrite" in failure(capsys, *arguments)
    assert main([*arguments, "--overwrite"]) == 0 and manifest.read_bytes() == written


def test_publish_takes_finished_phantom_runs_only(project, capsys):
    assert "isn't finished" in failure(capsys, "publish", "--run", "r")
    root = project / "runs" / "r"
    for name, content in {"notebooks/05_stats.ipynb": "{}", "figures/a.png": "x", "tables/a.csv": "y",
                          "pairs/index.csv": "pair,source\nP1,phantom\nP2,vindr\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    assert "patient data isn't published" in failure(capsys, "publish", "--run", "r")
    assert not (project / "figures").exists()
    (root / "pairs" / "index.csv").write_text("pair,source\nP1,phantom\n")
    assert main(["publish", "--run", "r"]) == 0
    assert {p.name for p in (project / "figures").iterdir()} == {"a.png", "a.csv"}
    assert (project / "notebooks" / "executed" / "05_stats.ipynb").is_file()


def test_every_command_explains_itself(capsys):
    for command in ("reproduce", "phantom", "reference-cdf", "base-model", "run-notebook", "publish"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0 and "usage: mammorgb " + command in capsys.readouterr().out


def test_the_default_manifest_is_of_the_default_cohort():
    frame = pd.read_csv(PROJECT_ROOT / "data_manifest.csv", dtype=str)
    kept = frame[(frame["birads"] == "2") & (frame["implant"] == "false")]
    assert abs(kept.groupby("pair")["view"].nunique().eq(2).sum() - 600) <= 15 and set(frame["source"]) == {"phantom"}
