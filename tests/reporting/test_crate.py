"""A run folder as a Workflow Run RO-Crate, held against the shapes of its profile."""

import json
from pathlib import Path

import pytest
import requests
import rocrate
from rocrate.rocrate import ROCrate
from rocrate_validator import services
from rocrate_validator.models import Severity
from rocrate_validator.utils.http import HttpRequester
from small_study import executed, small_study

from mammorgb_utils.cli import main
from mammorgb_utils.reporting.crate import NAME, write_crate
from mammorgb_utils.runs import RunError

CONTEXT = json.loads((Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_text())
BIOSCHEMAS = "https://bioschemas.org/"  # where the crate library's context, a later one, names some terms otherwise
CONTEXT["@context"] |= {"ComputationalWorkflow": f"{BIOSCHEMAS}ComputationalWorkflow",
                        "FormalParameter": f"{BIOSCHEMAS}FormalParameter",
                        "input": f"{BIOSCHEMAS}ComputationalWorkflow#input",
                        "output": f"{BIOSCHEMAS}ComputationalWorkflow#output"}
NOT_KNOWN = ("agent", "author", "publisher",  # the records name no person
             "README.md", "a url", "absolute URI")  # there is none; notebooks are files of the crate


@pytest.fixture
def run(tmp_path, monkeypatch):
    study = small_study(tmp_path, monkeypatch)
    executed(study, "01_preprocess", minutes=1.0)
    return study


def issues(folder, monkeypatch, severity):
    """What the validator finds wrong; nothing is downloaded."""
    answer = requests.Response()
    answer.status_code, answer._content = 200, json.dumps(CONTEXT).encode()
    answer.headers["Content-Type"] = "application/ld+json"
    monkeypatch.setattr(HttpRequester, "get", lambda self, url, **more: answer, raising=False)
    settings = services.ValidationSettings(rocrate_uri=str(folder), profile_identifier="workflow-run-crate",
                                           requirement_severity=severity)
    return [issue.message for issue in services.validate(settings).get_issues()]


def test_it_has_what_the_profile_demands(run, monkeypatch):
    write_crate(run)
    assert issues(run.root, monkeypatch, Severity.REQUIRED) == []
    content = json.loads((run.root / NAME).read_text())
    content["@graph"] = [entity for entity in content["@graph"] if entity["@id"] != "#study"]
    (run.root / NAME).write_text(json.dumps(content))
    assert issues(run.root, monkeypatch, Severity.REQUIRED), "the validator sees a missing action"


def test_what_is_recommended_lacks_only_a_person(run, monkeypatch):
    write_crate(run)
    found = issues(run.root, monkeypatch, Severity.RECOMMENDED)
    assert [message for message in found if not any(name in message for name in NOT_KNOWN)] == []


def test_it_names_what_the_study_shows_and_when_its_stages_ran(run):
    crate = ROCrate(str(write_crate(run).parent))
    study = crate.dereference("#study")
    assert crate.mainEntity.id == "workflow/Snakefile" and study["instrument"].id == "workflow/Snakefile"
    shown = {entity.id for entity in study["result"]}
    assert {"figures/distances.png", "tables/claims.csv", "notebooks/05_stats.ipynb"} <= shown
    assert all((run.root / file).is_file() for file in shown)
    stage = crate.dereference("#05_stats")
    assert stage["instrument"].id == "workflow/notebooks/05_stats.ipynb" and stage["name"] == "05 · A stage"
    assert (study["startTime"], study["endTime"]) == ("2026-01-02T03:04:05+00:00", "2026-01-02T03:06:05+00:00")


def test_a_patients_study_is_named_as_such_and_its_manifest_known_by_digest_alone(tmp_path, monkeypatch):
    study = small_study(tmp_path, monkeypatch, source="archive")
    text = write_crate(study).read_text()
    assert "Patient data: do not share." in text and "ab" * 32 in text and "manifest.csv" not in text
    assert ROCrate(str(study.root)).license["name"] == "Not to be shared: patient data"


def test_a_folder_without_a_finished_stage_is_refused(tmp_path, monkeypatch, capsys):
    study = small_study(tmp_path, monkeypatch)
    (study.root / "notebooks" / "05_stats.ipynb").unlink()
    with pytest.raises(RunError, match="no executed notebook yet; run `make reproduce RUN=small`"):
        write_crate(study)
    assert main(["crate", "nobody"]) == 1 and "runs/nobody holds no study" in capsys.readouterr().err
