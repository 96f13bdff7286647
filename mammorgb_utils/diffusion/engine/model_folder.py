"""A trained model's folder: a plain diffusers pipeline with a record of all that decided it."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from diffusers.utils.logging import disable_progress_bar

from mammorgb_utils.diffusion.conditioning import CARD
from mammorgb_utils.diffusion.engine.base import device_name, pick_device, resolve_precision
from mammorgb_utils.diffusion.engine.checkpoints import atomic_folder
from mammorgb_utils.diffusion.engine.state import State, TrainingError
from mammorgb_utils.runs import differences, digest

RECORD = "mammorgb.json"


def write_pipeline(folder: Path, state: State, scheduler: DDPMScheduler, weights: str = "raw", *,
                   half: bool = False) -> None:
    """Fill a folder that `DDPMPipeline.from_pretrained` reads; the state can go on training.

    Args:
        folder: An existing, empty folder.
        state, scheduler: What was trained.
        weights: `"raw"`, or `"ema"` for the average.
        half: Whether to store half precision.
    """
    unet = deepcopy(state.unet).eval()
    if weights == "ema":
        with torch.no_grad():
            for name, weight in unet.named_parameters():
                weight.copy_(state.ema[name])
    unet = unet.to(memory_format=torch.contiguous_format)
    pipeline = DDPMPipeline(unet=unet.half() if half else unet, scheduler=scheduler)
    pipeline.save_pretrained(folder, safe_serialization=True)


def write_model(model_dir: Path, state: State, scheduler: DDPMScheduler, identity: dict[str, Any],
                 n_pairs: int) -> None:
    device = pick_device()
    named = ("encoding", "sum_scale", "image_size", "base_model", "base_sha256", "steps", "seed")
    record = {name: identity[name] for name in named} | {
        "n_pairs": n_pairs, "device": device_name(device), "digest": digest(identity), "identity": identity,
        "precision": resolve_precision(identity["precision"], device)}
    with atomic_folder(model_dir) as temporary:
        write_pipeline(temporary, state, scheduler, identity["weights"])
        if "condition" in identity:
            (temporary / "README.md").write_text(CARD, encoding="utf-8")
        (temporary / RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def open_model(model_dir: Path) -> DDPMPipeline:
    """A trained model as the diffusers pipeline that it is.

    Args:
        model_dir: Folder written by `train`.
    """
    disable_progress_bar()
    return DDPMPipeline.from_pretrained(model_dir, use_safetensors=True)


def is_finished(model_dir: Path, identity: dict[str, Any]) -> bool:
    """Whether a folder already holds the model that `identity` decides; another model there is refused."""
    if not (model_dir / RECORD).is_file():
        return False
    record = json.loads((model_dir / RECORD).read_text(encoding="utf-8"))
    if record["digest"] == digest(identity):
        return True
    raise TrainingError(f"{model_dir} holds another model ({'; '.join(differences(record['identity'], identity))}); "
                        "choose another run name, or remove the folder to train anew")


def milestone_dir(run_dir: Path, step: int) -> Path:
    """Where `train` keeps the model of a step on the way; a pipeline folder as the finished one is."""
    return Path(run_dir) / "milestones" / f"step-{step:08d}"


def array_sha256(array: np.ndarray) -> str:
    """Hash of an array's shape, dtype and content, row by row, so that a memory map is never read in whole."""
    total = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    for row in array:
        total.update(np.ascontiguousarray(row))
    return total.hexdigest()
