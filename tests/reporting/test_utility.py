"""B3's answer in words: which question it rests on, what it needs for a gain, and what its note must say."""

import pandas as pd
import pytest

from mammorgb_utils.experiments.utility.results import FLAT
from mammorgb_utils.reporting import utility_answer


def rows(*verdicts, task="pairing", learner="cnn", n=25, most=50):
    found = [{"arm": "synthetic", "set": name, "n": number, "difference": 0.01, "lead": 0.005, "verdict": verdict}
             for name, verdict in zip(("sum", "zero"), verdicts, strict=True) for number in (n, most)[:1 + (n < most)]]
    return pd.DataFrame(found).assign(task=task, learner=learner)


def areas(contrasts, note=""):
    return contrasts.assign(worth=0.25, note=note)


@pytest.mark.parametrize(("note", "verdicts", "verdict"), [
    (FLAT, ("gain", "gain"), "not testable on this cohort"), ("", ("equivalent", "loss"), "answered"),
    ("", ("gain", "underpowered"), "answered"), ("", ("equivalent", "underpowered"), "underpowered"),
    ("", ("matched", "equivalent"), "answered"), ("", ("inconclusive", "equivalent"), "underpowered")])
def test_the_answer_rests_on_the_primary_question_alone(note, verdicts, verdict):
    contrasts = rows(*verdicts)
    found = utility_answer(areas(contrasts, note), contrasts)
    assert found.verdict == verdict and "pairing, network: " in found.observed
    assert "ΔAUC +0.010 to +0.010, over controls +0.005 to +0.005" in found.observed
    assert ("a pair worth +0.25" in found.observed) == (note == ""), "a bound is no figure"
    other = rows("gain", "gain", task="mass", learner="logistic")
    both = utility_answer(pd.concat([areas(contrasts, note), areas(other)]), pd.concat([contrasts, other]))
    assert both.verdict == verdict and "mass, anatomy, exploratory: gain" in both.observed


def test_a_gain_with_fewer_patients_than_the_generator_saw_is_told_apart():
    contrasts = rows("gain", "equivalent")
    few = contrasts.assign(verdict=contrasts["verdict"].where(contrasts["n"] == 25, "equivalent"))
    assert "network: gain beside fewer than the generator saw (" in utility_answer(areas(few), few).observed
    both = utility_answer(areas(contrasts), contrasts).observed
    assert "network: gain beside all 50 patients and beside fewer than the generator saw (" in both


def test_the_note_says_what_the_answer_can_t_know():
    contrasts = rows("equivalent", "loss")
    note = utility_answer(areas(contrasts), contrasts, ["mass can't be tested"], "still learning").note
    assert "the generator saw all training patients" in note and "one run each" in note
    assert "the models: still learning" in note and note.endswith("mass can't be tested")
    assert "the models" not in utility_answer(areas(contrasts), contrasts).note
