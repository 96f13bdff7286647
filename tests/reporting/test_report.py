"""The report: what it shows, what it refuses, and that it stands alone."""

import re
import shutil

import pytest
from small_study import small_study

from mammorgb_utils.cli import main
from mammorgb_utils.output.records import AS_WRITTEN, CHANGED, FOREIGN, UNRECORDED, require_unchanged, state
from mammorgb_utils.output.saving import save_table
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.provenance import protocol_rows
from mammorgb_utils.reporting.report import write_report
from mammorgb_utils.runs import RunError, write_json


@pytest.fixture
def study(tmp_path, monkeypatch):
    return small_study(tmp_path, monkeypatch)


def page(study) -> str:
    return write_report(study).read_text()


def text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"data:[^\"]+", "", page)))


def test_the_page_stands_alone(study):
    found = page(study)
    assert "<script" not in found and "@import" not in found
    assert all(link.startswith(("#", "data:")) for link in re.findall(r'(?:href|src)="([^"]*)"', found))
    assert all(re.search(r'alt="[^"]{10,}"', tag) for tag in re.findall(r"<img[^>]*>", found)) and "<img" in found
    anchors = set(re.findall(r'href="#([^"]+)"', found))
    assert anchors and anchors <= set(re.findall(r'id="([^"]+)"', found))
    assert "@media print" in found and 'name="viewport"' in found


def test_a_title_that_asks_gets_no_full_stop(tmp_path, monkeypatch):
    run = small_study(tmp_path, monkeypatch)
    for ending in ("png", "pdf"):
        shutil.copy(run.figures / f"distances.{ending}", run.figures / f"consistency.{ending}")
    assert 'alt="Figure: Does pairing matter? ' in page(run)


def test_claims_come_first_each_with_the_stage_that_judged(study):
    found = text(page(study))
    assert found.index("Claim C1") < found.index("Distances to real")
    assert "C4 · Claim C4 not reproduced on phantoms judged by A5_third_channel; 05_stats: underpowered" in found
    assert "over three runs" in found
    assert "C6 · Claim C6 not run on phantoms judged by 05_stats" in found, "an appendix that judged nothing"


def test_tables_show_the_chosen_columns_escaped_and_rounded(study):
    found = page(study)
    assert "0.123" in found and "0.1234567" not in found and "&lt;b&gt;x&lt;/b&gt;" in found
    assert "1 columns of <code>tables/effects.csv</code>" in found


def test_flow_provenance_and_missing_stages_are_named(study):
    found = text(page(study))
    assert "48 pairs" in found and "24 heldout, 24 train" in found and "1 without a breast mask" in found
    assert "abc123" in found and "2 minutes" in found and "ab" * 32 in found
    assert "Still to be done: 01_preprocess" in found and "weren’t run here, or not in whole: A1_learning_rate" in found


def test_phantoms_may_be_shared_patients_not(tmp_path, monkeypatch):
    assert "Do not share" not in page(small_study(tmp_path, monkeypatch))
    assert "Do not share" in page(small_study(tmp_path, monkeypatch, source="vindr", name="other"))


@pytest.mark.parametrize("name", ["tables/effects.csv", "figures/distances.png", "tables/claims.csv"])
def test_a_changed_file_is_left_out_and_named(study, name):
    file = study.root / name
    assert state(file) == AS_WRITTEN
    file.write_bytes(file.read_bytes().replace(b"reproduced", b"reproducible") + b"\n")
    assert state(file) == CHANGED
    found = page(study)
    assert "Not all of this study is as it was written" in text(found) and "changed since it was written" in text(found)
    assert {"tables/effects.csv": "0.123", "figures/distances.png": "<img", "tables/claims.csv": "Claim C1"}[name] \
        not in found
    place = "claims" if name == "tables/claims.csv" else name.partition(".")[0].replace("s/", "-")
    assert f'href="#{place}"' in found and f'id="{place}"' in found, "the link leads somewhere"
    with pytest.raises(ValueError, match="changed since it was written; remove it and run 05_stats again"):
        require_unchanged(file, "05_stats")


def test_a_table_of_another_study_is_left_out(study, tmp_path, monkeypatch):
    other = small_study(tmp_path, monkeypatch, name="other", seed=3)
    for part in ("effects.csv", ".written/effects.csv.json"):
        (study.tables / part).write_bytes((other.tables / part).read_bytes())
    assert state(study.tables / "effects.csv") == FOREIGN
    assert "of another study" in text(page(study)) and "0.123" not in page(study)


def test_a_table_without_a_record_is_shown_and_named(study):
    (study.tables / ".written" / "effects.csv.json").write_text("{}")
    assert state(study.tables / "effects.csv") == UNRECORDED
    assert "0.123" in page(study) and "Without a record" in page(study)
    require_unchanged(study.tables / "effects.csv", "05_stats")


def test_saving_again_makes_a_changed_table_whole(study):
    file = study.tables / "paper_arithmetic.csv"
    save_table(protocol_table(), study.tables, "paper_arithmetic")
    file.write_text("a\n1\n")
    save_table(protocol_table(), study.tables, "paper_arithmetic")
    assert state(file) == AS_WRITTEN


def protocol_table():
    import pandas as pd

    return pd.DataFrame(protocol_rows(Protocol()))[["name", "value"]]


def test_unreadable_tables_and_notebooks_dont_stop_the_report(study):
    (study.tables / "distances.csv").write_text("")
    (study.root / "notebooks" / "04_metrics.ipynb").write_text("{")
    assert "tables/distances" in text(page(study))


def test_every_field_says_what_it_means_and_whether_the_paper_leaves_it_open():
    rows = {row["name"]: row for row in protocol_rows(Protocol())}
    assert list(rows) == list(Protocol.model_fields) and all(row["meaning"] for row in rows.values())
    assert {name for name, row in rows.items() if row["open"]} == {
        "real_split", "aspect", "match_scope", "sum_scale", "lr_schedule", "warmup_steps", "weight_decay",
        "max_grad_norm", "ema_decay", "sampler", "sampling_spacing", "sampling_weights", "mask_method"}
    assert rows["warmup_steps"]["meaning"] == "linear warm-up"


@pytest.mark.parametrize("path", ["/home/someone/own.json", "../someone/own.json", "~/someone/own.json",
                                  r"C:\someone\own.json"])
def test_protocol_rows_name_departures_and_no_folder_outside_the_project(path):
    rows = {row["name"]: row for row in protocol_rows(Protocol(reference_cdf=path))}
    assert rows["image_size"]["value"] == "64" and rows["image_size"]["paper"] == "256"
    assert rows["reference_cdf"]["value"] == "own.json" and rows["alpha"]["paper"] == ""


def test_a_report_of_no_study_or_of_another_version_is_refused(study, capsys):
    assert main(["report", "--run", "nothing"]) == 1
    assert "runs/nothing holds no study; there are: small" in capsys.readouterr().err
    write_json(study.root / "protocol.json", {"protocol": {"colour": 3}})
    assert main(["report", "--run", "small"]) == 1
    assert "of another version of this code" in capsys.readouterr().err
    with pytest.raises(RunError, match="holds no study"):
        type(study).recorded("../small")


def test_the_command_writes_the_report(study, capsys):
    assert main(["report", "--run", "small"]) == 0
    assert capsys.readouterr().out.strip() == str(study.root / "report.html")
