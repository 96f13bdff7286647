"""What the card of a score says where a figure couldn't be computed."""

import numpy as np
import pandas as pd
import pytest
from drawn_anatomy import anatomy_rows

from mammorgb_utils.evaluation.anatomy.matching import match_table
from mammorgb_utils.evaluation.score import score_card
from mammorgb_utils.evaluation.statistics import TOO_FEW, effect_table
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.claims import UNDERPOWERED, Equivalence

PROTOCOL = Protocol()
EMPTY = {"distances": ["set", "measure"], "match_test": ["set", "features", "null", "k", "accuracy"],
         "fidelity": ["metric"]}


def overlap(candidate, real=(0.8, 0.82, 0.84, 0.86), *, name="candidate"):
    rows = [(label, f"{label}{i}", value) for label, values in ((name, candidate), ("real", real))
            for i, value in enumerate(values)]
    table = pd.DataFrame(rows, columns=["set", "pair", "iou"])
    return table.assign(iou_no_muscle=table["iou"])


def consistency(**own):
    rows = [{"set": "real", "gain": 0.1, "over_area_low": -0.1},
            {"set": "candidate", "gain": 0.05, "score": 0.5, "score_low": 0.4, "score_high": 0.6}]
    rows[0] |= {key.removeprefix("real_"): value for key, value in own.items() if key.startswith("real_")}
    rows[1] |= {key: value for key, value in own.items() if not key.startswith("real_")}
    return pd.DataFrame(rows).assign(measure="iou", n=4)


def card(found, pairs, match=None):
    summary = pd.DataFrame({"set": ["real", "candidate"], "n": 4, "n_nan": 0, "iou_median": 0.8,
                            "iou_no_muscle_median": 0.8, "plausible": 1.0, "plausible_low": 0.5,
                            "plausible_high": 1.0})
    artefacts = pd.DataFrame({"set": ["real", "candidate"], "artefact": "any", "n": 4, "rate": 0.0, "low": 0.0,
                              "high": 0.5})
    tables = {name: pd.DataFrame(columns=columns) for name, columns in EMPTY.items()}
    tables |= {} if match is None else {"match_test": match}
    return score_card(tables | {"overlap_summary": summary, "artefacts": artefacts, "consistency": found,
                                "effects": effect_table(pairs, PROTOCOL)}).set_index("figure")


@pytest.mark.parametrize(("found", "reason"), [
    ({"gain": np.nan, "score": np.nan, "score_low": np.nan}, "no pair and no shuffled pair with a mask to compare"),
    ({"score": np.nan, "score_low": np.nan, "real_gain": -0.1}, "pairing adds nothing in the real set; a real CC"),
    ({"score_low": np.nan, "score_high": np.nan}, "the real gain isn't surely above nothing: no interval; a real CC"),
    ({}, "a real CC doesn't"), ({"real_over_area_low": 0.1}, "")])
def test_a_score_that_is_missing_says_why_first(found, reason):
    row = card(consistency(**found), overlap([0.8, 0.81, 0.85])).loc["consistency_score"]
    assert row["note"].startswith(reason) and bool(row["note"]) == bool(reason)
    assert np.isnan(row["real"]) == np.isnan(row["value"])


def test_a_gain_that_is_missing_says_why():
    rows = card(consistency(gain=np.nan, score=np.nan), overlap([0.8, 0.81, 0.85]))
    assert "with a mask" in rows.loc["gain", "note"] and "nearest-area" not in rows.loc["consistency_score", "note"]


def test_effects_without_a_test_have_the_reason_alone():
    rows = card(consistency(), overlap([np.nan, np.nan, 0.8])).loc[["hodges_lehmann", "cliffs_delta"]]
    assert rows.loc["hodges_lehmann", "note"] == TOO_FEW and rows[["value", "real"]].isna().all(axis=None)
    tested = card(consistency(), overlap([0.8, 0.81, 0.85])).loc["hodges_lehmann"]
    assert tested["note"] == "inconclusive at a margin of ±0.05" and tested["real"] == 0.0


def test_too_few_pairs_for_a_test_are_underpowered_to_a_claim():
    protocol = PROTOCOL.changed(encodings=("sum",))
    effects = effect_table(overlap([0.8], name="sum"), protocol)
    assert effects["equivalence"].eq("").all()
    criterion = Equivalence(kind="equivalence", table="effects", measure="iou")
    found = criterion.judge({"effects": effects}, protocol)
    assert found.verdict == UNDERPOWERED and "too few usable pairs in sum" in found.note


@pytest.mark.filterwarnings("error")
def test_a_candidate_too_small_for_the_match_test_says_so():
    measured = pd.concat([anatomy_rows("real", 22), anatomy_rows("candidate", 5)], ignore_index=True)
    row = card(consistency(), overlap([0.8, 0.81]), match_table(measured, PROTOCOL)).loc["match"]
    assert np.isnan(row["value"]) and (row["n"], row["note"]) == (5, "fewer than 20 pairs")
    swapped = measured.replace({"set": {"real": "candidate", "candidate": "real"}})
    row = card(consistency(), overlap([0.8, 0.81]), match_table(swapped, PROTOCOL)).loc["match"]
    assert row["n"] == 22 and row["note"].endswith("at least 20 are needed")
