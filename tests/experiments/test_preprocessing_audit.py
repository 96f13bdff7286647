"""The matching audit: the same breasts in every cell, computed once, and a summary that can be checked by hand."""

import numpy as np
import pandas as pd
import pytest

from mammorgb_utils import runs
from mammorgb_utils.data.dicom import RejectedImage, read_mammogram
from mammorgb_utils.data.pairs import load_pairs, preprocess_cohort
from mammorgb_utils.data.preprocess import load_reference_cdf, preprocess_view
from mammorgb_utils.experiments.preprocessing import audit as preprocessing_audit
from mammorgb_utils.experiments.preprocessing.audit import (
    ASPECTS,
    CELL,
    SCOPES,
    audit_summary,
    cells,
    difference_from_study,
    matching_audit,
    view_in_cells,
)
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run


@pytest.fixture(scope="module")
def study(cohort, tmp_path_factory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "PROJECT_ROOT", tmp_path_factory.mktemp("root"))
        run = Run.open("r", "smoke", manifest=str(cohort[0] / "manifest.csv"))
        preprocess_cohort(run, progress=False)
    return run


@pytest.fixture
def in_process(monkeypatch):
    """Work in this process, item by item; returns the items that were worked on."""
    seen = []

    def one_by_one(function, items, **limits):
        for item in items:
            seen.append(item[0])
            yield item, function(item)

    monkeypatch.setattr(preprocessing_audit, "map_isolated", one_by_one)
    return seen


def audit_of(study, **options):
    index = load_pairs(study, "all")[1]
    return matching_audit(study, index, progress=False, **options)


def test_every_variant_is_the_view_that_a_study_with_that_choice_would_make(cohort):
    protocol = Protocol.load("smoke")
    reference = load_reference_cdf(protocol)
    mammogram = read_mammogram(next(cohort[0].rglob("*.dcm")))
    expected = [preprocess_view(mammogram, reference, protocol.model_copy(update={"match_scope": s, "aspect": a}))
                for s in SCOPES for a in ASPECTS]
    np.testing.assert_array_equal(view_in_cells(mammogram, reference, protocol), expected)


def test_each_pair_stands_once_in_each_cell_and_the_own_cell_is_the_study(study, in_process):
    audit, shuffled = audit_of(study)
    pairs, index = load_pairs(study, "all")
    assert audit.groupby(CELL)["pair"].apply(sorted).map(tuple).nunique() == 1
    assert len(audit) == 12 * len(index) and sorted(in_process) == sorted(index["pair"])
    assert dict(zip(audit["pair"], audit["patient"], strict=True)) == dict(
        zip(index["pair"], index["patient"], strict=True))
    assert difference_from_study(audit, pairs, index, study.protocol) == 0
    partners, masked = shuffled.groupby(CELL)["mlo_pair"].apply(tuple), audit.groupby(CELL)["iou"].count()
    assert len(partners) == 12 and (shuffled["cc_pair"] != shuffled["mlo_pair"]).all()
    assert partners[masked == len(index)].nunique() == 1 and (masked == len(index)).sum() >= 6
    assert (shuffled.groupby(CELL).size() == masked * study.protocol.n_derangements).all()


@pytest.mark.parametrize("method", ["triangle", "watershed"])
def test_a_study_by_another_mask_method_has_its_own_cell(cohort, tmp_path, monkeypatch, in_process, method):
    monkeypatch.setattr(runs, "PROJECT_ROOT", tmp_path)
    run = Run.open("r", "smoke", manifest=str(cohort[0] / "manifest.csv"), mask_method=method)
    preprocess_cohort(run, progress=False)
    audit, shuffled = audit_of(run, max_pairs=5)
    pairs, index = load_pairs(run, "all")
    assert audit["mask_method"].unique().tolist() == ["background", "otsu", method]
    assert difference_from_study(audit, pairs, index, run.protocol) == 0
    summary = audit_summary(audit, shuffled, run.protocol)
    assert len(summary) == len(cells(run.protocol)) == 18
    assert len(preprocessing_audit.figure(audit, shuffled).axes) == 12


def test_views_that_differ_from_the_stored_ones_are_noticed(study, in_process):
    audit, _ = audit_of(study)
    pairs, index = load_pairs(study, "all")
    assert difference_from_study(audit, pairs[::-1], index, study.protocol) > 0.01
    empty = audit.assign(iou=audit["iou"].where(audit["pair"] != index["pair"][0]))
    assert difference_from_study(empty, pairs, index, study.protocol) == np.inf


def test_a_finished_audit_is_loaded_and_another_size_starts_anew(study, in_process):
    first = audit_of(study)
    in_process.clear()
    for table, again in zip(first, audit_of(study), strict=True):
        pd.testing.assert_frame_equal(table, again)
    assert in_process == []
    fewer, _ = audit_of(study, max_pairs=5)
    assert fewer["pair"].nunique() == len(in_process) == 5
    in_process.clear()
    assert set(audit_of(study, max_pairs=5)[0]["pair"]) == set(fewer["pair"]) and in_process == []


def test_a_killed_audit_starts_over(study, in_process, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(preprocessing_audit, "write_json", killed)
        audit_of(study, max_pairs=6)
    in_process.clear()
    audit_of(study, max_pairs=6)
    assert len(in_process) == 6


def test_a_pair_that_cannot_be_read_is_excluded_everywhere_and_nothing_names_its_file(study, cohort, monkeypatch):
    def one_hangs(function, items, **limits):
        for number, item in enumerate(items):
            yield item, RejectedImage(item[1], "timeout", "too slow") if number == 2 else function(item)

    monkeypatch.setattr(preprocessing_audit, "map_isolated", one_hangs)
    audit, shuffled = audit_of(study, max_pairs=7)
    lost = audit[audit["excluded"] == "timeout"]
    assert len(lost) == 12 and lost["pair"].nunique() == 1 and lost["iou"].isna().all()
    assert not shuffled[["cc_pair", "mlo_pair"]].isin(set(lost["pair"])).any(axis=None)
    summary = audit_summary(audit, shuffled, study.protocol)
    assert summary["excluded"].eq(1).all() and (summary["n"] + summary["n_nan"]).eq(6).all()
    assert summary.loc[summary["mask_method"] == "background", "n"].eq(6).all()
    text = "".join(file.read_text() for file in study.pairs.parent.glob("audit*"))
    assert ".dcm" not in text and str(cohort[0]) not in text


def test_files_that_are_gone_are_named_as_the_cause(study, monkeypatch):
    def none_there(function, items, **limits):
        yield from ((item, RejectedImage(item[1], "unreadable", "gone")) for item in items)

    monkeypatch.setattr(preprocessing_audit, "map_isolated", none_there)
    with pytest.raises(ValueError, match="none of 4 real pairs can be read any more"):
        audit_of(study, max_pairs=4)


def drawn_audit(iou, areas):
    names = [f"P{i}" for i in range(len(iou))]
    audit = pd.DataFrame({"match_scope": "none", "aspect": "squash", "mask_method": "otsu", "pair": names,
                          "patient": names, "iou": iou, "iou_no_muscle": iou, "cc_area": areas, "mlo_area": areas,
                          "plausible": [True, True, True, False], "excluded": ""})
    shuffled = pd.DataFrame({"match_scope": "none", "aspect": "squash", "mask_method": "otsu", "draw": 0,
                             "cc_pair": names, "mlo_pair": names[1:] + names[:1], "iou": [0.2, 0.4, 0.5, 0.7]})
    return audit, shuffled


def test_summary_against_numbers_worked_by_hand():
    row = audit_summary(*drawn_audit([0.6, 0.8, 0.9, np.nan], [0.1, 0.2, 0.3, 0.0]), Protocol(n_bootstrap=300)).loc[0]
    assert (row["n"], row["n_nan"], row["excluded"]) == (3, 1, 0)
    assert row["paired_median"] == 0.8 and row["shuffled_median"] == pytest.approx(0.45)
    assert row["gain"] == pytest.approx(0.35) and row["gain_low"] < 0.35 < row["gain_high"]
    assert row["paired_low"] == 0.6 and row["paired_high"] == 0.9
    assert row["area_mean"] == pytest.approx(20) and row["area_sd"] == pytest.approx(np.sqrt(80))
    assert row["plausible"] == 0.75


def test_a_cell_without_any_mask_says_so():
    audit, shuffled = drawn_audit([np.nan] * 4, [0.0] * 4)
    row = audit_summary(audit, shuffled.assign(iou=np.nan), Protocol(n_bootstrap=50)).loc[0]
    assert (row["n"], row["n_nan"]) == (0, 4) and "gain" not in row.dropna()
