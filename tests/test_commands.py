"""The commands: what a user who made a mistake reads, and that nothing is lost by it."""

import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import filelock
import pandas as pd
import pytest

from mammorgb_utils import beforehand, commands, runs, scheduling
from mammorgb_utils.cli import main
from mammorgb_utils.data.phantom import cohort as phantom_cohort
from mammorgb_utils.output.outputs import load_outputs, missing_files
from mammorgb_utils.output.records import record
from mammorgb_utils.output.saving import save_table
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting import documents
from mammorgb_utils.reporting.ledger import claims_ledger, open_questions
from mammorgb_utils.runs import PROJECT_ROOT, Run, write_json


@pytest.fixture
def project(cohort, tmp_path, monkeypatch):
    """A project folder with a cohort of its own; no notebook runs."""
    for module in (runs, commands, scheduling, documents, phantom_cohort):
        monkeypatch.setattr(module, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(beforehand, "_too_small", lambda protocol, index: ())  # as the cohort is
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
    assert "mine.yaml: line 1, unknown field 'learning_rat'; did you mean 'learning_rate'?" in error


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


def test_a_changed_file_is_the_last_thing_a_user_reads(project, capsys, monkeypatch):
    path = project / "archive" / "manifest.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[frame["birads"].eq("2").idxmax(), "sha256"] = "0" * 64
    frame.to_csv(path, index=False)
    run = PROJECT_ROOT / "runs" / "test-changed"
    shutil.rmtree(run, ignore_errors=True)
    archive = PROJECT_ROOT / "data" / "test-changed"
    shutil.rmtree(archive, ignore_errors=True)
    shutil.copytree(project / "archive", archive)
    for module in (runs, commands, scheduling, documents, phantom_cohort):
        monkeypatch.setattr(module, "PROJECT_ROOT", PROJECT_ROOT)
    error = failure(capsys, "reproduce", "--profile", "smoke", "--manifest", "data/test-changed/manifest.csv",
                    "--run", "test-changed")
    assert "01_preprocess.failed.ipynb: ManifestError: manifest.csv: 1 files have changed" in error
    assert "column sha256" in error and not (run / "pairs" / "index.csv").exists()
    shutil.rmtree(run)
    shutil.rmtree(archive)


@pytest.mark.parametrize("place", ["mine.yaml", "lab/mine.yaml"])
def test_train_and_sample_use_the_run_folder_of_reproduce(project, capsys, monkeypatch, place):
    (project / "lab").mkdir()
    smoke = (PROJECT_ROOT / "profiles" / "smoke.yaml").read_text()
    (project / place).write_text(smoke.replace("profile: smoke", "profile: named"))
    asked = snakemake_calls(monkeypatch)
    monkeypatch.setattr(commands, "_report_on", lambda run: asked.append(run.root.name))
    which = ["--profile", str(project / place), "--manifest", "archive/manifest.csv"]
    assert main(["reproduce", *which]) == 0 and asked == ["named"]
    for command in ("train", "sample"):
        assert re.search("notebook 0[12]", failure(capsys, command, *which))
    assert [path.name for path in (project / "runs").iterdir()] == ["named"]


def test_a_mistake_in_the_profile_is_told_before_anything_is_computed(project, capsys):
    (project / "mine.yaml").write_text("reference_cdf: nowhere.json\nimage_size: 96\n")
    error = failure(capsys, "reproduce", "--profile", str(project / "mine.yaml"), "--manifest", "archive/manifest.csv")
    assert "nothing was computed, 2 faults" in error and not (project / "runs").exists()


def test_the_run_folder_of_another_study_is_refused(project, capsys):
    Run.open("r", "laptop", "archive/manifest.csv")
    error = failure(capsys, "reproduce", "--profile", "smoke", "--manifest", "archive/manifest.csv", "--run", "r")
    assert "runs/r holds another study" in error and "RUN=" in error


def test_a_run_in_use_is_refused(project, capsys):
    run = Run.open("r", "smoke", "archive/manifest.csv")
    with filelock.FileLock(run.root / ".lock"):
        error = failure(capsys, "reproduce", "--profile", "smoke", "--manifest", "archive/manifest.csv", "--run", "r")
    assert "in use by another process" in error


def finished(project, source="phantom", profile="laptop"):
    """A run folder with every file that a finished study has; the content doesn't matter here."""
    root = project / "runs" / "r"
    protocol = Protocol.load(profile)
    write_json(root / "protocol.json", {"protocol": protocol.model_dump(mode="json"), "manifest_sha256": ""})
    for file in missing_files(root):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(f"{file}\n")
        record(root / file)
    claims = pd.DataFrame([{"id": "C4", "verdict": "underpowered"}])
    save_table(claims, root / "tables", "claims")
    save_table(claims_ledger(root / "tables"), root / "tables", "claims_ledger")
    save_table(open_questions(root / "tables"), root / "tables", "open_questions")
    (root / "pairs" / "index.csv").write_text(f"pair,source\nP1,{source}\n")
    return root


@pytest.mark.parametrize(("lost", "stage"), [
    ("samples/sum/pairs.npy", "03_sample_sum"), ("figures/gallery_zero.png", "03_sample_zero"),
    ("tables/claims.csv", "05_stats"), ("pairs/images.csv", "01_preprocess")])
def test_a_stage_of_which_a_file_is_gone_is_done_again(project, lost, stage):
    root = finished(project)
    notebooks = set((root / "notebooks").iterdir())
    commands.forget_lost_stages(root)
    assert set((root / "notebooks").iterdir()) == notebooks
    (root / lost).unlink()
    commands.forget_lost_stages(root)
    assert {path.stem for path in notebooks - set((root / "notebooks").iterdir())} == {stage}


def test_phantom_writes_a_manifest_and_refuses_to_replace_another(project, capsys):
    arguments = ["phantom", "--profile", "smoke", "--pairs", "2", "--seed", "3", "--out", "data/p"]
    assert main(arguments) == 0
    manifest = project / "data" / "p" / "manifest.csv"
    written = manifest.read_bytes()
    assert main(arguments) == 0 and manifest.read_bytes() == written
    manifest.write_text(manifest.read_text().replace(",train,", ",heldout,"))
    assert "--overwrite" in failure(capsys, *arguments)
    assert main([*arguments, "--overwrite"]) == 0 and manifest.read_bytes() == written


def test_a_cohort_that_has_its_own_folder_has_its_manifest_there(project, capsys):
    assert phantom_cohort.cohort_places(Protocol(), Path("data/p")) == (project / "data" / "p",
                                                                        project / "data" / "p" / "manifest.csv")
    assert phantom_cohort.cohort_places(Protocol())[1] == project / "data_manifest.csv"
    error = failure(capsys, "phantom", "--profile", "smoke", "--out", str(project / "p"), "--manifest", "data/m.csv")
    assert "--manifest m.csv must lie in the cohort's folder or above it" in error and not (project / "p").exists()
    assert "phantom_seed" in failure(capsys, "phantom", "--profile", "smoke", "--seed", "-1")


def test_a_phantom_manifest_from_before_density_stays_as_it_is(project):
    arguments = ["phantom", "--profile", "smoke", "--pairs", "2", "--seed", "3", "--out", "data/p"]
    assert main(arguments) == 0
    manifest = project / "data" / "p" / "manifest.csv"
    pd.read_csv(manifest, dtype=str, keep_default_na=False).drop(columns="density").to_csv(manifest, index=False)
    older = manifest.read_bytes()
    assert main(arguments) == 0 and manifest.read_bytes() == older


def test_publish_takes_the_finished_laptop_study_on_phantoms_only(project, capsys):
    assert "isn't finished" in failure(capsys, "publish", "--run", "r")
    root = finished(project, source="vindr")
    assert "patient data isn't published" in failure(capsys, "publish", "--run", "r")
    finished(project, profile="smoke")
    assert "is a smoke study" in failure(capsys, "publish", "--run", "r")
    finished(project)
    (root / "figures" / ".half.png.12.png").touch()
    (root / "notebooks" / "02_train_sum.failed.ipynb").touch()
    assert not (project / "figures").exists()
    assert main(["publish", "--run", "r"]) == 0
    copied = {path.name for folder in ("figures", "notebooks/executed") for path in (project / folder).iterdir()}
    assert copied == {Path(file).name for file in load_outputs().study_files(Protocol().encodings)}
    for file in load_outputs().files(["A5_third_channel"]):
        (root / file).write_text(f"{file}\n")
    assert "third_channel.pdf: without a record; remove it" in failure(capsys, "publish", "--run", "r")
    for file in load_outputs().files(["A5_third_channel"]):
        record(root / file)
    later = pd.DataFrame([{"id": "C4", "verdict": "not reproduced"}])
    save_table(later, root / "tables", "third_channel_claim")
    assert "an appendix judged a claim since it was written" in failure(capsys, "publish", "--run", "r")
    save_table(claims_ledger(root / "tables"), root / "tables", "claims_ledger")
    (root / "figures" / "samplers.png").touch()  # of an appendix that isn't finished
    (project / "figures" / "samplers.png").touch()  # of an earlier study that had it
    assert main(["publish", "--run", "r"]) == 0
    assert (project / "figures" / "third_channel_claim.csv").is_file()
    assert (project / "notebooks" / "executed" / "A5_third_channel.ipynb").is_file()
    assert not (project / "figures" / "samplers.png").exists()
    (root / "tables" / "claims.csv").write_text("id,verdict\nC1,reproduced\n")
    assert "tables/claims.csv: changed since it was written" in failure(capsys, "publish", "--run", "r")
    (root / "tables" / "claims.csv").unlink()
    assert "isn't finished" in failure(capsys, "publish", "--run", "r")


def test_a_finished_study_is_not_asked_for_appendices():
    files = [file for stage in load_outputs().appendices for file in load_outputs().files([stage])]
    assert "figures/learning_rates.pdf" in files and "tables/third_channel_claim.csv" in files
    assert not set(files) & set(load_outputs().study_files(Protocol().encodings))


def test_appendices_need_pairs_and_run_those_asked_for(project, capsys, monkeypatch):
    assert "runs/r has no pairs yet; run `make reproduce RUN=r` first" in failure(capsys, "appendices", "--run", "r")
    run = Run.open("r", "smoke", "archive/manifest.csv")
    write_json(run.pairs_index, {})
    for stage in ("A1_learning_rate", "A5_third_channel"):
        for file in load_outputs().files([stage]):
            (run.root / file).parent.mkdir(exist_ok=True)
            (run.root / file).touch()
    (run.root / "figures" / "learning_rates.pdf").unlink()
    asked = snakemake_calls(monkeypatch)
    monkeypatch.setattr(commands, "_report_on", lambda run: asked.append("report"))
    arguments = ["--profile", "smoke", "--manifest", "archive/manifest.csv", "--run", "r", "--only", "A1", "A5"]
    assert main(["appendices", *arguments]) == 0
    assert asked == ["notebooks/A1_learning_rate.ipynb", "notebooks/A5_third_channel.ipynb", "report"]
    assert [(run.root / file).exists() for file in asked[:2]] == [False, True], "done again: what lost a figure"


def snakemake_calls(monkeypatch):
    """The targets that Snakemake is given, in order."""
    asked = []
    monkeypatch.setattr(commands, "run_snakemake", lambda run, options, manifest, targets=(): asked.extend(targets))
    return asked


def executed(root, *stages):
    for stage in stages:
        write_json(root / "notebooks" / f"{stage}.ipynb", {})


@pytest.mark.parametrize(("there", "gathered"), [(["05_stats", "A7_beyond_silhouettes", "06_ledger"], True),
                                                 (["05_stats", "A7_beyond_silhouettes"], True), (["05_stats"], False),
                                                 ([], False)])
def test_after_appendices_what_gathers_them_follows_where_the_study_got_so_far(project, monkeypatch, there, gathered):
    run = Run.open("r", "smoke", "archive/manifest.csv")
    write_json(run.pairs_index, {})
    executed(run.root, "01_preprocess", *there)
    monkeypatch.setattr(commands, "_report_on", lambda run: None)
    asked = snakemake_calls(monkeypatch)
    arguments = ["--profile", "smoke", "--manifest", "archive/manifest.csv", "--run", "r", "--only", "A5"]
    assert main(["appendices", *arguments]) == 0
    assert asked == ["notebooks/A5_third_channel.ipynb", *(["notebooks/06_ledger.ipynb"] if gathered else [])]


@pytest.mark.parametrize("name", ["007", "lab/exp1", "../x", "1e3"])
def test_a_run_name_that_leads_elsewhere_is_refused(project, capsys, name):
    error = failure(capsys, "reproduce", "--profile", "smoke", "--manifest", "archive/manifest.csv", "--run", name)
    assert "run name" in error and not (project / "runs").exists()


def test_a_profile_of_ones_own_reaches_snakemake(project, monkeypatch):
    """Relative to the project's root, wherever Snakemake and the kernels stand."""
    path = PROJECT_ROOT / "profiles" / "smoke.yaml"
    run = Run(project / "runs" / "r", Protocol.load("profiles/smoke.yaml"), project / "archive" / "manifest.csv")
    run.root.mkdir(parents=True)
    assert path.is_file() and run.protocol == Protocol.load("smoke")
    monkeypatch.setattr(scheduling, "PROJECT_ROOT", PROJECT_ROOT)
    options = Namespace(profile="profiles/smoke.yaml", cores=1, snakemake=["--dry-run"])
    scheduling.run_snakemake(run, options, "archive/manifest.csv")


@pytest.fixture
def dry_run(project):
    """Rules that Snakemake would execute again, and why, in a study of which everything is done."""
    root = project / "runs" / "r"
    encodings = Protocol.load("smoke").encodings
    notebooks = [file for name in load_outputs().notebooks for file in load_outputs().executed(name, encodings)]
    executed(root, *(Path(file).stem for file in notebooks))

    def snakemake(*options):
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT_ROOT / "Snakefile"), "--directory",
                   str(root), "--cores", "1", "--config", "profile=smoke", "manifest=m.csv", "run=r", *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    def again():
        planned = snakemake("--dry-run", "--rerun-triggers", "params", "input", "--", *notebooks)
        return re.findall(r"rule (\w+):\n(?:.*\n)*?    reason: Params have changed", planned)

    snakemake("--touch", "--forceall", "--", *notebooks)
    return root, again


def test_answers_of_readers_and_tables_of_appendices_execute_again_what_reads_them(dry_run):
    root, again = dry_run
    assert again() == []
    write_json(root / "reader_study" / "results" / "R1.json", {"reader": "R1"})
    assert again() == ["reader_study"]
    save_table(pd.DataFrame({"id": ["C4"], "verdict": ["reproduced"]}), root / "tables", "third_channel_claim")
    assert sorted(again()) == ["ledger", "reader_study"]


def test_every_command_explains_itself(capsys):
    for command in ("reproduce", "appendices", "run-notebook", "report", "publish", "export", "score", "reader-study",
                    "phantom", "manifest", "real-pairs", "reference-cdf", "train", "sample", "base-model"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0 and "usage: mammorgb " + command in capsys.readouterr().out


def test_the_default_manifest_is_of_the_default_cohort():
    frame = pd.read_csv(PROJECT_ROOT / "data_manifest.csv", dtype=str)
    kept = frame[(frame["birads"] == "2") & (frame["implant"] == "false")]
    assert abs(kept.groupby("pair")["view"].nunique().eq(2).sum() - 600) <= 15 and set(frame["source"]) == {"phantom"}
