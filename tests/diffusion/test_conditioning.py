"""Labels of density: a base computes what it did, guidance 0 is the unconditional walk, a labelled training resumes."""

import json
import re

import numpy as np
import pytest
import torch
from tiny_models import SIZE, blob_pairs, equal, weights

from mammorgb_utils.diffusion.conditioning import GRADES, NULL, add_labels, labels_of, predict, training_labels
from mammorgb_utils.diffusion.engine.base import load_base
from mammorgb_utils.diffusion.engine.sample_store import sample_study
from mammorgb_utils.diffusion.engine.state import TrainingError
from mammorgb_utils.diffusion.sampling import SamplingError, make_sampler, open_for_sampling, sample_pairs, walk
from mammorgb_utils.diffusion.training import PairSource, train

PAIRS = blob_pairs(80)
AREAS = (PAIRS[:, 1] > 0).sum(axis=(1, 2))
DENSITY = np.where(AREAS > np.median(AREAS), "A", "D")


@pytest.fixture(scope="module")
def asked(tiny):
    return tiny.model_copy(update={"condition": "density", "epochs": 0.5})


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, asked):
    root = tmp_path_factory.mktemp("labelled")
    return train(PAIRS, asked, "sum", root / "training", model_dir=root / "model", grades=DENSITY, progress=False)


def test_labels_change_nothing_before_training(base):
    unet, _ = load_base(str(base), SIZE)
    more, x = add_labels(unet), torch.randn(3, 3, SIZE, SIZE)
    for labels in (torch.tensor([0, 1, NULL]), torch.tensor([3, 2, 0])):
        assert torch.equal(more(x, 500, labels).sample, unet(x, 500).sample)


def test_a_share_of_labels_is_left_out_and_the_draw_is_the_examples():
    labels = labels_of(["A", "B", "C", "D", "", "E"])
    assert labels.tolist() == [0, 1, 2, 3, NULL, NULL]
    members = np.arange(4).repeat(100)
    whole = training_labels(labels, 1, 5, members, range(400))
    assert torch.equal(whole[100:], training_labels(labels, 1, 5, members[100:], range(100, 400)))
    assert 0.1 < float((whole == NULL).float().mean()) < 0.2


@pytest.mark.parametrize("sampler", ["ddpm", "sde-dpmsolver++"])
def test_guidance_zero_is_the_unconditional_walk_bit_by_bit(labelled, sampler):
    unet, trained = open_for_sampling(labelled)
    ends = [list(walk(unet, make_sampler(trained, sampler, 4), 3, range(2), False, grade, guidance))[-1][1]
            for grade, guidance in (("", 1.0), ("A", 0.0), ("A", 1.0), ("A", 4.0))]
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2]) and not torch.equal(ends[2], ends[3])


def test_guidance_is_a_line_through_both_predictions(labelled):
    unet, _ = open_for_sampling(labelled)
    x, t, labels = torch.randn(2, 3, SIZE, SIZE), torch.tensor(300), torch.tensor([0, 3])
    with torch.inference_mode():
        none, one, two = (predict(unet, x, t, labels, w) for w in (0.0, 1.0, 2.0))
    torch.testing.assert_close(two - one, one - none, rtol=1e-3, atol=1e-5)


def test_a_labelled_training_resumes_to_the_same_bits(tmp_path, labelled, asked, monkeypatch):
    class Interrupted(PairSource):
        def images(self, step, examples):
            if step == 7:
                raise KeyboardInterrupt
            return super().images(step, examples)

    monkeypatch.setattr("mammorgb_utils.diffusion.training.PairSource", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(PAIRS, asked, "sum", tmp_path, grades=DENSITY, progress=False)
    monkeypatch.undo()
    model = train(PAIRS, asked, "sum", tmp_path, grades=DENSITY, progress=False)
    assert equal(weights(model), weights(labelled)) and float(weights(model)["class_embedding.weight"].abs().max()) > 0
    assert json.loads((model / "mammorgb.json").read_text())["identity"]["condition"] == "density"
    with pytest.raises(TrainingError, match="labels_sha256"):
        train(PAIRS, asked, "sum", tmp_path, grades=DENSITY[::-1], progress=False)


@pytest.mark.parametrize(("grades", "message"), [
    (None, "no grade in 80 training pairs"), ([""] * 80, "no grade"), (["A"] * 79, "79 grades"),
    (["A"] * 70 + ["B"] * 10, "B: 10 in 80.*at least 20 pairs a grade")])
def test_too_few_grades_are_refused(tmp_path, asked, grades, message):
    with pytest.raises(TrainingError, match=message):
        train(PAIRS, asked, "sum", tmp_path, grades=grades, progress=False)
    assert not (tmp_path / "stats.jsonl").exists()


def test_grades_are_asked_of_a_model_that_has_them(labelled, trained, asked):
    drawn = [sample_pairs(labelled, 3, asked, 0, grade=grade, guidance=2.0, progress=False) for grade in GRADES[:2]]
    assert np.abs(drawn[0] - drawn[1]).max() > 0
    with pytest.raises(SamplingError, match="without a given view"):
        sample_pairs(labelled, 1, asked, 0, grade="A", given=PAIRS[:1, 0], progress=False)
    for model, grade in ((trained, "A"), (labelled, "F")):
        with pytest.raises(SamplingError, match="use one of A, B, C, D, with a model"):
            sample_pairs(model, 1, asked, 0, grade=grade, progress=False)


def test_a_store_of_one_grade_is_that_grade_s_and_no_other(labelled, asked, tmp_path, monkeypatch):
    out, fields = tmp_path / "pairs.npy", asked.model_copy(update={"n_synthetic": 5})
    drawn = np.array(sample_study(labelled, fields, out, grade="D", guidance=2.0, progress=False))
    whole = sample_pairs(labelled, 5, fields, fields.seed, grade="D", guidance=2.0, progress=False)
    np.testing.assert_allclose(drawn, whole, atol=1e-5)
    again = np.array(sample_study(labelled, fields, out, grade="A", guidance=2.0, progress=False))
    assert np.abs(again - drawn).max() > 0, "drawn anew"
    monkeypatch.setattr("mammorgb_utils.diffusion.engine.sample_store.sample_pairs", None)
    assert np.array_equal(sample_study(labelled, fields, out, grade="A", guidance=2.0, progress=False), again)


def test_the_card_of_a_labelled_model_says_how_to_draw_from_it(labelled, trained, monkeypatch):
    code = re.search("```python\n(.+?)```", (labelled / "README.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(labelled)
    drawn = {}
    exec(code, drawn)
    assert drawn["cc"].shape == drawn["mlo"].shape == (SIZE, SIZE) and drawn["none"].item() == NULL
    assert GRADES[drawn["label"].item()] == "C" and 0 <= drawn["cc"].min() <= drawn["cc"].max() <= 1
    assert not (trained / "README.md").exists()
