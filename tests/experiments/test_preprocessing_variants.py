"""One choice each, views as a study with that choice would have them, and one model trained on them and drawn from."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import SIZE, save_base

from mammorgb_utils import runs
from mammorgb_utils.data.batch import reference, resumable
from mammorgb_utils.data.cohort import CohortError
from mammorgb_utils.data.dicom import RejectedImage
from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.data.pairs import load_pairs, preprocess_cohort, real_pairs
from mammorgb_utils.data.preprocess import load_reference_cdf, preprocess_view, read_view
from mammorgb_utils.experiments import trial as trials
from mammorgb_utils.experiments.preprocessing import variants as preprocessing_variants
from mammorgb_utils.experiments.preprocessing.effects import VariantSets
from mammorgb_utils.experiments.preprocessing.variants import (
    FILM_GAMMA,
    STUDY,
    Variant,
    draw_variant,
    example_views,
    make_references,
    preprocess_variants,
    variant_run,
    variants_of,
)
from mammorgb_utils.experiments.trial import TrialError
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, write_csv

MIRROR_OFF = Variant("mirror-off", "mirror", "off")


def one_by_one(function, items, **limits):
    for item in items:
        try:
            yield item, function(item)
        except RejectedImage as error:
            yield item, error


@pytest.fixture(scope="module")
def study(cohort, tmp_path_factory) -> Run:
    """A study of tiny views, whose references and views of all variants are made."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("root")
    small = {"base_model": str(save_base(root / "base")), "image_size": SIZE, "batch_size": 2, "n_synthetic": 4,
             "epochs": 1.0, "sampling_batch": 2, "sampling_steps": 2, "precision": "fp32", "checkpoint_every": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "PROJECT_ROOT", root)
        patch.setattr(resumable, "map_isolated", one_by_one)
        patch.setattr(reference, "map_isolated", one_by_one)
        run = Run.open("r", "smoke", manifest=str(cohort[0] / "manifest.csv"), **small)
        preprocess_cohort(run, progress=False)
        make_references(run, progress=False)
        preprocess_variants(run, variants_of(run.protocol), progress=False)
    return run


@pytest.fixture(scope="module")
def made(study) -> dict[str, Run]:
    return {variant.name: variant_run(study, variant) for variant in variants_of(study.protocol)}


def test_variants_change_one_choice_each():
    names = [variant.name for variant in variants_of(Protocol())]
    assert names == ["study", "mirror-off", "match-none", "match-image", "reference-dark", "reference-bright",
                     "reference-gamma"]
    unmatched = [variant.name for variant in variants_of(Protocol(match_scope="none", mirror=False))]
    assert unmatched == ["study", "mirror-on", "match-image", "match-foreground"]
    assert "mirror-off" not in [variant.name for variant in variants_of(Protocol(aspect="pad"))]


def test_a_variant_is_the_study_with_one_field_changed(study, made):
    assert made[STUDY] is study
    for variant in variants_of(study.protocol)[1:]:
        run, own = made[variant.name], study.protocol.model_dump()
        assert {key for key, value in run.protocol.model_dump().items() if own[key] != value} == {variant.field}
        assert run.root == study.appendix("A3") / variant.name and run.manifest == study.manifest


def test_views_are_those_of_a_study_with_that_choice(study, made):
    index = load_pairs(study, "all")[1]
    pair = index["pair"][index["laterality"].eq("R").argmax()]
    images = load_manifest(study.manifest)
    path = images[(images["pair"] == pair) & (images["view"] == "MLO")]["path"].iloc[0]
    mammogram = read_view(study.manifest.parent / path, study.protocol)
    views = {name: load_pairs(run, "all")[0][index["pair"] == pair][0, 1] for name, run in made.items()}
    for name, run in made.items():
        expected = preprocess_view(mammogram, load_reference_cdf(run.protocol), run.protocol)
        np.testing.assert_array_equal(views[name], expected)
    assert len({view.tobytes() for view in views.values()}) == len(views), "every choice shows"
    np.testing.assert_allclose(views["mirror-off"][:, ::-1], views["study"], atol=1e-6)
    breast = views["study"] > 0.2
    assert views["reference-dark"][breast].mean() < views["reference-bright"][breast].mean()


def test_the_example_is_a_right_breast_under_every_variant(study, made):
    views = example_views(made)
    pairs, index = real_pairs(study)
    assert list(views) == list(made) and (pairs[index["laterality"].eq("R").argmax()] == views["study"]).all()


def test_references_are_averages_of_training_views(study, monkeypatch):
    monkeypatch.setattr(reference, "map_isolated", None)  # would raise when called
    table = make_references(study, progress=False).set_index("choice")
    n_train = 2 * len(load_pairs(study, "train")[1])
    assert table["n_images"].to_dict() == {"dark": n_train // 3, "bright": n_train // 3, "gamma": n_train}
    assert table.loc["dark", "median"] < table.loc["bright", "median"]
    for file in study.appendix("A3").glob("reference-*.json"):
        assert ".dcm" not in file.read_text() and str(study.manifest.parent) not in file.read_text()


def test_the_film_like_reference_is_the_mean_to_a_power():
    curves = [(np.linspace(0, top, 257), np.linspace(0, top / 2, 257)) for top in (0.9, 0.3, 0.6)]
    found = preprocessing_variants.references_of(curves)
    np.testing.assert_allclose(found["gamma"].foreground, np.linspace(0, 0.6, 257) ** FILM_GAMMA, atol=1e-6)
    assert found["dark"].foreground[-1] == pytest.approx(0.3) and found["bright"].image[-1] == pytest.approx(0.45)


def test_too_few_images_for_thirds_are_refused(study, tmp_path, monkeypatch):
    elsewhere = Run(tmp_path, study.protocol, study.manifest)
    write_csv(elsewhere.images, pd.read_csv(study.images))
    monkeypatch.setattr(reference, "map_isolated",
                        lambda work, items: ((item, RejectedImage(item, "unreadable", "gone")) for item in items))
    with pytest.raises(CohortError, match="0 of .* training images can be read"):
        make_references(elsewhere, progress=False)
    assert not list(tmp_path.glob("appendices/A3/*.json"))


def test_finished_views_are_loaded_and_other_pairs_refused(study, made, monkeypatch):
    monkeypatch.setattr(resumable, "map_isolated", None)
    variants = variants_of(study.protocol)
    before = made["match-image"].pairs.stat().st_mtime_ns
    preprocess_variants(study, variants, progress=False)
    assert made["match-image"].pairs.stat().st_mtime_ns == before
    monkeypatch.setattr(preprocessing_variants, "preprocess_cohort",
                        lambda run, progress: load_pairs(run, "all")[1].iloc[1:])
    with pytest.raises(CohortError, match=r"variant mirror-off: its pairs aren't those of pairs/index\.csv"):
        preprocess_variants(study, variants, progress=False)


def test_a_variant_is_drawn_once_and_its_models_go(study, made, monkeypatch):
    run = made["mirror-off"]
    real = VariantSets.of(*real_pairs(run), run.protocol).overlap
    drawn = np.array(draw_variant(study, MIRROR_OFF, real, study.protocol, "sum", progress=False))
    assert drawn.shape == (4, 2, SIZE, SIZE) and 0 <= drawn.min() and drawn.max() <= 1
    folder = run.root / "trial-sum"
    assert not (folder / "model").exists() and not (folder / "training" / "checkpoints").exists()
    assert len(json.loads((folder / "trial.json").read_text())["rows"]) == 1
    monkeypatch.setattr(trials, "train", None)
    again = draw_variant(study, MIRROR_OFF, real, study.protocol, "sum", progress=False)
    np.testing.assert_array_equal(again, drawn)
    with pytest.raises(TrialError, match="trial-sum was begun as another trial .*epochs"):
        draw_variant(study, MIRROR_OFF, real, study.protocol.changed(epochs=2.0), "sum", progress=False)
    (folder / "samples" / "model" / "pairs.npy").unlink()
    with pytest.raises(TrialError, match="variant mirror-off: its samples are gone; remove trial-sum"):
        draw_variant(study, MIRROR_OFF, real, study.protocol, "sum", progress=False)


def test_a_diverged_training_draws_nothing(study, made, monkeypatch):
    row = pd.DataFrame({"n": [0]})
    monkeypatch.setattr(preprocessing_variants, "run_trial", lambda *arguments, **options: row)
    drawn = draw_variant(study, Variant("match-none", "match_scope", "none"), None, study.protocol, "sum")
    assert drawn.shape == (0, 2, SIZE, SIZE)
