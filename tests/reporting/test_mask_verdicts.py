"""Verdicts under each mask method: those of the ledger where the method is the study's own."""

import numpy as np
import pandas as pd
import pytest

from mammorgb_utils.evaluation.consistency import NEAREST_AREA, consistency_table
from mammorgb_utils.evaluation.statistics import contrast_table, distance_table, effect_table
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting import mask_verdicts
from mammorgb_utils.reporting.claims import evaluate_claims
from mammorgb_utils.reporting.mask_verdicts import MASK_CLAIMS, verdicts_by_method

PROTOCOL = Protocol(n_permutations=99, n_bootstrap=100)


def tables_of(method, centres):
    """Overlap and shuffled overlap of 80 pairs a set around the given medians."""
    rng = np.random.default_rng(3)
    overlap, shuffled = [], []
    for name, centre in centres.items():
        iou = centre + 0.02 * rng.standard_normal(80)
        who = [f"{name}{i}" for i in range(80)]
        overlap.append(pd.DataFrame({"mask_method": method, "set": name, "pair": who, "patient": who, "iou": iou}))
        shuffled += [pd.DataFrame({"mask_method": method, "set": name, "draw": draw, "cc_pair": who,
                                   "mlo_pair": np.roll(who, draw + 1), "iou": iou - 0.12}) for draw in range(3)]
    shuffled.append(shuffled[0].assign(set=NEAREST_AREA, iou=0.7))
    tables = [pd.concat(parts, ignore_index=True) for parts in (overlap, shuffled)]
    for table in tables:
        table["iou_no_muscle"] = table["iou"] - 0.05
        for name in ("iou", "iou_no_muscle"):
            table[name.replace("iou", "dsc")] = 2 * table[name] / (1 + table[name])
    return tables


@pytest.fixture(scope="module")
def tables():
    alike = tables_of("background", {"real": 0.84, "sum": 0.84, "absdiff": 0.84, "zero": 0.84})
    apart = tables_of("otsu", {"real": 0.84, "sum": 0.70, "absdiff": 0.70, "zero": 0.70})
    return [pd.concat(parts, ignore_index=True) for parts in zip(alike, apart, strict=True)]


@pytest.fixture(scope="module")
def found(tables):
    return verdicts_by_method(*tables, PROTOCOL, cohort_source="phantom")


@pytest.fixture(scope="module")
def own_tables(tables):
    overlap, shuffled = (table[table["mask_method"] == "background"] for table in tables)
    return {"distances": distance_table(overlap, PROTOCOL), "effects": effect_table(overlap, PROTOCOL),
            "contrasts": contrast_table(overlap, PROTOCOL),
            "consistency": consistency_table(overlap, shuffled, PROTOCOL)}


def test_the_studys_own_method_has_the_verdicts_of_the_ledger(own_tables, found):
    ledger = evaluate_claims(own_tables, cohort_source="phantom", protocol=PROTOCOL).set_index("id")
    own = found.verdicts[found.verdicts["study"]].set_index("id")
    assert own.index.tolist() == list(MASK_CLAIMS) and not own["changed"].any()
    assert own["verdict"].to_dict() == ledger.loc[own.index, "verdict"].to_dict()
    assert own["observed"].to_dict() == ledger.loc[own.index, "observed"].to_dict()


def test_tables_of_the_study_are_taken_for_its_own_method(tables, own_tables, found, monkeypatch):
    asked = []
    monkeypatch.setattr(mask_verdicts, "MAX_DRAWS", 50)
    monkeypatch.setattr(mask_verdicts, "distance_table", lambda overlap, protocol: asked.append(
        (overlap["mask_method"].unique().tolist(), protocol.n_permutations, protocol.n_bootstrap))
        or distance_table(overlap, protocol))
    given = verdicts_by_method(*tables, PROTOCOL, cohort_source="phantom", own=own_tables)
    assert asked == [(["otsu"], 50, 50)], "fewer draws for the other method, none for the study's own"
    same = [table[table["mask_method"] == "background"] for table in (given.verdicts, found.verdicts)]
    pd.testing.assert_frame_equal(*same)
    same = [table[table["mask_method"] == "background"] for table in (given.effects, found.effects)]
    pd.testing.assert_frame_equal(*same)


def test_another_verdict_under_another_method_is_marked(found):
    first = found.verdicts[found.verdicts["id"] == "C1"].set_index("mask_method")
    assert first.loc["background", "verdict"] == "reproduced on phantoms"
    assert first.loc["otsu", "verdict"] == "not reproduced on phantoms" and first.loc["otsu", "changed"]


def test_effects_hold_a_row_a_method_and_set(found):
    effects = found.effects.set_index(["mask_method", "set"])
    assert len(effects) == 2 * 4
    assert effects.loc[("otsu", "sum"), "shift"] == pytest.approx(-0.14, abs=0.01)
    assert np.isnan(effects.loc[("otsu", "real"), "shift"])
    assert effects.loc[("background", "sum"), "gain"] == pytest.approx(0.12, abs=0.01)
    assert effects.loc[("background", "zero"), ["emd", "ks"]].between(0, 1).all()


def test_tables_without_the_studys_own_method_are_refused(tables):
    with pytest.raises(ValueError, match=r"by_method.csv: no rows of the study's own mask method 'triangle'"):
        verdicts_by_method(*tables, PROTOCOL.changed(mask_method="triangle"), cohort_source="phantom")
