import pandas as pd
import pytest
from small_study import small_study

from mammorgb_utils.output.saving import save_table
from mammorgb_utils.reporting.ledger import claims_ledger


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


def test_a_claim_about_models_that_still_learn_says_so(tables):
    curves = pd.DataFrame({"encoding": ["sum", "sum", "zero", "zero"], "step": [5, 6] * 2, "timestep": "middle",
                           "note": ["", "still learning", "", ""]})
    save_table(curves.assign(n=8, loss=0.1, gain=0.0, gain_low=0.0, gain_high=0.0, fall=0.0), tables, "learning")
    learning = claims_ledger(tables).set_index("id")["learning"]
    assert learning.to_dict() == {"C1": "still learning: sum", "C4": "", "C6": ""}, "A5 judges trainings of its own"
    save_table(curves.assign(note="", n=8, loss=0.1, gain=0.0, gain_low=0.0, gain_high=0.0, fall=0.0), tables,
               "learning")
    assert claims_ledger(tables)["learning"].tolist() == ["flat", "", ""]
