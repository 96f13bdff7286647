import pandas as pd
import pytest
from small_study import small_study

from mammorgb_utils.output import outputs as outputs_module
from mammorgb_utils.output import saving
from mammorgb_utils.output.outputs import Table, load_outputs
from mammorgb_utils.output.saving import save_table
from mammorgb_utils.reporting import ledger as ledger_module
from mammorgb_utils.reporting.ledger import answer, claims_ledger, claims_text, is_current, open_questions
from mammorgb_utils.runs import Run


@pytest.fixture
def tables(tmp_path, monkeypatch):
    return small_study(tmp_path, monkeypatch).tables


def test_an_appendix_that_judged_goes_first_and_the_other_verdict_stays_known(tables):
    ledger = claims_ledger(tables).set_index("id")
    assert ledger.loc["C4", ["judged_by", "verdict", "also"]].tolist() == [
        "A5_third_channel", "not reproduced on phantoms", "05_stats: underpowered on phantoms"]
    assert ledger.loc["C1", ["judged_by", "also"]].tolist() == ["05_stats", ""]
    assert ledger["claim"].ne("").all() and not ledger.isna().any(axis=None)


def test_what_05_could_not_judge_is_filled_in_and_what_an_appendix_could_not_stays(tables):
    for name, verdict in (("learning_rates_claim", "not testable"), ("artefacts_claim", "not run on phantoms")):
        claim = {"learning_rates_claim": "C6", "artefacts_claim": "C1"}[name]
        save_table(pd.DataFrame([{"id": claim, "verdict": verdict, "observed": "seen"}]), tables, name)
    ledger = claims_ledger(tables).set_index("id")
    assert ledger.loc["C6", ["judged_by", "verdict", "observed", "also"]].tolist() == [
        "A1_learning_rate", "not testable", "seen", ""]
    assert ledger.loc["C1", "judged_by"] == "05_stats"


def test_a_changed_or_broken_table_judges_nothing(tables):
    (tables / "third_channel_claim.csv").write_text("id,verdict\nC4,reproduced\n")
    assert claims_ledger(tables).set_index("id").loc["C4", "judged_by"] == "05_stats"
    (tables / "learning_rates_claim.csv").write_text("")
    assert claims_ledger(tables).set_index("id").loc["C6", ["judged_by", "verdict"]].tolist() == [
        "05_stats", "not run on phantoms"]


def test_no_table_at_all_gives_an_empty_ledger(tmp_path):
    assert claims_ledger(tmp_path).empty


@pytest.mark.parametrize("width", [60, 80, 130])
def test_a_terminal_shows_every_claim_within_its_width(tables, tmp_path, width):
    lines = claims_text(tables, width).splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines if line.startswith("C")] == ["C1", "C4", "C6"]
    assert ("observed" in lines[0]) == (width > 100) and "not reproduced" in " ".join(lines)
    assert claims_text(tmp_path / "none", width) == ""


def test_a_claim_about_models_that_still_learn_says_so(tables):
    curves = pd.DataFrame({"encoding": ["sum", "sum", "zero", "zero"], "step": [5, 6] * 2, "timestep": "middle",
                           "note": ["", "still learning", "", ""]})
    save_table(curves.assign(n=8, loss=0.1, gain=0.0, gain_low=0.0, gain_high=0.0, fall=0.0), tables, "learning")
    learning = claims_ledger(tables).set_index("id")["learning"]
    assert learning.to_dict() == {"C1": "still learning: sum", "C4": "", "C6": ""}, "A5 judges trainings of its own"
    save_table(curves.assign(note="", n=8, loss=0.1, gain=0.0, gain_low=0.0, gain_high=0.0, fall=0.0), tables,
               "learning")
    assert claims_ledger(tables)["learning"].tolist() == ["flat", "", ""]


def test_what_speaks_against_a_verdict_of_05_stands_beside_it(tables):
    assert claims_ledger(tables)["caveat"].eq("").all()
    verdicts = [("C1", "background", "reproduced", False), ("C1", "otsu", "underpowered", True),
                ("C1", "triangle", "underpowered", True), ("C4", "otsu", "reproduced", True)]
    masks = pd.DataFrame(verdicts, columns=["id", "mask_method", "verdict", "changed"])
    save_table(masks.assign(claim="", study=False, observed=""), tables, "mask_verdicts")
    controls = pd.DataFrame({"measure": ["Shift of IoU", "KS of IoU"], "note": ["sees nothing", ""]})
    doses = dict.fromkeys(("false_alarms", "strangers", "blur", "noise", "collapse", "copies", "contour"), 0.0)
    save_table(controls.assign(**doses), tables, "controls")
    assert claims_ledger(tables).set_index("id")["caveat"].to_dict() == {
        "C1": "underpowered under masks by otsu, triangle; Shift of IoU sees no planted fault",
        "C4": "", "C6": ""}, "A5's verdict has its own measure"


@pytest.fixture
def beyond(tables, monkeypatch):
    """As if A1 were an appendix beyond the paper that was never run, and A6 one that was."""
    outputs = load_outputs()
    caption = {"title": "Answer", "sentence": "What was found."}
    answers = {f"{name}_answer": Table(notebook=notebook, **caption)
               for name, notebook in (("rates", "A1_learning_rate"), ("samplers", "A6_samplers"))}
    changed = outputs.model_copy(update={"tables": outputs.tables | answers})
    for module in (ledger_module, saving, outputs_module):
        monkeypatch.setattr(module, "load_outputs", lambda: changed)
    return tables


def test_open_questions_are_answered_in_words_and_stay_apart_from_claims(beyond):
    study = Run.recorded("small")
    found = answer(study, "A6_samplers", "AUC 0.61", ledger_module.ANSWERED, "as asked")
    save_table(found, beyond, "samplers_answer")
    questions = open_questions(beyond).set_index("id")
    assert questions.loc["A6"].tolist() == ["fast samplers against 1,000 DDPM steps", "AUC 0.61",
                                            "answered on phantoms", "as asked", "A6_samplers"]
    assert questions.loc["A1", ["observed", "verdict"]].tolist() == ["", "not run"]
    assert "A6" not in claims_ledger(beyond)["id"].tolist()
    with pytest.raises(ValueError, match="A6_samplers: verdict 'reproduced' is none of answered, underpowered, not"):
        answer(study, "A6_samplers", "", "reproduced")


def test_a_later_answer_makes_the_written_ledger_old(beyond):
    save_table(claims_ledger(beyond), beyond, "claims_ledger")
    save_table(open_questions(beyond), beyond, "open_questions")
    assert is_current(beyond)
    found = answer(Run.recorded("small"), "A1_learning_rate", "seen", ledger_module.NOT_TESTABLE)
    save_table(found, beyond, "rates_answer")
    assert found["verdict"].item() == "not testable on this cohort, on phantoms" and not is_current(beyond)
    (beyond / "rates_answer.csv").write_text("id,verdict\nA1,answered\n")
    assert is_current(beyond), "a changed table answers nothing"
