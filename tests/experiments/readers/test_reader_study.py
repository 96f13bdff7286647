"""The reader study: the page holds no answers, mix-ups and edits are named, and scores are right."""

import base64
import json
import re

import numpy as np
import pandas as pd
import pytest
from reader_studies import small_run, small_study
from scipy.stats import beta

from mammorgb_utils import runs
from mammorgb_utils.cli import main
from mammorgb_utils.experiments.readers import (
    ReaderStudyError,
    artefact_rates,
    build_study,
    figure,
    read_key,
    read_results,
    readings_at_hand,
    remark,
    score_readers,
    simulated_result,
)
from mammorgb_utils.experiments.readers.build import grey_bytes
from mammorgb_utils.experiments.readers.files import ARTEFACTS, digest
from mammorgb_utils.runs import write_json


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("study"))


def page_of(folder):
    return (folder / "reader_study.html").read_text(encoding="utf-8")


def block(html, name):
    return re.search(rf'id="{name}">(.*?)</script>', html, re.S)[1]


def saved(path, content, **changes):
    """A result file with some fields changed and its digest made anew, as a forger or another page would."""
    content = {name: value for name, value in {**content, **changes}.items() if name != "digest"}
    write_json(path, {**content, "digest": digest(content)})
    return path


def test_the_page_holds_no_key_and_its_images_tell_nothing(study):
    _, folder, key = study
    html = page_of(folder)
    payloads = block(html, "images").split("\n")
    assert len({len(payload) for payload in payloads}) == 1 and len(payloads) == len(key.cases) == 16
    assert set(json.loads(block(html, "config"))) == {"study", "cases", "height", "width", "scale", "window",
                                                      "confidence", "consistency", "artefacts"}
    words = html.replace(block(html, "images"), "")
    for word in [*key.cases["pair"][key.cases["set"] == "real"], "repeat_of", "absdiff", '"sum"', '"zero"', "laptop",
                 key.page, key.page_sha256]:
        assert word not in words, word
    assert not re.search(r"https?://|src=|<link|@import|url\(", words), "something is fetched"


def test_images_are_the_pairs_in_the_same_eight_bits(study):
    run, folder, key = study
    payloads = block(page_of(folder), "images").split("\n")
    real = pd.read_csv(run.pairs_index)
    for case, payload in zip(key.cases.itertuples(), payloads, strict=True):
        row = int(case.pair) if case.set != "real" else int(real.index[real["pair"] == case.pair][0])
        pairs = np.load(run.pairs if case.set == "real" else run.samples(case.set), mmap_mode="r")
        shown = np.frombuffer(base64.b64decode(payload), np.uint8).reshape(pairs.shape[1:])
        assert np.array_equal(shown, grey_bytes(pairs[row], 0.05))
    by_hand = grey_bytes(np.array([0.0, 0.049, 0.05, 0.525, 1.0]), 0.05)
    assert by_hand.tolist() == [0, 0, 0, 128, 255]


def test_cases_are_balanced_blinded_by_seed_and_repeated_apart(study, tmp_path):
    _, _, key = study
    first = key.cases[key.cases["repeat_of"] == ""]
    assert first["set"].value_counts().to_dict() == {"real": 6, "sum": 3, "zero": 3}
    patients = first.loc[first["set"] == "real", "pair"].str[:5]
    assert patients.is_unique, "two breasts of a patient aren't independent"
    where = {case: i for i, case in enumerate(key.cases["case"])}
    again = key.cases[key.cases["repeat_of"] != ""]
    gaps = [where[row.case] - where[row.repeat_of] for row in again.itertuples()]
    assert len(gaps) == 4 and min(gaps) >= len(first) // 6 + 1
    same = again.merge(first, left_on="repeat_of", right_on="case", suffixes=("", "_first"))
    assert (same["pair"] == same["pair_first"]).all() and (same["set"] == same["set_first"]).all()
    other = small_study(tmp_path, seed=8)[2]
    assert other.study != key.study and other.cases["pair"].to_list() != key.cases["pair"].to_list()


def test_a_study_that_readers_may_have_is_not_replaced(tmp_path):
    run, folder, key = small_study(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert build_study(run, folder, pairs=12, repeats=4).page == key.page
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with pytest.raises(ReaderStudyError, match=f"holds the reader study {key.study}, not .*another folder"):
        build_study(run, folder, pairs=12, repeats=4, seed=9)
    (folder / "reader_study.html").write_text("<p>edited</p>")
    with pytest.raises(ReaderStudyError, match="reader_study.html is missing or was changed"):
        build_study(run, folder, pairs=12, repeats=4)
    assert (folder / ".gitignore").read_text() == "*\n" and (folder / "key" / "KEEP_FROM_READERS.txt").is_file()


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path, study):
    """Such as `--out .`, whose own .gitignore would be lost."""
    run = small_run(tmp_path / "run")
    for name, text in ((".gitignore", "runs/\n"), ("notes.txt", "mine"), (".git/HEAD", "")):
        folder = tmp_path / name.strip(".").split("/")[0]
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
        with pytest.raises(ReaderStudyError, match=rf"holds '{name.split('/')[0]}', .*new or empty"):
            build_study(run, folder, pairs=12, repeats=4)
        assert [path.name for path in folder.rglob("*") if path.is_file()] == [name.split("/")[-1]]
        assert (folder / name).read_text() == text
    begun = tmp_path / "begun"  # as a killed call leaves it
    (begun / "key").mkdir(parents=True)
    for name in (".gitignore", ".reader_study.html.1.html"):
        (begun / name).write_text("*\n")
    assert build_study(run, begun, pairs=12, repeats=4).study == study[2].study


def test_pages_of_patients_say_that_they_must_not_be_shared(tmp_path, study):
    run = small_run(tmp_path, source="archive")
    key = build_study(run, run.reader_study, pairs=4, repeats=1)
    assert key.patients and "Do not share" in page_of(run.reader_study)
    assert (run.reader_study / "DO_NOT_SHARE.txt").is_file() and "Do not share" not in page_of(study[1])


@pytest.mark.parametrize("options, message", [
    ({"pairs": 60}, "real pairs of 30 patients are needed, the study has 15"),
    ({"pairs": 30, "repeats": 1, "sets": ["sum"]}, "15 pairs of sum are needed, the study has 12"),
    ({"repeats": 5}, "12 pairs, 5 repeats: .*at most a third"),
    ({"sets": ["absdiff"]}, "has no synthetic pairs of 'absdiff'; it has sum, zero"),
    ({"floor": 1.0}, "floor 1: use a share of the grey range")])
def test_what_cannot_be_built_is_explained(tmp_path, options, message):
    with pytest.raises(ReaderStudyError, match=message):
        small_study(tmp_path, **options)
    assert not (tmp_path / "reader_study").exists()


def broken(answers, **changes):
    return [{**answers[0], **changes}, *answers[1:]]


@pytest.mark.parametrize("change, message", [
    (lambda r: {"study": "0" * 16}, "belongs to the reader study 0000000000000000, the key to .*take the key"),
    (lambda r: {"page": "0" * 64}, "answered on a page that isn't the one which was built"),
    (lambda r: {"reader": "Dr Jane Doe"}, "isn't a pseudonym"),
    (lambda r: {"format": "something"}, "isn't a reader study's result"),
    (lambda r: {"answers": r["answers"][:-3]}, "3 of 16 cases have no answer; the reader can continue"),
    (lambda r: {"answers": r["answers"] + r["answers"][:1]}, "two to one"),
    (lambda r: {"answers": broken(r["answers"], case="c999")}, "cases that the page doesn't have"),
    (lambda r: {"answers": broken(r["answers"], confidence=7)}, "confidence of case c001 is 7"),
    (lambda r: {"answers": broken(r["answers"], consistency=None)}, "consistency of case c001 is None"),
    (lambda r: {"answers": broken(r["answers"], origin=["real"])}, "origin of case c001"),
    (lambda r: {"answers": broken(r["answers"], artefacts=["ghost"])}, "a kind that the page doesn't have"),
    (lambda r: {"answers": broken(r["answers"], artefacts=[["other"], None])}, "a kind that the page doesn't have"),
    (lambda r: {"answers": broken(r["answers"], case=["c001"])}, "cases that the page doesn't have"),
    (lambda r: {"answers": broken(r["answers"], case={})}, "cases that the page doesn't have"),
    (lambda r: {"answers": broken(r["answers"], confidence=True)}, "confidence of case c001 is True"),
    (lambda r: {"answers": broken(r["answers"], consistency=2.5)}, "consistency of case c001 is 2.5"),
    (lambda r: {"answers": broken(r["answers"], seconds="long")}, "seconds of case c001 is 'long'"),
    (lambda r: {"answers": [1, None, "c001"]}, "16 of 16 cases have no answer"),
    (lambda r: {"answers": {"c001": "real"}}, "16 of 16 cases have no answer"),
    (lambda r: {"reader": 7}, "reader 7 isn't a pseudonym"),
    (lambda r: {"reader": ["R1"]}, "isn't a pseudonym"),
    (lambda r: {"simulated": "no"}, "simulated is 'no', which isn't true or false")])
def test_results_that_cannot_be_scored_are_named(study, tmp_path, change, message):
    _, _, key = study
    result = simulated_result(key, seed=1)
    path = saved(tmp_path / "r.json", result, **change(result))
    with pytest.raises(ReaderStudyError, match=rf"r\.json.*{message}|r\.json: {message}"):
        read_results([path], key)


def test_edits_cuts_and_mix_ups_are_named(study, tmp_path, capsys):
    _, folder, key = study
    result = simulated_result(key, seed=1)
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps({**result, "reader": "better"}))
    (tmp_path / "cut.json").write_text(json.dumps(result)[:-40])
    (tmp_path / "key.json").write_text((folder / "key" / "key.json").read_text().replace('"zero"', '"real"', 1))
    for name, message in (("edited.json", "was edited"), ("cut.json", "isn't JSON"), ("none.json", "not found")):
        with pytest.raises(ReaderStudyError, match=f"{name} {message}"):
            read_results([tmp_path / name], key)
    with pytest.raises(ReaderStudyError, match="key.json was edited"):
        read_key(tmp_path / "key.json")
    with pytest.raises(ReaderStudyError, match="edited.json isn't a reader study's key"):
        read_key(edited)
    twice = [saved(tmp_path / f"{number}.json", result) for number in (1, 2)]
    with pytest.raises(ReaderStudyError, match="two results of the reader 'simulated'"):
        read_results(twice, key)
    assert main(["reader-study", "score", str(edited), "--key", str(folder / "key" / "key.json")]) == 1
    assert capsys.readouterr().err.startswith("mammorgb reader-study: edited.json was edited")


def test_results_in_an_editor_s_encoding_are_read_and_what_is_no_json_is_named(study, tmp_path):
    _, _, key = study
    text = json.dumps(simulated_result(key, seed=1))
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "r.json").write_bytes(text.encode(encoding))
        assert len(read_results([tmp_path / "r.json"], key)) == 16
    for broken_text in (b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5000, b""):
        (tmp_path / "r.json").write_bytes(broken_text)
        with pytest.raises(ReaderStudyError, match="r.json isn't"):
            read_results([tmp_path / "r.json"], key)


@pytest.mark.parametrize("change", [
    lambda c: {"cases": 3}, lambda c: {"cases": [1]}, lambda c: {"cases": [{"case": "c001"}]},
    lambda c: {"cases": None}])
def test_a_key_of_odd_types_is_named(study, tmp_path, change):
    content = json.loads((study[1] / "key" / "key.json").read_text())
    with pytest.raises(ReaderStudyError, match="key.json lacks"):
        read_key(saved(tmp_path / "key.json", content, **change(content)))


def test_scores_lie_beside_the_page_wherever_the_key_is_named_from(study, tmp_path, monkeypatch, capsys):
    _, folder, key = study
    result = saved(tmp_path / "r.json", simulated_result(key, seed=1))
    monkeypatch.chdir(folder / "key")
    assert main(["reader-study", "score", str(result), "--key", "key.json"]) == 0
    assert (folder / "scores" / "reader_study.csv").is_file() and not (folder / "key" / "scores").exists()
    capsys.readouterr()


def known_result(key, path, reader="R1", flip=0):
    """Right about every pair but the first `flip`, sure of it, real rated 5 and synthetic 2, repeats as at first."""
    answers = []
    for number, case in enumerate(key.cases.itertuples()):
        fake = (case.set != "real") != (number < flip)
        answers.append({"case": case.case, "origin": "synthetic" if fake else "real", "confidence": 5,
                        "consistency": 2 if case.set != "real" else 5, "seconds": 3,
                        "artefacts": ["other"] if case.set == "sum" else []})
    base = simulated_result(key, seed=1)
    return saved(path, base, reader=reader, simulated=False, answers=answers)


def test_scores_of_known_answers(study, tmp_path):
    _, _, key = study
    paths = [known_result(key, tmp_path / "1.json"), known_result(key, tmp_path / "2.json", "R2", flip=1)]
    readings = read_results(paths, key)
    table = score_readers(readings).set_index(["reader", "measure", "set"])
    low = beta.ppf(0.025, 12, 1)  # Clopper and Pearson by hand: 12 of 12
    assert table.loc[("R1", "accuracy", ""), ["n", "estimate", "low", "high"]].to_list() == [
        12, 1.0, pytest.approx(low), 1.0]
    assert table.loc[("R2", "accuracy", ""), "estimate"] == pytest.approx(11 / 12)
    assert table.loc[("R1", "AUC", ""), "estimate"] == table.loc[("R1", "consistency, AUC", ""), "estimate"] == 1.0
    assert table.loc[("R1", "AUC", "sum"), "n"] == 9
    assert table.loc[("R1", "called synthetic", "real"), "estimate"] == 0.0
    assert table.loc[("R1", "kappa within, origin", ""), ["n", "estimate"]].to_list() == [4, 1.0]
    first = readings[(readings["repeat_of"] == "") & (readings["reader"] == "R1")]
    share = first["synthetic"].mean()
    wrong = share + (1 if not first["synthetic"].iloc[0] else -1) / 12  # of R2, who calls 1 more or 1 fewer synthetic
    expected = share * wrong + (1 - share) * (1 - wrong)
    kappa = (11 / 12 - expected) / (1 - expected)
    assert table.loc[("R1 & R2", "kappa between, origin", ""), "estimate"] == pytest.approx(kappa)
    assert table.loc[("R1", "answers needed: accuracy 0.60", ""), "estimate"] > 190
    assert remark(readings) == ""


def test_artefact_rates_count_pairs_once(study, tmp_path):
    _, _, key = study
    rates = artefact_rates(read_results([known_result(key, tmp_path / "1.json")], key))
    rates = rates.set_index(["set", "artefact"])
    assert rates.loc[("sum", "other"), ["n", "count", "rate"]].to_list() == [3, 3, 1.0]
    assert rates.loc[("sum", "any"), "rate"] == 1.0 and rates.loc[("synthetic", "any"), "rate"] == 0.5
    n, p, z = 6, 0.5, 1.959964  # Wilson by hand
    centre = (p + z * z / 2 / n) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / 4 / n**2) / (1 + z * z / n)
    assert rates.loc[("synthetic", "any"), ["low", "high"]].to_list() == pytest.approx([centre - half, centre + half])
    assert len(rates) == 4 * (len(ARTEFACTS) + 1) and rates.loc[("real", "any"), "count"] == 0


def test_simulated_answers_are_marked_until_readers_have_answered(study, tmp_path):
    _, _, key = study
    readings = readings_at_hand(tmp_path, key, seed=3)
    assert readings["simulated"].all() and remark(readings).startswith("Simulated answers")
    table, rates = score_readers(readings), artefact_rates(readings)
    drawn = figure(readings, table, rates)
    assert drawn.get_suptitle() == "Simulated answers: no reader has seen these images"
    (tmp_path / "results").mkdir()
    known_result(key, tmp_path / "results" / "R1.json")
    readings = readings_at_hand(tmp_path, key, seed=3)
    assert set(readings["reader"]) == {"R1"} and not readings["simulated"].any()
    drawn = figure(readings, score_readers(readings), artefact_rates(readings))
    assert drawn.get_suptitle() == ""


def test_the_simulated_reader_is_as_able_as_it_says(study):
    _, _, key = study
    many = pd.concat([key.cases.assign(case=lambda frame, n=n: frame["case"] + f"-{n}", repeat_of="")
                      for n in range(60)], ignore_index=True)
    areas = {}
    for ability in (0.0, 3.0):
        large = type(key)(key.study, key.page, key.page_sha256, False, many)
        answers = pd.DataFrame(simulated_result(large, seed=2, ability=ability)["answers"])
        areas[ability] = ((answers["origin"] == "synthetic") == (many["set"] != "real")).mean()
    assert abs(areas[0.0] - 0.5) < 0.06 and areas[3.0] > 0.88


def test_commands_build_and_score(study, tmp_path, capsys, monkeypatch):
    run, folder, key = study
    monkeypatch.setattr(runs, "PROJECT_ROOT", tmp_path)
    assert main(["reader-study", "build", "--run", "none", "--out", str(tmp_path / "x")]) == 1
    assert "runs/none holds no study" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(run.root)
    write_json(run.root / "protocol.json", {"protocol": run.protocol.model_dump(mode="json")})
    out = tmp_path / "x"
    assert main(["reader-study", "build", "--run", "mine", "--out", str(out), "--pairs", "12", "--repeats", "4"]) == 0
    assert read_key(out / "key" / "key.json").study == key.study
    (run.root / "protocol.json").write_text("{")
    assert main(["reader-study", "build", "--run", "mine", "--out", str(tmp_path / "y")]) == 1
    assert "runs/mine/protocol.json is damaged" in capsys.readouterr().err
    result = saved(tmp_path / "s.json", simulated_result(key, seed=1))
    assert main(["reader-study", "score", str(result), "--key", str(out / "key" / "key.json")]) == 0
    assert "Simulated answers" in capsys.readouterr().out
    assert {path.name for path in (out / "scores").iterdir()} >= {"reader_study.csv", "reader_study.png"}
    assert "Simulated answers" in (out / "scores" / "reader_study.tex").read_text()
