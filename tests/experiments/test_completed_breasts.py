"""Views that stand for a missing one: whose they are, where each set must end up, ranks by hand, and the verdict."""

import shutil

import numpy as np
import pandas as pd
import pytest
from drawn_figures import texts
from small_study import drawn_pairs
from tiny_models import save_base

from mammorgb_utils.data.base_views import phantom_view
from mammorgb_utils.data.pairs import load_pairs
from mammorgb_utils.data.phantom import make_breast
from mammorgb_utils.data.preprocess import load_reference_cdf
from mammorgb_utils.diffusion.training import train
from mammorgb_utils.evaluation.anatomy.measure import PROFILES
from mammorgb_utils.evaluation.beyond import anatomy_rows
from mammorgb_utils.evaluation.sets import StudySets
from mammorgb_utils.experiments import completion
from mammorgb_utils.experiments.completion import tables, views
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting import completion_answer
from mammorgb_utils.runs import Run, RunError, write_array, write_csv

N, TRAINED, DRAWS = 40, 40, 4
DOWN = {"down_block_types": ("DownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "UpBlock2D")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A study of drawn breasts, the last held-out one a second one of the first patient."""
    root = tmp_path_factory.mktemp("run")
    base = save_base(root / "base", sample_size=64, **DOWN)
    protocol = Protocol.load("smoke", base_model=str(base), encodings=("sum",), batch_size=4, epochs=0.2,
                             precision="fp32", sampling_steps=3, sampling_batch=20, n_bootstrap=100)
    run, names = Run(root, protocol, root / "manifest.csv"), [f"P{i}" for i in range(TRAINED + N)]
    index = pd.DataFrame({"pair": names, "patient": [*names[:-1], names[TRAINED]], "source": "mine",
                          "split": ["train"] * TRAINED + ["heldout"] * N})
    write_array(run.pairs, drawn_pairs(TRAINED + N, 0))
    write_csv(run.pairs_index, index)
    write_array(run.samples("sum"), drawn_pairs(12, 1))
    learned, heldout = load_pairs(run, "train"), load_pairs(run, "heldout")
    write_csv(run.anatomy, anatomy_rows(StudySets.of({"real": heldout}, protocol, train=learned)))
    train(learned[0], protocol, "sum", run.training("sum"), model_dir=run.model("sum"), progress=False)
    return run


@pytest.fixture(scope="module")
def directions(run):
    """Both directions; of three breasts the truth is known, so that they can be exposed anew."""
    known = pd.DataFrame({"pair": [f"P{TRAINED + i}" for i in range(3)], "seed_key": [f"3 1 {i}" for i in range(3)]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "true_anatomy", lambda run: known)
        return [completion.asked_views(run, view, "sum", N, DRAWS, progress=False) for view in ("CC", "MLO")]


@pytest.fixture(scope="module")
def seen(run, directions):
    return [completion.measured_views(asked, run.protocol) for asked in directions]


def test_breasts_are_held_out_one_a_patient_and_the_same_in_both_directions(run, directions):
    there, back = directions
    assert len(there.rows) == N - 1 and there.real["patient"].iloc[there.rows].is_unique
    np.testing.assert_array_equal(there.rows, back.rows)
    pairs, index = load_pairs(run, "heldout")
    place = index["pair"].tolist().index(there.real["pair"].iloc[there.rows[3]])
    np.testing.assert_array_equal(there.true[3], pairs[place])
    assert (there.given, there.asked, there.direction, back.direction) == ("CC", "MLO", "CC → MLO", "MLO → CC")


def test_a_study_whose_real_pairs_were_all_trained_on_has_nothing_to_complete(run, tmp_path):
    seen = Run(tmp_path, run.protocol, run.manifest)
    shutil.copytree(run.root, tmp_path, dirs_exist_ok=True)
    measured = pd.read_csv(run.anatomy)
    write_csv(seen.anatomy, measured[measured["set"] == "train"].assign(set="real"))
    with pytest.raises(views.CompletionError, match="no held-out pair .* set real_split to heldout or all"):
        completion.asked_views(seen, "CC", "sum", N, DRAWS, progress=False)
    with pytest.raises(RunError, match="encoding 'zero' isn't in this study"):
        completion.asked_views(seen, "CC", "zero", N, DRAWS, progress=False)


def test_each_set_is_what_it_is_called(run, directions):
    learned = load_pairs(run, "train")[0]
    for column, asked in enumerate(directions):
        given, found = asked.true[:, column], asked.views
        assert list(found) == list(views.SETS) and found["completed"].shape == (N - 1, DRAWS, 64, 64)
        np.testing.assert_array_equal(found["given"][:, 0], given)
        np.testing.assert_array_equal(found["mirrored"][:, 0, ::-1], given)
        np.testing.assert_allclose(found["mean"][5, 0], learned[:, 1 - column].mean(axis=0), atol=1e-6)
        distance = ((learned[:, column] - given[7]) ** 2).sum(axis=(1, 2))
        order = np.argsort(distance)[:DRAWS]
        np.testing.assert_array_equal(found["nearest"][7], learned[order, 1 - column])
        drawn = np.load(run.samples("sum"))[:, 1 - column]
        assert all((view == drawn).all(axis=(1, 2)).any() for view in found["unconditional"][0])
        assert len(np.unique(found["unconditional"][0], axis=0)) == DRAWS


def test_a_phantom_is_exposed_anew_and_who_is_none_has_no_view(run, directions):
    for asked in directions:
        names = asked.real["pair"].iloc[asked.rows].tolist()
        anew, place = asked.views["anew"], names.index(f"P{TRAINED + 1}")
        assert sorted(names[i] for i in np.flatnonzero(anew.any(axis=(1, 2, 3)))) == [f"P{TRAINED + i}" for i in
                                                                                         range(3)]
        expected = phantom_view(make_breast((3, 1, 1), exposure=2), asked.asked, load_reference_cdf(run.protocol),
                                run.protocol)
        np.testing.assert_array_equal(anew[place, 1], expected)


def test_what_was_drawn_is_loaded(run, directions, monkeypatch):
    monkeypatch.setattr("mammorgb_utils.diffusion.engine.sample_store.sample_pairs", None)
    monkeypatch.setattr(views, "phantom_view", None)
    known = pd.DataFrame({"pair": [f"P{TRAINED + i}" for i in range(3)], "seed_key": [f"3 1 {i}" for i in range(3)]})
    monkeypatch.setattr(views, "true_anatomy", lambda run: known)
    again = completion.asked_views(run, "MLO", "sum", N, DRAWS, progress=False)
    for name, found in again.views.items():
        np.testing.assert_array_equal(found, directions[1].views[name])


def test_views_are_measured_as_the_study_measures_its_pairs(run, directions, seen):
    """The true views, measured as if they stood for themselves."""
    for column, asked in enumerate(directions):
        itself = views.Asked(asked.given, asked.asked, asked.real, asked.rows, asked.true,
                             {"itself": asked.true[:, 1 - column][:, None]})
        found = completion.measured_views(itself, run.protocol)
        for measure in tables.MEASURES:
            np.testing.assert_allclose(found.sets["itself"].values(measure)[:, 0], found.true(measure), atol=1e-6)
        table = tables.retrieval_table([found], pd.read_csv(run.anatomy), run.protocol).set_index("set")
        assert table.loc["itself", "iou_median"] == 1.0 and table.loc["itself", "accuracy"] > 0.8
        scalars = tables.anatomy_table([found], {"area": "yes"}, run.protocol)
        assert len(scalars) == len(tables.MEASURES) and (scalars["r"] > 0.999).all() and (scalars["error"] < 1e-6).all()
        assert scalars.set_index("measure")["valid"].to_dict()["area"] == "yes"


def test_a_view_that_says_nothing_is_at_chance_and_none_without_a_mask_counts(run, directions, seen):
    table = tables.retrieval_table(seen, pd.read_csv(run.anatomy), run.protocol)
    assert (table["k"].dropna() == 8).all() and set(table["direction"]) == {"CC → MLO", "MLO → CC"}
    for _, rows in table.groupby("direction"):
        rows = rows.set_index("set")
        assert rows.loc["mean", "accuracy"] == pytest.approx(rows.loc["mean", "chance"], abs=0.02)
        assert rows.loc["mean", "accuracy"] < rows.loc["anatomy", "accuracy"]
        assert rows.loc["anew", ["n", "n_nan"]].tolist() == [3, N - 4]
        assert rows.loc["anatomy", "n"] == N - 1 and np.isnan(rows.loc["anatomy", "iou_median"])
    few = pd.read_csv(run.anatomy).query("set == 'real'")
    assert tables.retrieval_table(seen, few, run.protocol)["note"].str.contains("0 pairs to learn from").all()


def test_the_given_view_s_columns_change_places():
    frame = pd.DataFrame({"cc_area": [1], "mlo_area": [2], "pectoral": [True], PROFILES["cc"][0]: [3]})
    turned = tables.as_asked(frame, "MLO")
    assert turned.columns.tolist() == ["mlo_area", "cc_area", "pectoral", PROFILES["mlo"][0]]
    assert tables.as_asked(frame, "CC") is frame


def said(true, values, **fields):
    return tables._said(np.asarray(true, float), np.asarray(values, float), Protocol(n_bootstrap=200, **fields))


def test_ranks_and_coverage_by_hand():
    values = np.array([[1.0, 2, 3, 4]] * 3)
    assert tables.ranks(np.array([0.5, 2.5, 9.0]), values, 0).tolist() == [0, 2, 4]
    drawn = [tables.ranks(np.full(200, 2.0), np.array([[1.0, 2, 2, 4]] * 200), seed) for seed in (0, 1)]
    assert set(drawn[0]) == {1, 2, 3} and (drawn[0] != drawn[1]).any(), "ties are broken at random"
    row = said([0.5, 2.5, 2.6, 3.5], np.array([[1.0, 2, 3, 4]] * 4))
    assert row["nominal"] == pytest.approx(3 / 5) and row["coverage"] == 0.75
    assert np.isnan(row["r"]), "all breasts are drawn alike"
    assert "coverage" not in said([1, 2, 3], [[1], [2], [3]]) and "spread" not in said([1, 2, 3], [[1], [2], [3]])


def test_honest_draws_cover_as_they_should_and_sure_ones_too_seldom():
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(400, 1))
    draws = centre + rng.normal(size=(400, 11))
    honest, sure = said(draws[:, 0], draws[:, 1:]), said(draws[:, 0], centre + 0.3 * rng.normal(size=(400, 10)))
    assert honest["coverage_low"] < honest["nominal"] < honest["coverage_high"] and honest["p_flat"] > 0.05
    assert sure["coverage_high"] < sure["nominal"] and sure["p_flat"] < 0.001
    assert honest["determined"] == pytest.approx(0.5, abs=0.08) and sure["determined"] > 0.85
    assert honest["spread"] == pytest.approx(1 / 2**0.5, abs=0.08)
    assert honest["r_low"] < honest["r"] < honest["r_high"] and honest["r"] == pytest.approx(
        np.corrcoef(draws[:, 0], draws[:, 1:].mean(axis=1))[0, 1])
    alone = said(rng.normal(size=400), rng.normal(size=(400, 10)))
    assert alone["determined"] < 0.05 and alone["r_low"] < 0 < alone["r_high"]


def row(name, accuracy, half, direction="CC → MLO"):
    return {"direction": direction, "set": name, "chance": 0.125, "accuracy": accuracy, "low": accuracy - half,
            "high": accuracy + half}


SCALARS = pd.DataFrame({"direction": ["CC → MLO"], "measure": ["nipple_line"], "set": ["completed"], "r": [0.7],
                        "coverage": [0.5], "coverage_high": [0.6], "nominal": [0.82]})


@pytest.mark.parametrize(("completed", "half", "ceiling", "expected"), [
    (0.4, 0.1, 0.8, "answered"), (0.15, 0.1, 0.8, "answered"), (0.3, 0.2, 0.8, "underpowered"),
    (0.4, 0.1, 0.13, "not testable on this cohort")])
def test_a_direction_is_answered_where_it_is_shown_or_refuted(completed, half, ceiling, expected):
    table = pd.DataFrame([row("completed", completed, half), row("anatomy", 0.5, 0.05), row("anew", ceiling, 0.05)])
    observed, found, note = completion_answer(table, SCALARS)
    assert found == expected
    if expected == "answered":
        assert f"own view picked in {completed:.2f} [" in observed
        assert "ceiling 0.80), r of nipple line 0.70" in observed
        assert "too seldom for nipple line (CC → MLO) 0.50 of 0.82" in note
        note = completion_answer(table, SCALARS, learning="still learning").note
        assert note.endswith("of 0.82; the model: still learning")
    if expected.startswith("not"):
        assert observed == "" and note.startswith("CC → MLO: no ceiling above chance")


def test_patients_are_judged_by_measured_anatomy_and_one_direction_may_be_open():
    there = [row("completed", 0.4, 0.1), row("anatomy", 0.6, 0.05), row("anew", np.nan, np.nan)]
    back = [row("completed", 0.3, 0.2, "MLO → CC"), row("anatomy", 0.6, 0.05, "MLO → CC")]
    loss = pd.Series({"top1_relative": 0.2, "top1_relative_low": 0.1, "top1_relative_high": 0.3})
    found = completion_answer(pd.DataFrame(there + back), SCALARS, loss)
    assert found.verdict == "underpowered" and found.observed.endswith("; by its own loss 0.20 [0.10, 0.30]")
    assert "ceiling 0.60" in found.observed
    assert completion_answer(pd.DataFrame(there), SCALARS).verdict == "answered"


def test_the_figures_show_what_they_say(run, directions, seen):
    shown = completion.figures.gallery(directions, first=36)
    images = [axes for half in shown.subfigs for axes in half.axes if axes.images]
    assert len(images) == 2 * (N - 1 - 36) * (2 + DRAWS)
    np.testing.assert_array_equal(images[1].images[0].get_array(), directions[0].true[36, 1])
    table = tables.retrieval_table(seen, pd.read_csv(run.anatomy), run.protocol)
    loss = pd.Series({"top1_relative": 0.2, "top1_relative_low": 0.1, "top1_relative_high": 0.3})
    drawn = completion.figures.retrieval(table, loss)
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert labels[:4] == ["Same phantom, exposed anew", "Measured anatomy of the given view",
                          "Model's own loss, without sampling", "Completed"] and len(labels) == 9
    assert {"CC → MLO", "MLO → CC", "Chance"} <= set(texts(drawn))
    assert len(completion.figures.retrieval(table).axes[0].get_yticklabels()) == 8
    ranks = completion.figures.rank_histograms(seen, run.protocol)
    assert len(ranks.axes) == 10
    heights = [bar.get_height() for bar in ranks.axes[0].containers[0]]
    assert sum(heights) == tables.anatomy_table(seen, {}, run.protocol).query(
        "set == 'completed' and measure == 'area'")["n"].iloc[0]
