"""Fine-tuning of the base on pairs, once per encoding."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler

from mammorgb_utils.diffusion import encoding as channels
from mammorgb_utils.diffusion.conditioning import FEWEST, add_labels, fault_of, labels_of, training_labels
from mammorgb_utils.diffusion.engine.base import base_sha256, load_base, pick_device, resolve_precision
from mammorgb_utils.diffusion.engine.looks import STRIPS, draw_strip, strip_steps
from mammorgb_utils.diffusion.engine.loop import fit
from mammorgb_utils.diffusion.engine.model_folder import array_sha256, is_finished, milestone_dir, write_model
from mammorgb_utils.diffusion.engine.processes import Processes
from mammorgb_utils.diffusion.engine.state import Recipe, State, TrainingError
from mammorgb_utils.diffusion.randomness import batch_indices
from mammorgb_utils.protocol import Protocol


def train(pairs: np.ndarray, protocol: Protocol, encoding: str, run_dir: Path, *, model_dir: Path | None = None,
          milestones: Collection[int] = (), grades: Sequence[str] | None = None, progress: bool = True) -> Path:
    """Fine-tune `protocol.base_model` on pairs in one encoding.

    Args:
        pairs: `(N, 2, H, W)` float32 in [0, 1], CC first; may be memory-mapped.
        protocol: The study's choices.
        encoding: `"sum"`, `"absdiff"` or `"zero"`; for appendices also `"copy"`, `"noise"` or `"other"`.
        run_dir: Gets `stats.jsonl` and checkpoints; a killed training goes on from there.
        model_dir: The finished diffusers pipeline; `run_dir/model` by default.
        milestones: Steps after which the model as it is then is written to `milestone_dir`, on the way to the last.
        grades: Density of each pair, A to D or empty, where `protocol.condition` asks for it.
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
    labels = _labels(protocol, grades, len(pairs))
    processes = Processes()
    with processes.holding(run_dir):
        return _train(pairs, labels, protocol, encoding, run_dir, model_dir, frozenset(milestones), progress, processes)


def _train(pairs: np.ndarray, labels: np.ndarray | None, protocol: Protocol, encoding: str, run_dir: Path,
           model_dir: Path, milestones: frozenset[int], progress: bool, processes: Processes) -> Path:
    recipe = _recipe(protocol, len(pairs))
    source = PairSource(pairs, encoding, protocol.sum_scale, recipe, labels)
    base = {"base_model": protocol.base_model, "base_sha256": base_sha256(protocol.base_model)}
    identity = base | {"encoding": encoding, "sum_scale": protocol.sum_scale, "image_size": protocol.image_size}
    if labels is not None:
        identity |= {"condition": protocol.condition, "labels_sha256": array_sha256(labels)}
    finished = identity | vars(recipe) | {"data_sha256": source.data_sha256, "weights": protocol.sampling_weights}
    if is_finished(model_dir, finished):
        return model_dir
    unet, scheduler = load_base(protocol.base_model, protocol.image_size)
    unet = unet if labels is None else add_labels(unet)
    # A checkpoint goes on only at the precision it was made with; a finished model is loaded anywhere.
    identity |= {"resolved_precision": resolve_precision(protocol.precision, processes.device)}
    keep = _on_the_way(run_dir, milestones, recipe, scheduler, finished, len(pairs), processes)
    state = fit(unet, scheduler, source, recipe, run_dir, identity, checkpoint_every=protocol.checkpoint_every,
                passes=protocol.accumulation, progress=progress, what=f"training {encoding}", processes=processes,
                after_step=keep)
    if processes.is_first:
        write_model(model_dir, state, scheduler, finished, len(pairs))
    return model_dir


def _on_the_way(run_dir: Path, milestones: frozenset[int], recipe: Recipe, scheduler: DDPMScheduler,
                finished: dict[str, Any], n_pairs: int, processes: Processes) -> Callable[[State], None]:
    """What is kept after a step: a strip of samples now and then, and the models that were asked for."""
    strips, bf16 = strip_steps(recipe.steps), resolve_precision(recipe.precision, processes.device) == "bf16"

    def keep(state: State) -> None:
        if not (processes.is_first and state.step in strips | milestones and state.finite()):
            return
        if state.step in strips:
            draw_strip(state, scheduler, recipe.seed, run_dir / STRIPS, bf16=bf16)
        folder, then = milestone_dir(run_dir, state.step), finished | {"milestone": state.step}
        if state.step in milestones and not is_finished(folder, then):
            write_model(folder, state, scheduler, then, n_pairs)

    return keep


def training_steps(protocol: Protocol, n_pairs: int) -> int:
    """Optimiser steps of the protocol's epochs over so many pairs, at least one."""
    return max(1, round(protocol.epochs * n_pairs / protocol.batch_size))


class PairSource:
    """Pairs as model images; the third channel is computed where the model runs."""

    def __init__(self, pairs: np.ndarray, encoding: str, sum_scale: float, recipe: Recipe,
                 labels: np.ndarray | None = None) -> None:
        self.data_sha256 = array_sha256(pairs)
        self._pairs, self._encoding, self._sum_scale, self._recipe = pairs, encoding, sum_scale, recipe
        self._labels, self._device = labels, pick_device()
        if self._device.type == "cuda":  # resident on the device; on a CPU a memory map stays a memory map
            self._resident = torch.from_numpy(np.ascontiguousarray(pairs)).to(self._device)

    def __len__(self) -> int:
        return len(self._pairs)

    def images(self, step: int, examples: range) -> torch.Tensor:
        members = self._members(step, examples)
        if self._device.type == "cuda":
            pairs = self._resident[torch.from_numpy(members).to(self._device)]
        else:
            pairs = torch.from_numpy(np.asarray(self._pairs[members], dtype=np.float32))
        if self._encoding in channels.CONTROLS:
            third = channels.control_channel(self._pairs, self._encoding, members, self._recipe.seed)
            return channels.stack_batch(pairs, torch.from_numpy(third).to(self._device))
        return channels.encode_batch(pairs, self._encoding, self._sum_scale)

    def labels(self, step: int, examples: range) -> torch.Tensor | None:
        if self._labels is None:
            return None
        members = self._members(step, examples)
        return training_labels(self._labels, self._recipe.seed, step, members, examples).to(self._device)

    def _members(self, step: int, examples: range) -> np.ndarray:
        return batch_indices(len(self), self._recipe.batch_size, self._recipe.seed, step)[examples.start:examples.stop]


def _labels(protocol: Protocol, grades: Sequence[str] | None, n_pairs: int) -> np.ndarray | None:
    if protocol.condition == "none":
        return None
    grades = () if grades is None else grades
    if (fault := fault_of(grades)) or len(grades) != n_pairs:
        raise TrainingError(f"condition density: {fault or f'{len(grades)} grades'} in {n_pairs} training pairs; give "
                            f"the manifest's column density A to D for at least {FEWEST} pairs a grade that it has, or "
                            "set condition to none")
    return labels_of(grades)


def _check_request(pairs: np.ndarray, protocol: Protocol, encoding: str) -> None:
    if encoding not in (*channels.THIRD_CHANNELS, *channels.CONTROLS):
        raise TrainingError(f"encoding {encoding!r}: use one of {', '.join(channels.THIRD_CHANNELS)}, or of the "
                            f"controls {', '.join(channels.CONTROLS)}")
    size = protocol.image_size
    if pairs.ndim != 4 or pairs.shape[1:] != (2, size, size):
        raise TrainingError(f"pairs have shape {pairs.shape}; (N, 2, {size}, {size}) is needed: CC, MLO at image_size")
    if len(pairs) < protocol.batch_size:
        raise TrainingError(f"{len(pairs)} training pairs don't fill one batch of {protocol.batch_size}; lower "
                            "batch_size, or see the cohort flow for why pairs were excluded")
    channels.check_views(pairs, "training pairs")


def _recipe(protocol: Protocol, n_pairs: int) -> Recipe:
    same = ("batch_size", "seed", "optimizer", "learning_rate", "muon_learning_rate", "lr_schedule", "warmup_steps",
            "weight_decay", "max_grad_norm", "ema_decay", "precision")
    return Recipe(steps=training_steps(protocol, n_pairs), **{name: getattr(protocol, name) for name in same})
