"""Differences of rates, facts of pairs, pairs drawn for a look, and the detectors' record."""

import numpy as np
import pandas as pd
import pytest

from mammorgb_utils.evaluation.artefacts import (
    DETECTORS,
    THRESHOLDS,
    detector_performance,
    drawn_pairs,
    facts_of_pairs,
    rate_differences,
    rates_by_fact,
)
from mammorgb_utils.evaluation.statistics import rate_row


def rate_rows(counts, n=50):
    return pd.DataFrame([{"set": name, "artefact": "any", **rate_row(np.arange(n) < count)}
                         for name, count in counts.items()])


def test_differences_have_newcombes_interval():
    # Newcombe 1998, table II, method 10: 56/70 − 48/80 gives 0.2 with 0.0524 to 0.3339
    one, other = (pd.DataFrame([{"set": name, "artefact": "any", **rate_row(np.arange(n) < count)}])
                  for name, count, n in (("sum", 56, 70), ("train", 48, 80)))
    row = rate_differences(pd.concat([one, other]), "train").iloc[0]
    assert row["difference"] == pytest.approx(0.2)
    assert row["low"] == pytest.approx(0.0524, abs=5e-5) and row["high"] == pytest.approx(0.3339, abs=5e-5)


def test_differences_need_their_reference():
    with pytest.raises(ValueError, match="no rows of the set 'train'"):
        rate_differences(rate_rows({"sum": 3}), "train")


def test_rates_by_fact_leave_out_unknown_ones():
    flagged = pd.Series([True, True, False, False, True], index=list("abcde"))
    facts = pd.DataFrame({"known": [True, True, False, False, np.nan], "never": [False] * 5}, index=list("abcde"))
    table = rates_by_fact(flagged, facts.astype(object), pd.Series(list("pqrst"), index=facts.index)).set_index("fact")
    assert table.loc["known", ["n_with", "n_without"]].tolist() == [2, 2]
    assert table.loc["known", "difference"] == 1.0 and table.loc["known", "low"] > 0
    assert table.loc["never", "n_with"] == 0 and np.isnan(table.loc["never", ["rate_with", "low"]].astype(float)).all()


def test_rates_by_fact_count_patients():
    flagged = pd.Series([True, False, False, True, True], index=list("abcde"))
    facts = pd.DataFrame({"known": [True, True, True, False, False]}, index=flagged.index)
    row = rates_by_fact(flagged, facts, pd.Series(list("ppqrr"), index=flagged.index)).iloc[0]
    assert row[["n_with", "rate_with", "n_without", "rate_without"]].tolist() == [2, 0.25, 1, 1.0]


def test_facts_join_both_views_and_the_audit():
    images = pd.DataFrame({"pair": ["a", "a", "b", "b", "c"], "excluded": ["", "", "", "", "missing view"],
                           "detail": ["", "two windows disagree", "", "", ""],
                           "photometric": ["MONOCHROME2"] * 3 + ["MONOCHROME1", "MONOCHROME1"],
                           "chest_wall": ["left"] * 5, "chest_wall_by_tags": ["left", "", "left", "right", "left"]})
    metrics = pd.DataFrame({"cc_area": [0.2, 0.4], "plausible": [True, False]}, index=["b", "a"])
    cell = {"aspect": "squash", "mask_method": "background", "pair": "a", "mlo_area": 0.3}
    audit = pd.DataFrame([{**cell, "match_scope": "none", "cc_area": 0.2}, {**cell, "match_scope": "image",
                                                                           "cc_area": 0.3}])
    facts = facts_of_pairs(images, metrics, audit)
    assert facts.index.tolist() == ["b", "a"]
    assert facts["tags in conflict"].tolist() == [True, True] and facts["stored inverted"].tolist() == [True, False]
    assert facts["mask implausible"].tolist() == [False, True] and facts["small breast"].tolist() == [True, False]
    assert facts["large breast"].tolist() == [False, True]
    assert facts["area depends on matching"]["a"] and pd.isna(facts["area depends on matching"]["b"])
    assert "area depends on matching" not in facts_of_pairs(images, metrics)


def score_rows(n):
    table = pd.DataFrame({name: np.zeros(2 * n) for name in DETECTORS})
    return table.assign(set=["real"] * n + ["sum"] * n, pair=[f"p{i}" for i in range(2 * n)])


def test_drawn_pairs_are_those_of_the_seed_and_named_by_their_artefacts():
    scores = score_rows(30)
    scores.loc[3, "cut_breast"] = 2 * THRESHOLDS["cut_breast"]
    drawn = drawn_pairs(scores, 10, seed=1)
    assert drawn.groupby("set").size().tolist() == [10, 10] and drawn.index.is_monotonic_increasing
    pd.testing.assert_frame_equal(drawn, drawn_pairs(scores, 10, seed=1))
    assert not drawn.index.equals(drawn_pairs(scores, 10, seed=2).index)
    whole = drawn_pairs(scores, 100, seed=1)
    assert len(whole) == 60 and whole.loc[3, "kinds"] == "cut breast" and whole.loc[3, "excess"] == pytest.approx(2.0)
    assert (whole["kinds"].drop(3) == "").all()


def test_performance_is_that_of_the_other_cohort():
    base = {"artefact": "edge_line", "threshold": 0.8, "variant": "all", "n": 20, "low": 0.1, "high": 0.9}
    rows = [{**base, "cohort": "fit", "origin": "clean", "image_size": 64, "rate": 0.9, "flagged": 18},
            {**base, "cohort": "scored", "origin": "clean", "image_size": 64, "rate": 0.05, "flagged": 1},
            {**base, "cohort": "scored", "origin": "planted", "image_size": 64, "rate": 0.8, "flagged": 16},
            {**base, "cohort": "scored", "origin": "planted", "image_size": 64, "rate": 0.1, "flagged": 1,
             "variant": "dark line"}]
    row = detector_performance(pd.DataFrame(rows)).iloc[0]
    assert row["found"] == 0.8 and row["false_positives"] == 0.05
    assert row["n_mammograms"] == 0 and np.isnan(row["flagged_mammograms"])
