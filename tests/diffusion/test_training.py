import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline
from tiny_models import SIZE, blob_pairs, equal, save_base, weights

from benchmarks.paper_model import ARCHITECTURE
from mammorgb_utils.diffusion.encoding import EncodingError
from mammorgb_utils.diffusion.engine.base import load_base, pick_device
from mammorgb_utils.diffusion.engine.checkpoints import CheckpointError, load_checkpoint
from mammorgb_utils.diffusion.engine.loop import CHECKPOINTS, fit
from mammorgb_utils.diffusion.engine.model_folder import milestone_dir
from mammorgb_utils.diffusion.engine.state import Diverged, Recipe, State, TrainingError
from mammorgb_utils.diffusion.learning import denoising_loss, training_step
from mammorgb_utils.diffusion.training import PairSource, train, training_steps


def stats(run_dir):
    return [json.loads(line) for line in (run_dir / "stats.jsonl").read_text().splitlines()]


def changed(protocol, **fields):
    return protocol.model_copy(update=fields)


def test_finished_model_is_a_plain_pipeline_with_its_record(trained, tiny):
    pipeline = DDPMPipeline.from_pretrained(trained)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline(num_inference_steps=2, output_type="np").images.shape == (1, SIZE, SIZE, 3)
    record = json.loads((trained / "mammorgb.json").read_text())
    expected = {"encoding": "sum", "sum_scale": 0.5, "image_size": SIZE, "base_model": tiny.base_model, "steps": 6,
                "seed": tiny.seed, "precision": "fp32", "n_pairs": 12}
    assert record.items() >= expected.items() and record["base_sha256"] and record["digest"] and record["device"]


def test_stats_have_one_line_a_step(trained):
    lines = stats(trained.parent / "training")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["epoch"] for line in lines][2::3] == [1.0, 2.0]
    assert {"loss", "lr", "grad_norm", "images_per_second", "seconds"} < lines[0].keys()


def test_finished_model_is_returned_at_once_and_another_one_refused(trained, pairs, tiny, monkeypatch):
    monkeypatch.setattr("mammorgb_utils.diffusion.training.fit", None)  # would raise when called
    run_dir = trained.parent / "training"
    sampling = changed(tiny, n_synthetic=999, sampler="ddim", checkpoint_every=5)  # decides nothing about the model
    assert train(pairs, sampling, "sum", run_dir, model_dir=trained) == trained
    with pytest.raises(TrainingError, match=r"another model \(learning_rate: 0.001 recorded, 0.5 asked for\)"):
        train(pairs, changed(tiny, learning_rate=0.5), "sum", run_dir, model_dir=trained)


def test_same_seed_same_weights_and_memory_map_and_other_seed_differ(tmp_path, trained, pairs, tiny):
    np.save(tmp_path / "pairs.npy", pairs)
    again = train(np.load(tmp_path / "pairs.npy", mmap_mode="r"), tiny, "sum", tmp_path / "a", progress=False)
    other = train(pairs, changed(tiny, seed=1), "sum", tmp_path / "b", progress=False)
    assert again == tmp_path / "a" / "model"
    assert equal(weights(again), weights(trained))
    assert not equal(weights(other), weights(trained))


class Interrupted(PairSource):
    """Raises once, before the images of a step."""

    at = None

    def images(self, step, examples):
        if step == Interrupted.at:
            Interrupted.at = None
            raise KeyboardInterrupt
        return super().images(step, examples)


@pytest.fixture(scope="session")
def trained_by_muon(tmp_path_factory, pairs, tiny):
    root = tmp_path_factory.mktemp("muon")
    return train(pairs, changed(tiny, optimizer="muon"), "sum", root / "training", model_dir=root / "model",
                 progress=False)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("step", [0, 1, 3, 4])
def test_interrupted_and_resumed_is_the_unbroken_run(tmp_path, request, pairs, tiny, monkeypatch, step, optimizer):
    unbroken = request.getfixturevalue("trained" if optimizer == "adamw" else "trained_by_muon")
    protocol = changed(tiny, optimizer=optimizer)
    monkeypatch.setattr("mammorgb_utils.diffusion.training.PairSource", Interrupted)
    Interrupted.at = step
    with pytest.raises(KeyboardInterrupt):
        train(pairs, protocol, "sum", tmp_path, progress=False)
    model = train(pairs, protocol, "sum", tmp_path, progress=False)
    assert equal(weights(model), weights(unbroken))
    assert [line["step"] for line in stats(tmp_path)] == [1, 2, 3, 4, 5, 6]
    losses = [[line["loss"] for line in stats(folder)] for folder in (tmp_path, unbroken.parent / "training")]
    assert losses[0] == losses[1]


_KILLED = """
import sys
import numpy as np
from pathlib import Path
from mammorgb_utils.diffusion.training import train
from mammorgb_utils.protocol import Protocol
root = Path(sys.argv[1])
protocol = Protocol.model_validate_json((root / "protocol.json").read_text())
train(np.load(root / "pairs.npy", mmap_mode="r"), protocol, "sum", root / "training", progress=False)
"""


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_sigkill_at_random_moments_and_resume_is_bit_identical(tmp_path, pairs, tiny, optimizer):
    # 60 steps, most of the time inside checkpoint writes
    protocol = changed(tiny, optimizer=optimizer, epochs=20.0, checkpoint_every=1)
    unbroken = train(pairs, protocol, "sum", tmp_path / "unbroken", progress=False)
    np.save(tmp_path / "pairs.npy", pairs)
    (tmp_path / "protocol.json").write_text(protocol.model_dump_json())
    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    rng, log = np.random.default_rng(0), tmp_path / "training" / "stats.jsonl"
    for target in (10, 30):
        process = subprocess.Popen(command, env=environment)
        while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= target):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the training ended before it could be killed"
    subprocess.run(command, env=environment, check=True)
    assert equal(weights(tmp_path / "training" / "model"), weights(unbroken))
    assert [line["step"] for line in stats(tmp_path / "training")] == list(range(1, 61))


def interrupted_at(tmp_path, pairs, protocol, monkeypatch, step):
    with monkeypatch.context() as patch:
        patch.setattr("mammorgb_utils.diffusion.training.PairSource", Interrupted)
        Interrupted.at = step
        with pytest.raises(KeyboardInterrupt):
            train(pairs, protocol, "sum", tmp_path, progress=False)


def test_resuming_with_other_fields_or_data_is_refused_with_the_difference(tmp_path, pairs, tiny, monkeypatch):
    interrupted_at(tmp_path, pairs, tiny, monkeypatch, 3)
    with pytest.raises(CheckpointError, match=r"\(ema_decay: 0.9 recorded, 0.5 asked for; seed: 2511 recorded, 3"):
        train(pairs, changed(tiny, seed=3, ema_decay=0.5), "sum", tmp_path, progress=False)
    with pytest.raises(CheckpointError, match="data_sha256: "):
        train(pairs * np.float32(0.5), tiny, "sum", tmp_path, progress=False)
    train(pairs, changed(tiny, n_bootstrap=7, sampling_batch=1), "sum", tmp_path, progress=False)


def test_a_tampered_checkpoint_stops_the_run(tmp_path, pairs, tiny, monkeypatch):
    interrupted_at(tmp_path, pairs, tiny, monkeypatch, 3)
    (file,) = tmp_path.glob("checkpoints/step-*/optimizer.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(CheckpointError, match="optimizer.safetensors is missing or doesn't have its recorded SHA-256"):
        train(pairs, tiny, "sum", tmp_path, progress=False)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_a_base_in_the_published_layout_is_fine_tuned_with_its_prediction_type(tmp_path, tiny, prediction):
    small = ARCHITECTURE | {"sample_size": 32, "block_out_channels": (4, 4, 8, 8, 8, 8), "norm_num_groups": 4}
    base = save_base(tmp_path / "base", nested=False, prediction=prediction, **small)
    protocol = changed(tiny, base_model=str(base), image_size=32, ema_decay=0.0, sampling_weights="raw")
    model = train(blob_pairs(8, 32), protocol, "zero", tmp_path / "run", progress=False)
    assert DDPMPipeline.from_pretrained(model).scheduler.config.prediction_type == prediction
    assert not equal(weights(model), DDPMPipeline.from_pretrained(base).unet.state_dict())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_prediction_has_no_loss(tmp_path, pairs, prediction):
    """A stand-in UNet that knows the image inverts the hand-written forward process."""
    _, scheduler = load_base(str(save_base(tmp_path / "base", prediction=prediction)), SIZE)
    recipe = Recipe(steps=1, batch_size=4, seed=0, learning_rate=0.0, precision="fp32")
    source = PairSource(pairs, "sum", 0.5, recipe)
    clean = source.images(0, range(4))

    class Oracle:
        def __call__(self, noisy, t, labels):
            alpha = scheduler.alphas_cumprod.to(t.device)[t].sqrt().view(-1, 1, 1, 1)
            sigma = (1 - scheduler.alphas_cumprod.to(t.device)[t]).sqrt().view(-1, 1, 1, 1)
            noise = (noisy - alpha * clean) / sigma
            answer = {"epsilon": noise, "v_prediction": alpha * noise - sigma * clean, "sample": clean}[prediction]
            return type("Output", (), {"sample": answer})

    state = type("State", (), {"step": 0, "model": Oracle(), "noise": {}})
    assert float(denoising_loss(state, scheduler, source, recipe, range(4))) < 1e-5


def test_encodings_share_images_order_timesteps_and_noise_of_the_views(pairs):
    recipe = Recipe(steps=3, batch_size=4, seed=9, learning_rate=1e-3)
    batches = {e: PairSource(pairs, e, 0.5, recipe).images(2, range(4)).cpu() for e in ("sum", "absdiff", "zero")}
    assert torch.equal(batches["sum"][:, :2], batches["zero"][:, :2])
    assert torch.equal(batches["sum"][:, :2], batches["absdiff"][:, :2])
    assert torch.equal(batches["zero"][:, 2], torch.full((4, SIZE, SIZE), -1.0))


def test_a_split_batch_has_the_loss_of_the_whole(base, pairs):
    recipe = Recipe(steps=1, batch_size=4, seed=0, learning_rate=1e-3, precision="fp32")
    unet, scheduler = load_base(str(base), SIZE)
    state, source = State(unet, recipe, pick_device()), PairSource(pairs, "absdiff", 0.5, recipe)
    with torch.no_grad():
        whole, first, second = (float(denoising_loss(state, scheduler, source, recipe, part))
                                for part in (range(4), range(0, 1), range(1, 4)))
    assert math.isclose(whole, (first + 3 * second) / 4, rel_tol=1e-5)


class NotANumber(PairSource):
    def images(self, step, examples):
        return super().images(step, examples) * (float("nan") if step == 3 else 1.0)


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_checkpoint(tmp_path, pairs, tiny, monkeypatch):
    monkeypatch.setattr("mammorgb_utils.diffusion.training.PairSource", NotANumber)
    with pytest.raises(Diverged, match=r"loss is nan at step 4 \(lr 0.001\).*last checkpoint stands.*lower"):
        train(pairs, tiny, "sum", tmp_path, progress=False)
    record = json.loads(next((tmp_path / CHECKPOINTS).glob("step-*/checkpoint.json")).read_text())
    step, tensors = load_checkpoint(tmp_path / CHECKPOINTS, record["identity"])
    assert step == 2 and all(torch.isfinite(tensor).all() for tensor in tensors["weights"].values())
    assert [line["step"] for line in stats(tmp_path)] == [1, 2, 3]


def test_out_of_memory_says_what_to_lower(tmp_path, pairs, tiny, monkeypatch):
    def exhausted(self, step, examples):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PairSource, "images", exhausted)
    with pytest.raises(TrainingError, match=r"out of memory at step 1: raise accumulation \(now 1\), lower batch_size"):
        train(pairs, tiny, "sum", tmp_path, progress=False)


@pytest.mark.parametrize(("shape", "scale", "encoding", "error", "message"), [
    ((0, 2, SIZE, SIZE), 1, "sum", TrainingError, "0 training pairs don't fill one batch of 4"),
    ((3, 2, SIZE, SIZE), 1, "sum", TrainingError, "3 training pairs don't fill one batch of 4"),
    ((8, 3, SIZE, SIZE), 1, "sum", TrainingError, r"\(N, 2, 16, 16\) is needed"),
    ((8, 2, 32, 32), 1, "sum", TrainingError, r"\(N, 2, 16, 16\) is needed"),
    ((8, 2, SIZE, SIZE), 255, "sum", EncodingError, r"training pairs: values from 255 to 255.*\[0, 1\]"),
    ((8, 2, SIZE, SIZE), 1, "product", TrainingError, "use one of sum, absdiff, zero"),
])
def test_bad_requests_are_refused_before_any_work(tmp_path, tiny, shape, scale, encoding, error, message):
    with pytest.raises(error, match=message):
        train(np.full(shape, scale, np.float32), tiny, encoding, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_learning_rate_and_ema_schedules():
    recipe = Recipe(steps=100, batch_size=1, seed=0, learning_rate=2.0, warmup_steps=4, ema_decay=0.9)
    assert [recipe.lr(step) for step in (0, 1, 3, 50, 99)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    cosine = Recipe(steps=100, batch_size=1, seed=0, learning_rate=2.0, lr_schedule="cosine")
    assert cosine.lr(0) == 2.0 and math.isclose(cosine.lr(50), 1.0) and cosine.lr(99) < 0.001
    assert recipe.ema_decay_at(0) == 0.1 and recipe.ema_decay_at(1000) == 0.9


def test_ema_is_the_recursion_written_out(base, pairs):
    recipe = Recipe(steps=3, batch_size=4, seed=0, learning_rate=1e-2, ema_decay=0.9, precision="fp32")
    unet, scheduler = load_base(str(base), SIZE)
    state, source = State(unet, recipe, pick_device()), PairSource(pairs, "sum", 0.5, recipe)
    name = "conv_in.weight"
    average = state.weights[name].detach().clone()
    for step in range(3):
        training_step(state, scheduler, source, recipe)
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * state.weights[name].detach()
    torch.testing.assert_close(state.ema[name], average)
    assert not torch.allclose(average, state.weights[name])


def test_the_loop_learns(tmp_path, base):
    recipe = Recipe(steps=60, batch_size=16, seed=0, learning_rate=3e-3, lr_schedule="cosine", precision="fp32")
    unet, scheduler = load_base(str(base), SIZE)
    source = PairSource(blob_pairs(64), "sum", 0.5, recipe)
    fit(unet, scheduler, source, recipe, tmp_path, {}, checkpoint_every=60, progress=False)
    losses = [line["loss"] for line in stats(tmp_path)]
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])


def test_milestones_are_models_of_their_step_and_change_nothing(tmp_path, trained, pairs, tiny, monkeypatch):
    """Also when the run is killed after a milestone and before the next checkpoint."""
    arguments = {"milestones": (3, 4), "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr("mammorgb_utils.diffusion.training.PairSource", Interrupted)
        Interrupted.at = 3
        with pytest.raises(KeyboardInterrupt):
            train(pairs, tiny, "sum", tmp_path / "run", **arguments)
    assert not (tmp_path / "run" / "model").exists()
    model = train(pairs, tiny, "sum", tmp_path / "run", **arguments)
    assert equal(weights(model), weights(trained))
    shorter = changed(tiny, epochs=4 / 3)  # constant rate: its last step is the fourth of the longer run
    assert training_steps(shorter, len(pairs)) == 4
    fourth = train(pairs, shorter, "sum", tmp_path / "four", progress=False)
    assert equal(weights(milestone_dir(tmp_path / "run", 4)), weights(fourth))
    assert not equal(weights(milestone_dir(tmp_path / "run", 3)), weights(fourth))
    assert DDPMPipeline.from_pretrained(milestone_dir(tmp_path / "run", 3)).unet.config.sample_size == SIZE
