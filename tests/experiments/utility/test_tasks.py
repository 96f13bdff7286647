"""Tasks and their labels, the order of patients, and every mistake that is named before work begins."""

import re

import numpy as np
import pandas as pd
import pytest
from utility_study import N, blob_pool, utility_study

from mammorgb_utils.data.phantom.cases import TRUTH_COLUMNS
from mammorgb_utils.experiments.utility import Task, UtilityError, study_pool, study_tasks, task_table, tasks
from mammorgb_utils.experiments.utility.tasks import patient_order, sizes
from mammorgb_utils.runs import read_table, write_csv


def relabelled(run, **columns):
    write_csv(run.pairs_index, read_table(run.pairs_index).assign(**columns))
    return run


@pytest.fixture
def study(tmp_path):
    return utility_study(tmp_path)


def test_a_label_makes_a_task_beside_pairing(study):
    pool = study_pool(study)
    found, left_out = study_tasks(study, pool, "density")
    assert not left_out
    assert [task.name for task in found] == ["pairing", "density"]
    assert found[1].label[pool.rows("train")].tolist() == [0.0, 1.0] * (N // 2)
    assert np.isnan(found[1].label[pool.rows("sum")]).all(), "synthetic pairs carry no label"
    table = task_table(pool, found).set_index(["task", "split"])
    assert table.loc[("density", "heldout"), ["patients", "pairs", "left_out", "positive"]].tolist() == [N, N, 0, 0.5]
    assert np.isnan(table.loc[("pairing", "train"), "positive"])


def test_birads_tells_malignancy_and_none_tells_nothing(study):
    relabelled(study, birads=[2, 4] * N)
    pool = study_pool(study)
    assert study_tasks(study, pool, "birads")[0][1].name == "malignancy"
    tasks, left_out = study_tasks(study, pool, "none")
    assert [task.name for task in tasks] == ["pairing"] and not left_out
    with pytest.raises(UtilityError, match="label: 'BIRADS' isn't known; use one of truth, density, birads, none"):
        study_tasks(study, pool, "BIRADS")


@pytest.mark.parametrize(("label", "columns", "message"), [
    ("density", {"density": np.nan}, "label: the manifest states no density; add that column, or set the"),
    ("density", {"density": "A"}, "density can't be tested, as 0 of 24 train patients have it and 24 don't"),
    ("birads", {}, "malignancy can't be tested, .* Pairs have BI-RADS 2 alone: accepted_birads decides it"),
    ("truth", {}, "label: truth is that of phantoms, and these pairs are none; set the notebook's label to"),
])
def test_a_label_that_can_t_be_used_leaves_pairing_and_says_why(study, monkeypatch, label, columns, message):
    monkeypatch.setattr(tasks, "true_anatomy", lambda run: pd.DataFrame({"pair": pd.Series(dtype=str)}))
    found, left_out = study_tasks(relabelled(study, **columns), study_pool(study), label)
    assert [task.name for task in found] == ["pairing"]
    assert len(left_out) == 1 and re.match(message, left_out[0])


def test_phantoms_know_masses_and_density(study, monkeypatch):
    truth = pd.DataFrame({"pair": [f"P{i:03d}" for i in range(2 * N)], "n_masses": [0, 2] * N,
                          "birads_density": ["a", "b", "c", "d"] * (N // 2)}).drop(index=5)
    monkeypatch.setattr(tasks, "true_anatomy", lambda run: truth)
    pool = study_pool(study)
    mass, density = study_tasks(study, pool, "truth")[0][1:]
    assert (mass.name, density.name) == ("mass", "density")
    assert len(mass.known(pool, "heldout")) == N - 1, "a pair without truth is left out"
    assert dict(zip(truth["pair"], truth["birads_density"], strict=True))["P002"] == "c"
    assert density.label[pool.anatomy["pair"].eq("P002")].tolist() == [1.0]
    truth["n_masses"] = 0
    found, left_out = study_tasks(study, pool, "truth")
    assert [task.name for task in found] == ["pairing", "density"], "one task's fault is none of the other's"
    assert left_out == [f"mass can't be tested, as 0 of {N} train patients have it and {N} don't; 2 of each are the "
                        "least."]


def test_patients_join_one_by_one_and_classes_take_turns(study):
    pool = study_pool(study)
    pairing, density = study_tasks(study, pool, "density")[0]
    first, other = patient_order(pool, density, 1), patient_order(pool, density, 2)
    assert sorted(first) == sorted(other) == pool.rows("train").tolist() and first.tolist() != other.tolist()
    for n in (4, 7, 12):
        assert abs(density.label[first[:n]].sum() - n / 2) <= 0.5
    assert not set(first) & set(pool.rows("heldout"))
    assert len(patient_order(pool, pairing, 1)) == N


def test_a_patient_of_two_breasts_counts_once():
    pool = blob_pool({"train": ["A", "A", "B", "C", "C"]})
    assert len(set(pool.patients[patient_order(pool, Task("pairing"), 0)])) == 3
    assert sizes(pool, Task("pairing"), [2]) == [2, 3]


@pytest.mark.parametrize(("n_real", "message"), [
    ([N + 1], f"n_real: {N + 1} asked for; density has {N} training patients, so use numbers from 2 to {N}"),
    ([], "n_real: none asked for"),
    ([3], "n_real: of 3 training patients fewer than 2 are of either class of density; begin with more")])
def test_numbers_of_patients_that_can_t_be_are_named(study, n_real, message):
    pool = study_pool(study)
    with pytest.raises(UtilityError, match=message):
        sizes(pool, study_tasks(study, pool, "density")[0][1], n_real)


def test_a_cohort_of_one_patient_has_no_strangers(tmp_path):
    run = relabelled(utility_study(tmp_path), patient=["H"] * N + ["T"] * N)
    with pytest.raises(UtilityError, match="pairing: 1 train patients with masks in both views; 2 are the least"):
        study_tasks(run, study_pool(run), "density")


def test_the_truth_of_a_cohort_has_what_the_tasks_need():
    assert {"pair", "n_masses", "birads_density"} <= set(TRUTH_COLUMNS)
