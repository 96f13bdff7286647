"""The map of open choices: complete, measured or said to be not run, and moves that can be checked by hand."""

import numpy as np
import pandas as pd
import pytest
from drawn_views import pairs_of
from scipy.stats import mannwhitneyu

from mammorgb_utils.evaluation.overlap import pair_metrics
from mammorgb_utils.experiments.open_choices.choices import (
    NOT_RUN,
    OPEN_FIELDS,
    SPLITS,
    STATED_FIELDS,
    TESTS,
    choice_tables,
    contrast_tests,
    open_choices,
    other_statistics,
    split_effects,
    study_choice,
)
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.provenance import protocol_rows
from mammorgb_utils.runs import write_csv

PROTOCOL = Protocol(n_bootstrap=100, n_derangements=3)


def overlap_of(**centres):
    rng = np.random.default_rng(1)
    return pd.concat([pd.DataFrame({"set": name, "pair": [f"{name}{i}" for i in range(40)],
                                    "iou": centre + 0.02 * rng.standard_normal(40)})
                      for name, centre in centres.items()], ignore_index=True)


@pytest.fixture(scope="module")
def overlap():
    return overlap_of(real=0.84, sum=0.86, absdiff=0.88, zero=0.85)


def summary_of(overlap):
    return overlap.groupby("set", as_index=False).agg(iou_median=("iou", "median"))


@pytest.fixture(scope="module")
def summary(overlap):
    return summary_of(overlap)


def mask_effects():
    rows = [("background", "real", 0.84, np.nan, 0.11), ("background", "sum", 0.86, 0.02, 0.09),
            ("otsu", "real", 0.80, np.nan, 0.12), ("otsu", "sum", 0.85, 0.05, 0.06)]
    table = pd.DataFrame(rows, columns=["mask_method", "set", "median", "shift", "gain"])
    for name in ("shift", "gain"):
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.01, table[name] + 0.01
    return table.assign(score=0.8, score_low=0.7, score_high=0.9)


def moves(table, field, result):
    rows = table[(table["field"] == field) & (table["result"] == result)]
    return rows.set_index(["choice", "set"])["moved_by"]


def test_every_field_that_the_protocol_calls_open_is_on_the_map():
    assert {row["name"] for row in protocol_rows(PROTOCOL) if row["open"]} <= set(OPEN_FIELDS)


def test_without_results_every_field_says_not_run_and_nothing_is_guessed(summary):
    table = open_choices({}, summary, PROTOCOL)
    assert table["field"].tolist() == [*OPEN_FIELDS, *STATED_FIELDS]
    assert (table["source"] == NOT_RUN).all() and table[["value", "moved_by"]].isna().all(axis=None)
    assert table["open"].tolist() == [True] * len(OPEN_FIELDS) + [False] * len(STATED_FIELDS)


def test_a_study_without_real_pairs_is_refused_in_words(summary):
    with pytest.raises(ValueError, match="no rows of the set 'real' to compare against; run 04_metrics again"):
        open_choices({}, summary[summary["set"] != "real"], PROTOCOL)


def test_a_move_is_the_difference_to_the_studys_own_choice(summary):
    table = open_choices({"mask_effects": mask_effects()}, summary, PROTOCOL)
    assert moves(table, "mask_method", "real_median")["otsu", "real"] == pytest.approx(-0.04)
    assert moves(table, "mask_method", "shift")["otsu", "sum"] == pytest.approx(0.03)
    assert moves(table, "mask_method", "gain")["background", "real"] == 0.0
    under_otsu = open_choices({"mask_effects": mask_effects()}, summary, PROTOCOL.changed(mask_method="otsu"))
    assert moves(under_otsu, "mask_method", "shift")["background", "sum"] == pytest.approx(-0.03)


def test_the_audit_moves_one_field_at_a_time(summary):
    cells = [(scope, aspect, method) for scope in ("none", "image", "foreground") for aspect in ("squash", "pad")
             for method in ("background", "otsu")]
    audit = pd.DataFrame(cells, columns=["match_scope", "aspect", "mask_method"])
    audit["paired_median"] = [0.9 if cell == ("image", "squash", "background") else 0.8 for cell in cells]
    for name in ("paired_low", "paired_high", "gain", "gain_low", "gain_high"):
        audit[name] = 0.1
    table = open_choices({"matching_audit": audit}, summary, PROTOCOL)
    found = moves(table, "match_scope", "real_median")
    assert found.droplevel("set").to_dict() == {"none": 0.0, "image": pytest.approx(0.1), "foreground": 0.0}
    assert set(moves(table, "aspect", "real_median").index) == {("squash", "real"), ("pad", "real")}


def test_models_trained_anew_are_held_against_the_studys_own_preprocessing(summary):
    names = ("real_median", "real_gain", "real_gain_low", "real_gain_high", "synthetic_gain", "shift", "shift_low",
             "shift_high", "score", "score_low", "score_high")
    rows = [{"field": field, "choice": choice} | dict.fromkeys(names, value)
            for field, choice, value in (("study", "as it is", 0.1), ("mirror", "off", 0.4),
                                         ("match_scope", "none", 0.2), ("reference_cdf", "dark", 0.15))]
    table = open_choices({"preprocessing_effects": pd.DataFrame(rows)}, summary, PROTOCOL)
    assert moves(table, "mirror", "shift")["off", "drawn"] == pytest.approx(0.3)
    assert moves(table, "match_scope", "score")["none", "drawn"] == pytest.approx(0.1)
    assert moves(table, "reference_cdf", "real_median").to_dict() == {
        ("phantom", "real"): 0.0, ("dark", "real"): pytest.approx(0.05)}


def test_samplers_and_rates_are_held_against_what_the_study_and_the_paper_chose(summary):
    samplers = pd.DataFrame({"sampler": ["dpmsolver++", "ddim"], "steps": [15, 50], "iou_median": [0.88, 0.85],
                             "iou_median_reference": 0.86, "hodges_lehmann": [0.02, -0.01],
                             "hodges_lehmann_low": [0.01, -0.02], "hodges_lehmann_high": [0.03, 0.0]})
    rates = pd.DataFrame({"learning_rate": [1e-4, 1e-4, 1e-5], "iou_median": [0.80, 0.90, 0.86], "gain": 0.1})
    table = open_choices({"samplers": samplers, "learning_rates": rates}, summary, PROTOCOL)
    found = moves(table, "sampler", "shift")
    assert found["ddim, 50 steps", "drawn"] == pytest.approx(-0.03)
    assert found["reference", "drawn"] == pytest.approx(-0.02)
    paper = PROTOCOL.changed(sampler="ddpm", sampling_steps=1000)  # whose own walk the reference is
    found_there = moves(open_choices({"samplers": samplers}, summary, paper), "sampler", "shift")
    assert found_there["ddpm, 1000 steps", "drawn"] == 0 and found_there["ddim, 50 steps", "drawn"] == \
        pytest.approx(-0.01)
    bars = table.loc[table["field"].isin(["sampler", "learning_rate"]), ["low", "high"]]
    assert bars.isna().all(axis=None), "neither table has an interval of the shift to real"
    assert moves(table, "learning_rate", "shift")["0.0001", "drawn"] == pytest.approx(-0.01)
    assert set(table.loc[table["field"] == "learning_rate", "against"]) == {"1e-05"}


def test_the_same_steps_spaced_otherwise_are_a_choice_of_their_own(summary):
    samplers = pd.DataFrame({"sampler": ["ddim", "ddim trailing", "ddim trailing"], "steps": [50, 50, 8],
                             "iou_median": [0.85, 0.88, 0.9], "iou_median_reference": 0.86})
    own = PROTOCOL.changed(sampler="ddim", sampling_steps=50, sampling_spacing="quadratic")
    table = open_choices({"samplers": samplers}, summary, own)
    assert moves(table, "sampling_spacing", "shift").to_dict() == {
        ("quadratic", "drawn"): 0.0, ("trailing", "drawn"): pytest.approx(0.03)}
    assert sorted(table.loc[table["field"] == "sampler", "choice"]) == ["ddim, 50 steps", "reference"]


def test_a_reference_of_the_users_is_named_without_its_folder():
    assert study_choice("reference_cdf", PROTOCOL.changed(reference_cdf="somewhere/of mine.json")) == "of mine"


def test_only_tables_that_are_there_are_read(tmp_path):
    write_csv(tmp_path / "mask_effects.csv", mask_effects())
    write_csv(tmp_path / "unrelated.csv", mask_effects())
    assert list(choice_tables(tmp_path)) == ["mask_effects"]


def test_every_test_of_the_contrasts(overlap):
    table = contrast_tests(overlap, PROTOCOL)
    assert len(table) == 3 * len(TESTS) and table["value"].between(0, 1).all()
    x, y = (overlap.loc[overlap["set"] == name, "iou"] for name in ("sum", "zero"))
    row = table[(table["set"] == "sum − zero") & (table["choice"] == "Mann–Whitney")]
    assert row["value"].item() == pytest.approx(mannwhitneyu(x, y).pvalue)


def test_tests_and_splits_are_on_the_map(overlap, summary):
    pairs = pairs_of([(0.5, 0.5 + 0.02 * i) for i in range(12)])
    index = pd.DataFrame({"pair": [f"p{i}" for i in range(12)], "split": ["heldout", "train"] * 6})
    found = other_statistics(pairs, index.assign(patient=index["pair"]), overlap, PROTOCOL)
    table = open_choices({"other_statistics": found}, summary, PROTOCOL).set_index("field")
    tests, splits = table.loc["contrast_test"], table.loc["real_split"]
    assert len(tests) == 3 * len(TESTS) and (tests["result"] == "p").all()
    assert set(splits["choice"]) == set(SPLITS)
    assert (splits.loc[splits["choice"] == "heldout", "moved_by"] == 0.0).all()


def test_a_study_of_one_encoding_has_no_contrast_and_still_a_map():
    alone = overlap_of(real=0.84, sum=0.86)
    few = pd.DataFrame(columns=["pair", "split", "patient"])
    found = other_statistics(np.zeros((0, 2, 8, 8)), few, alone, PROTOCOL)
    table = open_choices({"other_statistics": found}, summary_of(alone), PROTOCOL)
    assert found.empty and table.loc[table["field"] == "contrast_test", "source"].tolist() == [NOT_RUN]


def test_a_set_of_two_has_no_p(overlap):
    few = overlap[(overlap["set"] != "zero") | (overlap["pair"].isin(["zero0", "zero1"]))]
    table = contrast_tests(few, PROTOCOL)
    assert table.loc[table["set"].str.endswith("zero"), "value"].isna().all()


def test_splits_by_hand(overlap):
    pairs = pairs_of([(0.5, 0.5 + 0.02 * i) for i in range(6)] + [(0.5, 0.9)] * 4)
    index = pd.DataFrame({"pair": [f"p{i}" for i in range(10)], "split": ["heldout"] * 6 + ["train"] * 4})
    index["patient"] = index["pair"]
    table = split_effects(pairs, index, overlap, PROTOCOL)
    medians = table[table["result"] == "real_median"].set_index("choice")
    iou = pair_metrics(pairs)["iou"].to_numpy()
    expected = {"heldout": np.median(iou[:6]), "train": np.median(iou[6:]), "all": np.median(iou)}
    assert medians["value"].to_dict() == pytest.approx(expected)
    assert (medians["low"] <= medians["value"]).all() and (medians["value"] <= medians["high"]).all()
    shifts = table[(table["result"] == "shift") & (table["set"] == "sum")].set_index("choice")["value"]
    assert shifts["train"] > shifts["heldout"] and set(table["choice"]) == set(SPLITS)
    many = index.copy()
    many.loc[2:5, "patient"] = "p2"  # who has more than half of the held-out pairs: too few to shuffle them with
    alone = split_effects(pairs, many, overlap, PROTOCOL)
    assert set(alone.loc[alone["result"] == "gain", "choice"]) == {"train", "all"}
    assert set(alone["choice"]) == set(SPLITS) and "shift" in set(alone.loc[alone["choice"] == "heldout", "result"])
    many.loc[8:, "patient"] = "p7"  # four pairs of two women
    assert set(split_effects(pairs, many, overlap, PROTOCOL)["choice"]) == {"heldout", "all"}
    few = split_effects(pairs[:8], index.iloc[:8], overlap, PROTOCOL)
    assert set(few["choice"]) == {"heldout", "all"}
