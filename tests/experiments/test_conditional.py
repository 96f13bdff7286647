"""Pairs of a given density: graders see what follows and what doesn't, a model is drawn from, an answer is given."""

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn_figures import texts
from small_study import SIZE, N, drawn_pairs, small_study
from tiny_models import save_base

from mammorgb_utils.diffusion.conditioning import GRADES, add_labels
from mammorgb_utils.diffusion.engine.base import load_base
from mammorgb_utils.evaluation.anatomy.measure import VIEWS
from mammorgb_utils.experiments.conditional import arms, drawing, judging, own_loss, tables
from mammorgb_utils.experiments.conditional.judging import Judged, measured
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting import answer, conditional_answer
from mammorgb_utils.runs import write_csv

PROTOCOL = Protocol.load("smoke", image_size=SIZE, n_bootstrap=60)
CHOSEN, WEIGHTS = ("A", "C", "D"), (0, 1, 2)
NO_TRUTH = pd.DataFrame({"pair": pd.Series(dtype=str)})


def graded(n, seed):
    """Pairs that are brighter the denser, and their index; every fifth grade is unknown."""
    grades = np.resize([*CHOSEN, ""], n)
    pairs = drawn_pairs(n, seed) * np.array([{"A": 0.6, "C": 1.0, "D": 1.3}.get(grade, 0.8) for grade in grades],
                                            np.float32)[:, None, None, None]
    names = [f"{seed}-{i}" for i in range(n)]
    return pairs.clip(0.0, 1.0), pd.DataFrame({"pair": names, "patient": names, "grade": grades})


@pytest.fixture(scope="module")
def rows():
    """Drawn at w = 1 as if the grade were not heard, at w = 2 as real pairs of it are."""
    base, (follow, index) = drawn_pairs(12, 5), graded(48, 6)
    drawn = {(0, ""): base} | {(1, grade): base for grade in CHOSEN}
    drawn |= {(2, grade): follow[index["grade"] == grade] for grade in CHOSEN}
    return measured(graded(60, 1), graded(48, 2), drawn, PROTOCOL)


def test_concordance_is_the_mean_area_over_pairs_of_grades_and_counts_patients_as_often_as_drawn():
    scores, grades = np.array([0.1, 0.5, 0.5, 0.9, 0.2, 0.8]), np.array(list("AABBDD"))
    weights = np.array([[1, 2], [1, 0], [1, 1], [1, 1], [1, 1], [1, 1]], np.float32)
    judged = Judged({"cc": scores}, {"cc": np.array(list("ABBBDA"))}, grades, np.arange(6), weights)

    def by_hand(repeats):
        values = {grade: np.repeat(scores, repeats)[np.repeat(grades, repeats) == grade] for grade in "ABD"}
        return np.mean([np.mean([(a < b) + 0.5 * (a == b) for a in values[first] for b in values[second]])
                        for first, second in itertools.combinations("ABD", 2)])

    np.testing.assert_allclose(judged.concordance("cc"), [by_hand(w) for w in weights.T.astype(int)])
    np.testing.assert_allclose(judged.accuracy("cc"), [(0.5 + 1 + 0.5) / 3, (1 + 1 + 0.5) / 3])


def test_a_label_with_a_negligible_effect_is_at_chance_and_its_interval_holds_it():
    noises, draws = 24, np.random.default_rng(0)
    weights = np.stack([np.ones(noises), *draws.multinomial(noises, np.full(noises, 1 / noises), 99)], axis=1)
    grades, owners = np.repeat(list(CHOSEN), noises), np.tile(np.arange(noises), len(CHOSEN))
    scores = np.tile(draws.normal(size=noises), len(CHOSEN)) + np.repeat([0.0, 1e-9, 2e-9], noises)
    found = Judged({"cc": scores}, {}, grades, owners, np.tile(weights, (len(CHOSEN), 1)).astype(np.float32))
    assert (found.concordance("cc") == 0.5).all()


def by_size(n, seed, tissue=1.0, owner="p"):
    """Rows of `measured` whose breasts are smaller the denser; all features tell the size, one the grade as well."""
    rng, grades = np.random.default_rng(seed), np.resize(list(CHOSEN), n)
    place, table = np.array([CHOSEN.index(grade) for grade in grades]), {}
    for slope, view in enumerate(VIEWS, 1):  # each view has its own
        area = rng.normal(size=n) - place
        table[f"{view}_area"], table[f"{view}_nipple_line"] = area, area + rng.normal(size=n)
        table |= {f"{view}_{name}": slope * area + 0.3 * rng.normal(size=n) for name in judging.TISSUE}
        table[f"{view}_dense"] += tissue * place
    names = [f"{owner}{seed}-{i}" for i in range(n)]
    return pd.DataFrame(table).assign(grade=grades, pair=names, patient=names, guidance=np.nan)


def test_pairs_that_follow_by_size_alone_do_not_follow_in_tissue():
    drawn = by_size(300, 3, tissue=0.0).assign(set="drawn", guidance=1.0)
    rows = pd.concat([by_size(600, 1).assign(set="train"), by_size(300, 2).assign(set="heldout"), drawn])
    found = tables.obedience_table(rows, (1,), PROTOCOL).set_index(["judge", "set", "view"])["concordance"]
    for view in ("CC", "MLO"):
        assert found["grader, size", "drawn", view] > 0.7 and found[tables.PRIMARY, "real", view] > 0.8
        assert found[tables.PRIMARY, "drawn", view] == pytest.approx(0.5, abs=0.05)


def test_a_grade_without_a_held_out_pair_or_without_a_drawn_breast_is_left_out(rows):
    lost = (rows["set"] == "heldout") & (rows["grade"] == "A")
    blank = (rows["guidance"] == 2) & (rows["grade"] == "D")
    for part in (rows[~lost], rows.assign(cc_area=rows["cc_area"].mask(blank))):
        found = tables.tables_of({"none": part}, NO_TRUTH, WEIGHTS, {"none": PROTOCOL.changed(match_scope="none")})
        shown = found.obedience[(found.obedience["judge"] == tables.PRIMARY) & (found.obedience["guidance"] == 2)]
        assert shown.set_index("view").loc[["CC", "MLO"], ["obedience", "slope"]].notna().all(axis=None)
        assert len(found.calibration.query("guidance == 2 and measure == 'grade' and view == 'CC'")) == 2
        assert "w = 2" in texts(drawing.figure(found))


def test_graders_tell_pairs_that_follow_from_pairs_that_do_not(rows):
    found = tables.obedience_table(rows, WEIGHTS, PROTOCOL)
    found = found[found["judge"] == tables.PRIMARY].set_index(["guidance", "view"])
    deaf, following = found.loc[1.0], found.loc[2.0]
    assert (deaf.loc[["CC", "MLO"], "concordance"] == 0.5).all() and np.allclose(deaf.loc["CC", "accuracy"], 1 / 3)
    assert (following.loc[["CC", "MLO"], "concordance_low"] > 0.9).all()
    assert following.loc["CC", "obedience"] == pytest.approx(1.0, abs=0.05)
    assert following.loc["MLO", "slope"] == pytest.approx(1.0, abs=0.25) and deaf.loc["MLO", "slope"] == 0.0
    assert deaf.loc["MLO − CC", "concordance"] == 0.0 and following.loc["MLO − CC", "agreement"] > 0.8
    shown = tables.calibration_table(rows, NO_TRUTH, WEIGHTS, PROTOCOL).query("measure == 'grade' and view == 'CC'")
    steps = shown.pivot(index="grade", columns="guidance", values="drawn")
    assert np.ptp(steps[1.0]) < 1e-6 and steps[2.0].is_monotonic_increasing
    np.testing.assert_allclose(steps[2.0], shown.query("guidance == 2")["real"], atol=0.4)


def test_what_is_left_names_judge_and_truth(rows):
    densities = {"cc_density": rows["cc_mean"] * 2, "mlo_density": 0.5 + rows["cc_area"]}
    truth = pd.DataFrame({"pair": rows["pair"], **densities})
    left = tables.left_table(rows, truth, PROTOCOL).set_index(["judge", "view"])
    assert left.loc[("grader, tissue", "CC"), "concordance"] > left.loc[("grader, size", "CC"), "concordance"] + 0.2
    assert left.loc[("mean intensity", "CC"), ["r", "valid"]].tolist() == [pytest.approx(1.0), "yes"]
    assert left.loc[("mean intensity", "MLO"), "valid"] == "no"
    assert np.isnan(left.loc[("dense share", "CC"), "accuracy"])
    blind = tables.left_table(rows, NO_TRUTH, PROTOCOL)
    assert blind["valid"].eq("no truth").all() and blind["r"].isna().all()


def test_variety_is_that_of_one_pair_a_noise_with_grades_as_frequent_as_real(rows):
    real = pd.Series(["A"] + ["C"] * 2 + ["D"] + ["", ""])
    chosen = tables.as_frequent(rows[rows["guidance"] == 1], real)
    assert chosen["grade"].value_counts().to_dict() == {"A": 3, "C": 6, "D": 3} and chosen["patient"].is_unique
    assert len(tables.as_frequent(rows[rows["guidance"] == 0], real)) == 12
    found = tables.variety_table(rows, WEIGHTS, PROTOCOL)
    assert found["note"].str.startswith("underpowered: halves of 6").all() and set(found["guidance"]) == set(WEIGHTS)


@pytest.fixture
def study(tmp_path, monkeypatch):
    base = save_base(tmp_path / "base", sample_size=SIZE)
    run = small_study(tmp_path, monkeypatch, base_model=str(base), match_scope="none", batch_size=8)
    index = pd.read_csv(run.pairs_index)
    write_csv(run.pairs_index, index.assign(density=np.where(index.index % 24 < 20, "C", "")))
    return run


def test_grades_are_the_manifests_or_the_phantoms(study, monkeypatch):
    counts = arms.grade_counts(study).set_index("grade")
    assert counts["train"].to_dict() == {"A": 0, "B": 0, "C": 20, "D": 0, "unknown": 4}
    assert counts["learned"].to_dict() == {"A": False, "B": False, "C": True, "D": False, "unknown": False}
    index = pd.read_csv(study.pairs_index)
    few = index["density"].where((index["split"] == "train") | (index.index < 4))
    write_csv(study.pairs_index, index.assign(density=few))
    counts = arms.grade_counts(study).set_index("grade")
    assert counts.loc["C", ["train", "heldout"]].tolist() == [20, 4] and not counts["learned"].any()
    truth = pd.DataFrame({"pair": ["P0", "P1", "P2"], "birads_density": ["a", "d", "x"]})
    monkeypatch.setattr(arms, "true_anatomy", lambda study, with_artefacts: truth)
    assert arms.grades_of(study, pd.DataFrame({"pair": ["P1", "P2", "P0", "P9"]})).tolist() == ["D", "", "A", ""]
    monkeypatch.setattr(arms, "true_anatomy", lambda study, with_artefacts: NO_TRUTH)
    assert arms.grades_of(study, pd.DataFrame({"pair": ["P1"]})).tolist() == [""]


def test_a_model_is_trained_once_and_drawn_at_each_grade_and_guidance(study, monkeypatch):
    runs = arms.runs_by_matching(study, progress=False)
    assert list(runs) == ["none"] and runs["none"] == study, "a study without matching needs no other views"
    budget = study.protocol.changed(n_synthetic=3, epochs=0.4, sampling_steps=2)
    drawn = arms.draw(study, study, ("C",), budget, "sum", WEIGHTS, progress=False)
    assert set(drawn) == {(0, ""), (1, "C"), (2, "C")} and drawn[1, "C"].shape == (3, 2, SIZE, SIZE)
    assert np.abs(drawn[0, ""] - drawn[1, "C"]).max() > 0
    monkeypatch.setattr("mammorgb_utils.diffusion.engine.sample_store.sample_pairs", None)
    monkeypatch.setattr("mammorgb_utils.diffusion.training.fit", None)
    again = arms.draw(study, study, ("C",), budget, "sum", WEIGHTS, progress=False)
    assert all(np.array_equal(again[key], drawn[key]) for key in drawn)
    real = arms.graded(study, study, "heldout", ("C",))
    row = own_loss.own_loss(study, real, ("C",), "sum", study.protocol, 5)
    assert list(row) == own_loss.COLUMNS and row["n"] == 5 and row["gain"] != 0.0


def test_a_model_that_learned_no_grade_gains_nothing(study, monkeypatch):
    unet, scheduler = load_base(study.protocol.base_model, SIZE)
    monkeypatch.setattr(own_loss, "open_for_sampling", lambda folder: (add_labels(unet).eval(), scheduler))
    row = own_loss.own_loss(study, arms.graded(study, study, "heldout", ("C",)), ("C", "D"), "sum", study.protocol, 4)
    assert row["gain"] == row["gain_low"] == row["gain_high"] == 0.0 and row["chance"] == 0.5
    assert row["top1"] == row["top1_low"] == row["top1_high"] == 0.5, "equal losses are no knowledge"


def test_a_model_with_one_favourite_grade_is_at_chance_however_frequent_that_is(study, monkeypatch):
    pairs, index = arms.graded(study, study, "heldout", ("C",))
    index = index.reset_index(drop=True).assign(grade=np.where(np.arange(len(index)) < 4, "A", "C"))
    monkeypatch.setattr(own_loss, "open_for_sampling", lambda folder: (None, None))
    monkeypatch.setattr(own_loss, "denoising_losses", lambda *given, timesteps, label, **rest: np.full(
        (given[2].shape[0], len(timesteps)), 0.5 if label == GRADES.index("C") else 1.0))
    row = own_loss.own_loss(study, (pairs, index), ("A", "C"), "sum", study.protocol, 20)
    assert row["n"] > 12 and row["top1"] == row["top1_low"] == row["top1_high"] == row["chance"] == 0.5


def obedience(low, least, most, apart=0.0, real=0.8, noises=20):
    lines = [("real", np.nan, view, real, real - 0.1, real + 0.1, np.nan, np.nan, np.nan) for view in ("CC", "MLO")]
    lines += [("drawn", weight, view, low + 0.1, low, low + 0.2, (least + most) / 2, least, most)
              for weight in (1.0, 2.0) for view in ("CC", "MLO")]
    lines += [("drawn", weight, "MLO − CC", apart, apart - 0.1, apart + 0.1, *[np.nan] * 3) for weight in (1.0, 2.0)]
    names = ["set", "guidance", "view", *(f"{name}{bound}" for name in ("concordance", "obedience")
                                          for bound in ("", "_low", "_high"))]
    rows = pd.DataFrame(lines, columns=names).assign(judge=tables.PRIMARY, n=4 * noises)
    return pd.concat([rows.assign(match_scope=scope) for scope in ("image", "none")])


@pytest.mark.parametrize(("ceiling", "bounds", "verdict", "note"), [
    ({"image": 0.6, "none": 0.7}, (0.65, 0.6, 0.9), "answered", "they follow at w = 1, 2, and no difference"),
    ({"image": 0.6, "none": 0.7}, (0.65, 0.6, 0.9, 0.2), "answered", "w = 1: MLO more than CC; w = 2"),
    ({"image": 0.6, "none": 0.7}, (0.45, -0.1, 0.3), "answered", "they don't follow: .* less than half .* apart; one"),
    ({"image": 0.6, "none": 0.7}, (0.501, 0.01, 0.03), "answered", "they don't follow: .* above chance at w = 1, 2;"),
    ({"image": 0.6, "none": 0.7}, (0.55, 0.2, 0.8), "underpowered", "neither surely"),
    ({"image": 0.4, "none": 0.7}, (0.65, 0.6, 0.9), "answered", "matching leaves nothing to follow"),
    ({"image": 0.4, "none": 0.4}, (0.65, 0.6, 0.9), "not testable on this cohort", "real breasts doesn't surely")])
def test_the_answer_follows_from_ceiling_and_intervals(ceiling, bounds, verdict, note):
    left = pd.DataFrame([{"match_scope": scope, "judge": tables.PRIMARY, "view": view, "concordance_low": low,
                          "concordance_high": low + 0.2} for scope, low in ceiling.items() for view in ("CC", "MLO")])
    losses = pd.DataFrame({"match_scope": ["image", "none"], "n": 40, "chance": 0.25, "top1": 0.4, "top1_low": 0.3})
    found = conditional_answer(left, obedience(*bounds), losses, GRADES, "image")
    assert found.verdict == verdict and pd.Series(found.note).str.contains(note).item()
    assert "matching none, concordance of tissue: real CC 0.80 [0.70, 0.90]" in found.observed
    assert "w = 2 CC" in found.observed and found.observed.count("%] of real") == 8
    rests_on_drawn = ceiling["image"] > 0.5
    assert found.note.endswith("one run each, so that another seed may answer otherwise; the model: end not measured"
                               ) == rests_on_drawn
    deaf = conditional_answer(left, obedience(*bounds), losses.assign(top1_low=0.25), GRADES, "image")
    assert (deaf.verdict == "underpowered" and "the true one in 40% of 40 pairs, by chance in 25%" in deaf.note
            ) == rests_on_drawn
    few = conditional_answer(left, obedience(*bounds, noises=19), losses, GRADES, "image")
    assert "19 pairs a grade were drawn" in few.note if rests_on_drawn else few == found


def test_a_cohort_without_two_grades_has_empty_tables_a_figure_that_says_so_and_an_answer(study):
    found = tables.tables_of({}, NO_TRUTH, WEIGHTS, {})
    assert all(table.empty and len(table.columns) > 8 for table in found)
    judged = conditional_answer(found.left, found.obedience, pd.DataFrame(), ("C",), "none")
    row = answer(study, "B1_conditional", *judged).iloc[0]
    assert row["verdict"] == "not testable on this cohort, on phantoms" and "20 training and 5 held-out" in row["note"]
    for figure in (drawing.figure(found), drawing.pairs_figure({}, {}, ())):
        assert texts(figure) == ["Nothing was trained: too few pairs of known density."]


def test_figures_name_matching_views_and_guidance(rows):
    scopes = {"foreground": PROTOCOL, "none": PROTOCOL.changed(match_scope="none")}
    found = tables.tables_of(dict.fromkeys(scopes, rows), NO_TRUTH, WEIGHTS, scopes)
    assert set(found.left["match_scope"]) == set(scopes) and len(found.obedience) == 2 * 3 * 3 * 3
    words = texts(drawing.figure(found))
    assert {"Matched over the breast", "Not matched", "w = 1", "w = 2", "CC", "MLO", "Chance"} <= set(words)
    pairs, index = graded(8, 3)
    drawn = {scope: {(weight, grade): pairs for weight in (1, 2) for grade in CHOSEN} for scope in scopes}
    shown = drawing.pairs_figure(dict.fromkeys(scopes, (pairs, index)), drawn, CHOSEN, 1)
    assert sum(word.startswith(("real", "w = ")) for word in texts(shown)) == 2 * 3 * 3 and N == 24
