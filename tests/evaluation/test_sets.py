"""The sets of an evaluation: who they are, and that every set is measured alike."""

import numpy as np
import pandas as pd
import pytest
from drawn_views import pairs_that_part_methods
from small_study import N, drawn_pairs, small_study

from mammorgb_utils.evaluation import beyond
from mammorgb_utils.evaluation.masks import METHODS
from mammorgb_utils.evaluation.overlap import masks_by_method, pair_metrics, plausible
from mammorgb_utils.evaluation.sets import StudySets, overlap_by_method, overlap_table, shuffled_table, study_sets
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import write_array

PROTOCOL = Protocol(n_bootstrap=200, n_derangements=3)
INDEX = pd.DataFrame({"pair": list("abcdef"), "patient": list("ppqrst")})


@pytest.fixture(scope="module")
def pairs():
    return pairs_that_part_methods()


@pytest.fixture(scope="module")
def sets(pairs):
    return StudySets.of({"real": (pairs, INDEX), "drawn": pairs[::-1]}, PROTOCOL, train=pairs[:3],
                        heldout=(pairs, INDEX))


def test_a_set_without_an_index_is_numbered_and_each_pair_its_own_patient(sets):
    assert (sets.index["drawn"] == np.array([[f"drawn-{i:05d}"] * 2 for i in range(6)])).all(axis=None)
    assert sets.patients["real"].tolist() == list("ppqrst") and sets.train[1]["pair"].iloc[2] == "train-00002"


def test_every_set_is_measured_by_the_same_masks_and_judged_by_the_real_ones(sets, pairs):
    table = overlap_table(sets)
    assert list(table)[:3] == ["set", "pair", "patient"] and list(table)[-1] == "plausible"
    real, drawn = (table[table["set"] == name].reset_index(drop=True) for name in ("real", "drawn"))
    measured = pair_metrics(pairs)
    pd.testing.assert_frame_equal(real[measured.columns], measured)
    assert (drawn["plausible"] == plausible(measured[::-1].reset_index(drop=True), measured)).all()
    alone = overlap_table(StudySets.of({"drawn": pairs}, PROTOCOL))
    assert "plausible" not in alone and alone["iou"].equals(measured["iou"])


def test_a_set_more_leaves_the_others_as_they_are(sets, pairs):
    more = sets.with_set("late", pairs[:2])
    assert list(more.pairs) == ["real", "drawn", "late"] and more.masks["real"] is sets.masks["real"]
    assert "late" not in sets.pairs and more.index["late"]["pair"].tolist() == ["late-00000", "late-00001"]
    pd.testing.assert_frame_equal(overlap_table(more).head(12), overlap_table(sets))


def test_strangers_are_other_patients_and_a_lone_pair_has_none(sets, pairs):
    table = shuffled_table(sets.with_set("lone", pairs[:1]))
    assert table["set"].unique().tolist() == ["real", "drawn", "nearest_area"]
    owner = dict(zip(INDEX["pair"], INDEX["patient"], strict=True))
    real = table[table["set"].isin(["real", "nearest_area"])]
    assert (real["cc_pair"].map(owner) != real["mlo_pair"].map(owner)).all() and len(real) == 6 * 4


def test_overlap_by_method_is_that_of_each_with_the_same_strangers(sets, pairs):
    masks = {name: masks_by_method(views) for name, views in sets.pairs.items()}
    overlap, shuffled = overlap_by_method(sets, masks)
    for method in METHODS:
        own = overlap[(overlap["mask_method"] == method) & (overlap["set"] == "real")].reset_index(drop=True)
        expected = pair_metrics(pairs, method=method)
        pd.testing.assert_frame_equal(own[expected.columns], expected)
    partners = shuffled[shuffled["set"] != "nearest_area"].groupby("mask_method")["mlo_pair"].agg(tuple)
    assert partners.nunique() == 1
    assert set(shuffled["set"]) == {"real", "drawn", "nearest_area"}


def test_a_study_brings_its_splits_and_its_encodings(tmp_path, monkeypatch):
    run = small_study(tmp_path, monkeypatch, encodings=("sum", "zero"))
    for seed, name in enumerate(run.encodings()):
        write_array(run.samples(name), drawn_pairs(3, seed))
    found = study_sets(run)
    assert list(found.pairs) == ["real", "sum", "zero"] and found.index["real"]["pair"].iloc[0] == "P0000"
    assert (len(found.train[0]), found.train[1]["pair"].iloc[0], len(found.heldout[0])) == (N, f"P{N:04d}", N)
    assert list(study_sets(run, with_train=True).pairs) == ["train", "real", "sum", "zero"]


def test_the_first_training_pairs_are_measured_too(sets, monkeypatch):
    monkeypatch.setattr(beyond, "MAX_TRAIN", 2)
    rows = beyond.anatomy_rows(sets)
    assert rows.groupby("set", sort=False).size().to_dict() == {"real": 6, "drawn": 6, "train": 2}
    assert set(beyond.anatomy_rows(StudySets.of({"drawn": sets.pairs["drawn"]}, PROTOCOL))["set"]) == {"drawn"}


def test_training_pairs_are_searched_for_every_synthetic_and_held_out_pair(sets):
    nearest = beyond.nearest_rows(sets)
    assert nearest.groupby("set", sort=False).size().to_dict() == {"heldout": 6, "drawn": 6}
    assert nearest.loc[nearest["set"] == "heldout", "pair"].tolist() == list("abcdef")
    copies = beyond.nearest_rows(sets, planted=True)
    columns = ["set", "pair", "pixel_pair", "pixel_distance"]
    pd.testing.assert_frame_equal(copies.head(12)[columns], nearest[columns])
    assert copies["set"].str.startswith("planted").any()


def test_third_channels_are_compared_for_each_encoding_beside_the_real_ones(sets):
    named = StudySets.of({"real": (sets.pairs["real"], INDEX), "sum": sets.pairs["drawn"]}, PROTOCOL)
    third = np.mean(named.pairs["sum"], axis=1)
    rows = beyond.third_rows(named, {"sum": third}, beyond.anatomy_rows(named))
    assert rows["set"].unique().tolist() == ["real", "sum"] and set(rows["measure"]) == {"third_sum"}
    assert rows.loc[rows["null"] == "own", "residual"].abs().max() < 1e-6
