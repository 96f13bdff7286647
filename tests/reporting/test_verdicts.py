"""No verdict where a test couldn't run or had no power."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.claims import load_claims

CLAIMS = {claim.id: claim for claim in load_claims(Path(__file__).resolve().parents[2] / "claims.yaml")}
PROTOCOL = Protocol(encodings=("sum", "absdiff", "zero"))


def judge(claim, **results):
    return CLAIMS[claim].judge(results, PROTOCOL)


def distances(**changes):
    row = {"measure": "iou", "statistic": "ks", "value": 0.05, "band_high": 0.07, "p_bh": 0.4, "power": 0.9, "note": ""}
    return pd.DataFrame([row | {"set": name} | (changes if name == "zero" else {}) for name in PROTOCOL.encodings])


def test_a_distance_whose_test_lacks_power_is_not_called_low():
    assert judge("C3", distances=distances()).verdict == "reproduced"
    weak = judge("C3", distances=distances(power=0.3, note="underpowered"))
    assert weak.verdict == "underpowered" and "would miss a shift" in weak.note
    found = distances(power=0.3, note="underpowered", value=0.3, p_bh=0.001)
    assert judge("C3", distances=found).verdict == "not reproduced"  # what is found needs no power


def contrasts(**changes):
    row = {"measure": "iou", "second": "zero", "p": 0.001, "p_holm": 0.002, "median_difference": 0.02, "closer": 0.03,
           "closer_low": 0.01, "closer_high": 0.05}
    return pd.DataFrame([row | {"first": name} | (changes if name == "sum" else {}) for name in ("sum", "absdiff")])


@pytest.mark.parametrize("lost", ["p", "closer_low"])
def test_a_contrast_that_could_not_be_tested_is_underpowered(lost):
    assert judge("C4", contrasts=contrasts(), runs_per_encoding=3).verdict == "reproduced"
    weak = judge("C4", contrasts=contrasts(**{lost: np.nan}), runs_per_encoding=3)
    assert weak.verdict == "underpowered" and weak.note == "too few pairs or runs to contrast sum with zero"


def test_a_contrast_of_fewer_runs_than_its_encodings_have_is_underpowered():
    assert judge("C4", contrasts=contrasts().assign(n_runs=2), runs_per_encoding=3).verdict == "underpowered"
    assert judge("C4", contrasts=contrasts().assign(n_runs=3), runs_per_encoding=3).verdict == "reproduced"


def consistency(**real):
    facts = {"measure": "iou", "paired_median": 0.84, "gain": 0.12, "over_area": 0.04, "over_area_low": 0.03,
             "over_area_high": 0.05}
    rows = [facts | {"set": name, "score": 0.9, "score_low": 0.8, "score_high": 1.0} for name in PROTOCOL.encodings]
    return pd.DataFrame([facts | {"set": "real"} | real, *rows])


def test_scores_without_a_real_gain_are_not_testable_rather_than_underpowered():
    table = consistency(gain=-0.01)
    table.loc[table["set"] != "real", ["score", "score_low", "score_high"]] = np.nan
    found = judge("C7", consistency=table)
    assert found.verdict == "not testable on this cohort"
    assert found.note == "real shuffled pairs lie only -0.010 below paired ones"
    assert judge("C7", consistency=consistency(gain=np.nan)).note == "real shuffled pairs can't be compared"


def test_consistency_needs_its_baseline_and_the_real_set():
    assert judge("C7", consistency=consistency()).verdict == "reproduced"
    lacking = judge("C7", consistency=consistency(over_area=np.nan))
    assert lacking.verdict == "not run" and "nearest-area baseline is missing" in lacking.note
    table = consistency()
    assert judge("C7", consistency=table[table["set"] != "real"]).note == "no results for real"
    by_luck = judge("C7", consistency=consistency(over_area=0.001, over_area_low=-0.004, over_area_high=0.006))
    assert by_luck.verdict == "not testable on this cohort" and "+0.001 [-0.004, +0.006]" in by_luck.note


def test_one_score_that_could_not_be_computed_leaves_the_claim_open():
    table = consistency()
    table.loc[table["set"] == "zero", ["score", "score_low", "score_high"]] = np.nan
    found = judge("C7", consistency=table)
    assert found.verdict == "underpowered" and found.note == "too few usable pairs in zero"
