"""Fine-tuning of the base on pairs, once per encoding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from diffusers.utils.logging import disable_progress_bar

from mammorgb_utils.diffusion.controls import CONTROLS, control_channel
from mammorgb_utils.diffusion.encoding import THIRD_CHANNELS, check_views, encode_batch, stack_batch
from mammorgb_utils.diffusion.engine.base import base_sha256, device_name, load_base, pick_device, resolve_precision
from mammorgb_utils.diffusion.engine.checkpoints import atomic_folder, differences, digest
from mammorgb_utils.diffusion.engine.strips import STRIPS, draw_strip, strip_steps
from mammorgb_utils.diffusion.engine.team import Team
from mammorgb_utils.diffusion.loop import Recipe, State, TrainingError, fit
from mammorgb_utils.diffusion.randomness import batch_indices
from mammorgb_utils.protocol import Protocol

RECORD = "mammorgb.json"


def train(pairs: np.ndarray, protocol: Protocol, encoding: str, run_dir: Path, *, model_dir: Path | None = None,
          milestones: Collection[int] = (), progress: bool = True) -> Path:
    """Fine-tune `protocol.base_model` on pairs in one encoding.

    Args:
        pairs: `(N, 2, H, W)` float32 in [0, 1], CC first; may be memory-mapped.
        protocol: The study's choices.
        encoding: `"sum"`, `"absdiff"` or `"zero"`; for appendices also `"copy"`, `"noise"` or `"other"`.
        run_dir: Gets `stats.jsonl` and checkpoints; a killed training goes on from there.
        model_dir: The finished diffusers pipeline; `run_dir/model` by default.
        milestones: Steps after which the model as it is then is written to `milestone_dir`, on the way to the last.
        progress: Whether to show a progress bar.

    Returns:
        `model_dir`, at once when it already holds this very model.

    Raises:
        EncodingError, TrainingError, BaseModelError: Pairs, protocol or base can't be used.
        Diverged: Loss, gradient or weights stopped being numbers.
        CheckpointError: A checkpoint is damaged or belongs to another training.

    Source:
        The paper's fine-tuning; what it leaves open is named in `Protocol`.
    """
    run_dir = Path(run_dir)
    model_dir = Path(model_dir) if model_dir else run_dir / "model"
    _check_request(pairs, protocol, encoding)
    team = Team()
    with team.holding(run_dir):
        return _train(pairs, protocol, encoding, run_dir, model_dir, frozenset(milestones), progress, team)


def _train(pairs: np.ndarray, protocol: Protocol, encoding: str, run_dir: Path, model_dir: Path,
           milestones: frozenset[int], progress: bool, team: Team) -> Path:
    recipe = _recipe(protocol, len(pairs))
    source = PairSource(pairs, encoding, protocol.sum_scale, recipe)
    base = {"base_model": protocol.base_model, "base_sha256": base_sha256(protocol.base_model)}
    identity = base | {"encoding": encoding, "sum_scale": protocol.sum_scale, "image_size": protocol.image_size}
    finished = identity | vars(recipe) | {"data_sha256": source.data_sha256, "weights": protocol.sampling_weights}
    if is_finished(model_dir, finished):
        return model_dir
    unet, scheduler = load_base(protocol.base_model, protocol.image_size)
    # A checkpoint goes on only at the precision it was made with; a finished model is loaded anywhere.
    identity |= {"resolved_precision": resolve_precision(protocol.precision, team.device)}
    keep = _on_the_way(run_dir, milestones, recipe, scheduler, finished, len(pairs), team)
    state = fit(unet, scheduler, source, recipe, run_dir, identity, checkpoint_every=protocol.checkpoint_every,
                passes=protocol.accumulation, progress=progress, what=f"training {encoding}", team=team,
                after_step=keep)
    if team.is_first:
        _write_model(model_dir, state, scheduler, finished, len(pairs))
    return model_dir


def _on_the_way(run_dir: Path, milestones: frozenset[int], recipe: Recipe, scheduler: DDPMScheduler,
                finished: dict[str, Any], n_pairs: int, team: Team) -> Callable[[State], None]:
    """What is kept after a step: a strip of samples now and then, and the models that were asked for."""
    strips, bf16 = strip_steps(recipe.steps), resolve_precision(recipe.precision, team.device) == "bf16"

    def keep(state: State) -> None:
        if not (team.is_first and state.step in strips | milestones and state.finite()):
            return
        if state.step in strips:
            draw_strip(state, scheduler, recipe.seed, run_dir / STRIPS, bf16=bf16)
        folder, then = milestone_dir(run_dir, state.step), finished | {"milestone": state.step}
        if state.step in milestones and not is_finished(folder, then):
            _write_model(folder, state, scheduler, then, n_pairs)

    return keep


def milestone_dir(run_dir: Path, step: int) -> Path:
    """Where `train` keeps the model of a step on the way; a pipeline folder as the finished one is."""
    return Path(run_dir) / "milestones" / f"step-{step:08d}"


def training_steps(protocol: Protocol, n_pairs: int) -> int:
    """Optimiser steps of the protocol's epochs over so many pairs, at least one."""
    return max(1, round(protocol.epochs * n_pairs / protocol.batch_size))


class PairSource:
    """Pairs as model images; the third channel is computed where the model runs."""

    def __init__(self, pairs: np.ndarray, encoding: str, sum_scale: float, recipe: Recipe) -> None:
        self.data_sha256 = array_sha256(pairs)
        self._pairs, self._encoding, self._sum_scale, self._recipe = pairs, encoding, sum_scale, recipe
        self._device = pick_device()
        if self._device.type == "cuda":  # resident on the device; on a CPU a memory map stays a memory map
            self._resident = torch.from_numpy(np.ascontiguousarray(pairs)).to(self._device)

    def __len__(self) -> int:
        return len(self._pairs)

    def images(self, step: int, examples: range) -> torch.Tensor:
        batch = batch_indices(len(self), self._recipe.batch_size, self._recipe.seed, step)
        members = batch[examples.start:examples.stop]
        if self._device.type == "cuda":
            pairs = self._resident[torch.from_numpy(members).to(self._device)]
        else:
            pairs = torch.from_numpy(np.asarray(self._pairs[members], dtype=np.float32))
        if self._encoding in CONTROLS:
            third = control_channel(self._pairs, self._encoding, members, self._recipe.seed)
            return stack_batch(pairs, torch.from_numpy(third).to(self._device))
        return encode_batch(pairs, self._encoding, self._sum_scale)


def array_sha256(array: np.ndarray) -> str:
    """Hash of an array's shape, dtype and content, row by row, so that a memory map is never read in whole."""
    total = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    for row in array:
        total.update(np.ascontiguousarray(row))
    return total.hexdigest()


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


def _check_request(pairs: np.ndarray, protocol: Protocol, encoding: str) -> None:
    if encoding not in (*THIRD_CHANNELS, *CONTROLS):
        raise TrainingError(f"encoding {encoding!r}: use one of {', '.join(THIRD_CHANNELS)}, or of the controls "
                            f"{', '.join(CONTROLS)}")
    size = protocol.image_size
    if pairs.ndim != 4 or pairs.shape[1:] != (2, size, size):
        raise TrainingError(f"pairs have shape {pairs.shape}; (N, 2, {size}, {size}) is needed: CC, MLO at image_size")
    if len(pairs) < protocol.batch_size:
        raise TrainingError(f"{len(pairs)} training pairs don't fill one batch of {protocol.batch_size}; lower "
                            "batch_size, or see the cohort flow for why pairs were excluded")
    check_views(pairs, "training pairs")


def _recipe(protocol: Protocol, n_pairs: int) -> Recipe:
    same = ("batch_size", "seed", "optimizer", "learning_rate", "muon_learning_rate", "lr_schedule", "warmup_steps",
            "weight_decay", "max_grad_norm", "ema_decay", "precision")
    return Recipe(steps=training_steps(protocol, n_pairs), **{name: getattr(protocol, name) for name in same})


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


def _write_model(model_dir: Path, state: State, scheduler: DDPMScheduler, identity: dict[str, Any],
                 n_pairs: int) -> None:
    device = pick_device()
    named = ("encoding", "sum_scale", "image_size", "base_model", "base_sha256", "steps", "seed")
    record = {name: identity[name] for name in named} | {
        "n_pairs": n_pairs, "device": device_name(device), "digest": digest(identity), "identity": identity,
        "precision": resolve_precision(identity["precision"], device)}
    with atomic_folder(model_dir) as temporary:
        write_pipeline(temporary, state, scheduler, identity["weights"])
        (temporary / RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
