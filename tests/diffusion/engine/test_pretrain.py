import json

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline
from tiny_models import SIZE, blob_pairs, equal, weights

from mammorgb_utils.diffusion.encoding import EncodingError
from mammorgb_utils.diffusion.engine import pretrain as base_model
from mammorgb_utils.diffusion.engine.base import load_base
from mammorgb_utils.diffusion.engine.pretrain import ViewSource, noise_schedule, pretrain_base, small_unet
from mammorgb_utils.diffusion.engine.state import Recipe, TrainingError
from mammorgb_utils.diffusion.training import train

VIEWS = blob_pairs(10).reshape(20, SIZE, SIZE)
ASKED = {"steps": 4, "seed": 1, "batch_size": 4, "checkpoint_every": 2, "channels": (8, 16), "progress": False,
         "fingerprint": {"views_sha256": "abc"}}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    root = tmp_path_factory.mktemp("pretraining")
    return pretrain_base(VIEWS, root / "base", work_dir=root / "work", **ASKED)


def test_base_is_a_half_precision_pipeline_with_card_and_fingerprint(pretrained):
    assert {tensor.dtype for tensor in weights(pretrained).values()} == {torch.float16}
    assert DDPMPipeline.from_pretrained(pretrained).scheduler.config.prediction_type == "v_prediction"
    assert json.loads((pretrained / "fingerprint.json").read_text()) == {"views_sha256": "abc"}
    card = (pretrained / "README.md").read_text()
    for fact in ("license: apache-2.0", "no patient data", "v-prediction", "4 steps of 4 images", "## Limits",
                 "20 preprocessed"):
        assert fact in card


def test_the_paper_size_of_the_small_base():
    unet = small_unet(64, base_model.CHANNELS, seed=0)
    assert 3_000_000 < sum(p.numel() for p in unet.parameters()) < 5_000_000  # at most 10 MB in half precision
    again = small_unet(64, base_model.CHANNELS, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), again.parameters(), strict=True))


def test_schedule_ends_in_pure_noise():
    assert float(noise_schedule().alphas_cumprod[-1]) == 0.0


def test_it_is_fine_tuned_in_fp32(tmp_path, pretrained, pairs, tiny):
    unet, _ = load_base(str(pretrained), SIZE)
    assert {p.dtype for p in unet.parameters()} == {torch.float32}
    model = train(pairs, tiny.model_copy(update={"base_model": str(pretrained)}), "absdiff", tmp_path, progress=False)
    assert {tensor.dtype for tensor in weights(model).values()} == {torch.float32}


def test_killed_and_resumed_is_the_unbroken_run(tmp_path, pretrained, monkeypatch):
    class Interrupted(ViewSource):
        def images(self, step, examples):
            if step == 3:
                raise KeyboardInterrupt
            return super().images(step, examples)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(base_model, "ViewSource", Interrupted)
        pretrain_base(VIEWS, tmp_path / "base", work_dir=tmp_path / "work", **ASKED)
    again = pretrain_base(VIEWS, tmp_path / "base", work_dir=tmp_path / "work", **ASKED)
    assert equal(weights(again), weights(pretrained))


def test_a_pretraining_goes_on_at_the_precision_of_another_machine_and_the_card_says_where(tmp_path, monkeypatch):
    class Interrupted(ViewSource):
        def images(self, step, examples):
            if step == 3:
                raise KeyboardInterrupt
            return super().images(step, examples)

    asked = ASKED | {"precision": "auto"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(base_model, "ViewSource", Interrupted)
        for room in ("learning", "engine.loop"):
            patch.setattr(f"mammorgb_utils.diffusion.{room}.resolve_precision", lambda precision, device: "bf16")
        pretrain_base(VIEWS, tmp_path / "base", work_dir=tmp_path / "work", **asked)
    for room in ("learning", "engine.loop"):
        monkeypatch.setattr(f"mammorgb_utils.diffusion.{room}.resolve_precision", lambda precision, device: "fp32")
    base = pretrain_base(VIEWS, tmp_path / "base", work_dir=tmp_path / "work", **asked)
    record = json.loads((base / "mammorgb.json").read_text())
    assert record["precision"] == "bf16 to step 2, fp32 to step 4"
    assert record["precision"] in (base / "README.md").read_text()


def test_existing_base_is_kept_and_another_refused(tmp_path, pretrained, monkeypatch):
    monkeypatch.setattr(base_model, "fit", None)
    assert pretrain_base(VIEWS, pretrained, work_dir=tmp_path, **ASKED) == pretrained
    with pytest.raises(TrainingError, match="steps: 4 recorded, 5 asked for"):
        pretrain_base(VIEWS, pretrained, work_dir=tmp_path, **ASKED | {"steps": 5})


def test_what_identifies_a_pretraining_is_the_same_in_every_process(tmp_path):
    """diffusers lists the defaults that it used in the order of a set, which each process hashes anew."""
    pretrain_base(VIEWS, tmp_path / "base", work_dir=tmp_path / "work", **ASKED)
    identity = json.loads((next((tmp_path / "work" / "checkpoints").iterdir()) / "checkpoint.json").read_text())
    for part in ("unet", "scheduler"):
        assert identity["identity"][part]
        assert not [name for name in identity["identity"][part] if name.startswith("_")]


def test_channels_are_drawn_independently():
    recipe = Recipe(steps=50, batch_size=4, seed=0, learning_rate=1e-3)
    numbered = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None, None] / 20, (20, 8, 8))
    source = ViewSource(numbered, recipe)
    drawn = np.concatenate([(source.images(s, range(4))[:, :, 0, 0].cpu().numpy() + 1) * 10 for s in range(50)]).round()
    assert all(np.array_equal(np.bincount(drawn[:, channel].astype(int)), np.full(20, 10)) for channel in range(3))
    correlations = np.corrcoef(drawn.T)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.25


@pytest.mark.parametrize(("views", "error", "message"), [
    (np.zeros((2, 8, 8), np.float32), TrainingError, "at least 3 views"),
    (np.zeros((5, 2, 8, 8), np.float32), TrainingError, r"\(M, H, H\)"),
    (np.full((5, 8, 8), 7, np.float32), EncodingError, "views: values from 7 to 7"),
])
def test_bad_views_are_refused(tmp_path, views, error, message):
    with pytest.raises(error, match=message):
        pretrain_base(views, tmp_path / "base", work_dir=tmp_path, **ASKED)
