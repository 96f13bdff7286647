import json
from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DModel
from tiny_models import SIZE, save_base

from benchmarks.paper_model import ARCHITECTURE
from mammorgb_utils.diffusion.engine import loop
from mammorgb_utils.diffusion.engine.base import (
    BaseModelError,
    Replayed,
    base_folder,
    base_sha256,
    device_name,
    load_base,
    pick_device,
    resolve_precision,
)
from mammorgb_utils.diffusion.engine.state import Recipe
from mammorgb_utils.diffusion.training import train


@pytest.mark.parametrize("nested", [True, False])
def test_loads_both_layouts_in_fp32(tmp_path, nested):
    folder = save_base(tmp_path / "base", nested=nested, prediction="epsilon")
    unet, scheduler = load_base(str(folder), SIZE)
    assert {p.dtype for p in unet.parameters()} == {torch.float32}
    assert scheduler.config.prediction_type == "epsilon"


@pytest.mark.parametrize(("config", "size", "message"), [
    ({"in_channels": 1, "out_channels": 1}, SIZE, "1 input and 1 output channels"),
    ({}, 32, "trained at 16 px, the protocol asks for image_size 32"),
    ({"sample_size": 15}, 15, "must be a multiple of 2"),
    ({"dropout": 0.1}, SIZE, "uses dropout 0.1"),
])
def test_unsuitable_base_is_refused(tmp_path, config, size, message):
    folder = save_base(tmp_path / "base", **config)
    with pytest.raises(BaseModelError, match=message):
        load_base(str(folder), size)


def test_pickled_weights_are_never_loaded(tmp_path):
    folder = save_base(tmp_path / "base")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BaseModelError, match="pickled weights aren't loaded; convert"):
        load_base(str(folder), SIZE)


def test_absent_folder_and_absent_hub_id_say_how_to_get_it(tmp_path, monkeypatch):
    with pytest.raises(BaseModelError, match="no model_index.json in .*pass base_model=FOLDER"):
        base_folder(str(tmp_path / "nothing"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseModelError, match="hf download google/ddpm-celebahq-256` .*pass base_model"):
        load_base("google/ddpm-celebahq-256", 256)


def test_the_published_name_must_have_the_published_parameters(tmp_path, monkeypatch):
    folder = save_base(tmp_path / "base", nested=False)
    monkeypatch.setattr("mammorgb_utils.diffusion.engine.base.base_folder", lambda base: folder)
    with pytest.raises(BaseModelError, match="the published model has 113,673,219"):
        load_base("google/ddpm-celebahq-256", SIZE)


def test_the_published_architecture_has_the_published_parameters(tmp_path):
    with torch.device("meta"):
        unet = UNet2DModel(**ARCHITECTURE)
    assert sum(p.numel() for p in unet.parameters()) == 113_673_219


def test_hash_covers_weights_and_noise_schedule(tmp_path):
    folder = save_base(tmp_path / "base")
    before = base_sha256(str(folder))
    assert before == base_sha256(str(folder))
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": "epsilon"}))
    assert base_sha256(str(folder)) != before


def test_precision_is_decided_by_capability(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    assert resolve_precision("auto", cpu) == "fp32"
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    assert resolve_precision("auto", cpu) == "bf16"
    assert resolve_precision("fp32", cpu) == "fp32"


def test_device_is_named():
    assert device_name(pick_device())


def test_only_a_small_model_alone_on_a_gpu_in_one_pass_is_replayed(tmp_path):
    unet, _ = load_base(str(save_base(tmp_path / "base")), SIZE)
    recipe = Recipe(steps=1, batch_size=4, seed=0, learning_rate=1e-3, precision="fp32")

    def kind(device, passes=1, size=1):
        processes = SimpleNamespace(device=torch.device(device), size=size, joined=lambda model: model)
        return type(loop.trained_as(unet, recipe, passes, processes))

    assert kind("cuda") is Replayed
    assert {kind("cpu"), kind("cuda", passes=2), kind("cuda", size=2)} == {UNet2DModel}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_replayed_on_a_gpu_a_small_model_learns_the_same_bits(pairs, tiny, tmp_path, monkeypatch, precision):
    asked, losses = tiny.changed(precision=precision), {}
    for how, small in (("replayed", True), ("plain", False)):
        monkeypatch.setattr(loop, "is_small", lambda unet, small=small: small)
        monkeypatch.setattr(loop, "compiled", lambda unet, precision: unet)
        train(pairs, asked, "sum", tmp_path / how, progress=False)
        losses[how] = [json.loads(line)["loss"] for line in (tmp_path / how / "stats.jsonl").read_text().splitlines()]
    assert losses["replayed"] == losses["plain"]
