"""`mammorgb score`: what it writes, what it refuses, and what tampering does."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from small_study import SIZE, N, drawn_pairs, small_study

from mammorgb_utils.cli import main
from mammorgb_utils.data.pair_folder import export_pairs
from mammorgb_utils.evaluation import score
from mammorgb_utils.evaluation.score import ScoreError, candidate_sets, score_tables
from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.report import write_report
from mammorgb_utils.reporting.score_folder import ScoreFolderError, read_score, score_rows
from mammorgb_utils.runs import sha256, write_array

TABLES = {}  # of the last score, for tests that ask how they are written


def kept(*given):
    TABLES.update(score_tables(*given))
    return TABLES


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A study, and the score of an exported folder of pairs against it."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("project")
        study = small_study(root, patch)
        export_pairs(drawn_pairs(N, 7), root / "theirs", prefix="x")
        patch.setattr(score, "score_tables", kept)
        assert main(["score", str(root / "theirs"), "--run", "small", "--name", "theirs"]) == 0
        yield study, root


def refusal(capsys, *arguments: str) -> str:
    assert main(["score", *arguments]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_a_score_is_tables_a_page_and_provenance(scored):
    folder = scored[0].root / "scores" / "theirs"
    card, facts = read_score(folder, scored[0])
    figures = card.set_index("figure")
    assert set(figures.index) == set(load_outputs().score)
    assert figures.loc["iou_median", "value"] == pytest.approx(figures.loc["iou_median", "real"], abs=0.1)
    assert (facts["n_pairs"], facts["n_real"], facts["label"], facts["study"]) == (N, N, "theirs", "small")
    assert {"commit", "numpy"} <= set(facts["code"]) and len(facts["pairs_sha256"]) == 64
    page = (folder / "score.html").read_text()
    assert "<script" not in page and "http" not in page.replace("http://www.w3.org", "")
    assert "most tests have little power" in page


def test_a_score_says_nothing_about_single_real_pairs(scored):
    for file in (scored[0].root / "scores" / "theirs").iterdir():
        assert "P0001" not in file.read_text(), file.name


def test_the_same_pairs_score_the_same(scored, capsys):
    study, root = scored
    write_array(root / "same.npy", drawn_pairs(N, 7))
    before = (study.root / "scores" / "theirs" / "card.csv").read_bytes()
    arguments = ["--run", "small", "--name", "theirs", "--out", str(root / "again")]
    assert main(["score", str(root / "theirs"), *arguments]) == 0
    assert (root / "again" / "card.csv").read_bytes() == before
    assert main(["score", str(root / "again"), "--check"]) == 0
    assert "every table as it was written" in capsys.readouterr().out


def test_files_beside_the_pairs_are_named_and_counted(scored, tmp_path, monkeypatch, capsys):
    export_pairs(drawn_pairs(N, 7), tmp_path / "pairs", prefix="x")
    (tmp_path / "pairs" / "x_00099_CC.tif").write_text("not read")
    monkeypatch.setattr(score, "score_tables", lambda *given: TABLES)
    assert main(["score", str(tmp_path / "pairs"), "--run", "small", "--out", str(tmp_path / "out")]) == 0
    assert "1 files were not read, such as x_00099_CC.tif: views are named" in capsys.readouterr().err
    page = (tmp_path / "out" / "score.html").read_text()
    assert "1 files beside the pairs were not read." in page and "x_00099" not in page


def test_another_set_under_the_same_name_is_refused(scored, capsys):
    write_array(scored[1] / "other.npy", drawn_pairs(N, 8))
    error = refusal(capsys, str(scored[1] / "other.npy"), "--run", "small", "--name", "theirs")
    assert "theirs holds a score of other pairs; choose another --name" in error
    assert "use letters" in refusal(capsys, str(scored[1] / "other.npy"), "--run", "small", "--name", "../x")


def test_wrong_pairs_and_studies_are_named(scored, capsys):
    root = scored[1]
    write_array(root / "two.npy", drawn_pairs(2, 8))
    assert "2 candidate pairs; at least 3 are needed" in refusal(capsys, str(root / "two.npy"), "--run", "small")
    write_array(root / "wide.npy", drawn_pairs(4, 8, size=32))
    assert "the views are 32 × 32, the study's 64 × 64" in refusal(capsys, str(root / "wide.npy"), "--run", "small")
    assert "runs/none holds no study" in refusal(capsys, str(root / "two.npy"), "--run", "none")
    (root / "who.csv").write_text("patient\n" + "a\n" * N)
    error = refusal(capsys, str(root / "theirs"), "--run", "small", "--name", "b", "--patients", str(root / "who.csv"))
    assert "one of them holds more than half" in error


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda f: (f / "card.csv").write_text("figure,value\nemd,0.0\n"), "card.csv was changed"),
    (lambda f: (f / "effects.csv").unlink(), "effects.csv is missing"),
    (lambda f: (f / "provenance.json").unlink(), "not a finished score"),
    (lambda f: (f / "provenance.json").write_text("{"), "provenance.json is damaged"),
    (lambda f: set_fact(f, "version", 0), "a score of version 0"),
    (lambda f: (f / "provenance.json").write_text("[]"), "a score of version unknown"),
    (lambda f: (f / "provenance.json").write_bytes(b"\xff\xfe{"), "provenance.json is damaged"),
    *[(lambda f, name=name: set_fact(f, name, None), f"provenance.json is damaged .'{name}' isn't there")
      for name in ("label", "study", "n_pairs", "pairs_sha256", "study_sha256", "files")],
    (lambda f: set_fact(f, "files", {}), "'files' isn't there as it was written"),
    (lambda f: signed(f, "name\nx\n"), "card.csv lacks the column 'figure'"),
])
def test_a_spoilt_score_is_refused(scored, tmp_path, spoil, message):
    folder = shutil.copytree(scored[0].root / "scores" / "theirs", tmp_path / "theirs")
    spoil(folder)
    with pytest.raises(ScoreFolderError, match=message):
        read_score(folder)


def signed(folder, text):
    """A card of something else, with a digest that fits it."""
    (folder / "card.csv").write_text(text)
    set_fact(folder, "files", {"card.csv": sha256(folder / "card.csv")})


def set_fact(folder, name, value):
    facts = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps(facts | {name: value}))


@pytest.mark.parametrize("fact", ["label", "n_pairs", "study", "pairs_sha256"])
def test_a_damaged_score_stops_neither_report_nor_check_nor_repetition(scored, capsys, fact):
    study, root = scored
    folder = shutil.copytree(study.root / "scores" / "theirs", study.root / "scores" / "damaged")
    facts = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps({name: facts[name] for name in facts if name != fact}))
    rows = score_rows(study)["rows"]
    messages = [refusal(capsys, str(folder), "--check"),
                refusal(capsys, str(root / "theirs"), "--run", "small", "--name", "damaged")]
    shutil.rmtree(folder)
    assert [row[0]["text"] for row in rows] == ["damaged", "theirs"]
    assert all(f"provenance.json is damaged ({fact!r}" in text for text in [*messages, rows[0][2]["text"]])


def test_scores_of_patients_say_that_they_must_not_be_shared(scored, tmp_path, monkeypatch):
    study, root = scored
    assert not (study.root / "scores" / "theirs" / "DO_NOT_SHARE.txt").exists()
    facts = json.loads((study.root / "scores" / "theirs" / "provenance.json").read_text())
    shown = (study.root / "scores" / "theirs" / "score.html").read_text()
    assert "Do not share" not in shown and facts["pairs_sha256"] in shown and facts["real_sha256"] in shown
    monkeypatch.setattr(score, "score_tables", lambda *given: TABLES)
    (tmp_path / "who.csv").write_text("patient\n" + "".join(f"p{i // 2}\n" for i in range(N)))
    options = ["score", str(root / "theirs"), "--name", "theirs"]
    patients = ["--patients", str(tmp_path / "who.csv")]
    assert main([*options, "--run", "small", "--out", str(tmp_path / "a"), *patients]) == 0
    small_study(tmp_path, monkeypatch, source="archive")
    assert main([*options, "--run", "small", "--out", str(tmp_path / "b")]) == 0
    for name, hidden, kept in (("a", "pairs_sha256", "real_sha256"), ("b", "real_sha256", "pairs_sha256")):
        page, found = (tmp_path / name / "score.html").read_text(), read_score(tmp_path / name)[1]
        assert "Do not share" in (tmp_path / name / "DO_NOT_SHARE.txt").read_text() and "Do not share" in page
        assert found[hidden] not in page and found[kept] in page


def test_the_report_shows_scores_and_names_foreign_ones(scored):
    study = scored[0]
    folder = shutil.copytree(study.root / "scores" / "theirs", study.root / "scores" / "foreign")
    set_fact(folder, "study_sha256", "0" * 64)
    page = write_report(study).read_text()
    shutil.rmtree(folder)
    assert "Pairs scored against this study" in page and "<td>theirs</td>" in page
    assert "foreign: scored against another study" in page


def test_pairs_without_a_breast_are_counted_never_scored():
    real = drawn_pairs(N, 0)
    index = pd.DataFrame({"pair": [f"r{i}" for i in range(N)], "patient": [f"r{i}" for i in range(N)]})
    protocol = Protocol.load("smoke").changed(image_size=SIZE, n_bootstrap=20, n_permutations=20, n_derangements=2)
    blank = np.zeros((5, 2, SIZE, SIZE), np.float32)
    card = score_tables(candidate_sets(blank, (real, index), real[:0], protocol))["card"].set_index("figure")
    assert np.isnan(card.loc["emd", "value"]) and "fewer than 3 usable pairs" in card.loc["emd", "note"]
    assert "5 of 5 pairs without a breast mask" in card.loc["iou_median", "note"]
    assert card.loc["plausible", "value"] == 0.0
    with pytest.raises(ScoreError, match="the study's index names 23 real pairs, its array 24"):
        candidate_sets(blank, (real, index.head(23)), real[:0], protocol)
    with pytest.raises(ScoreError, match="candidate pairs are 32 × 32, the study's 64 × 64"):
        candidate_sets(blank[..., :32, :32], (real, index), real[:0], protocol)
