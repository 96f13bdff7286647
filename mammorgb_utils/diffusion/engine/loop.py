"""The training loop: checkpoints, statistics and processes around `learning.training_step`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel

from mammorgb_utils.diffusion.engine.base import Replayed, compiled, is_small, make_repeatable, resolve_precision
from mammorgb_utils.diffusion.engine.checkpoints import load_checkpoint, save_checkpoint
from mammorgb_utils.diffusion.engine.processes import Processes
from mammorgb_utils.diffusion.engine.progress import peak_memory_mb, progress_bar
from mammorgb_utils.diffusion.engine.state import BatchSource, Diverged, Recipe, State, TrainingError
from mammorgb_utils.diffusion.learning import training_step
from mammorgb_utils.runs import atomic_path

CHECKPOINTS, STATS = "checkpoints", "stats.jsonl"


def fit(unet: UNet2DModel, scheduler: DDPMScheduler, source: BatchSource, recipe: Recipe, folder: Path,
        identity: dict[str, Any], *, checkpoint_every: int, passes: int = 1, progress: bool = True,
        what: str = "training", processes: Processes | None = None,
        after_step: Callable[[State], None] | None = None) -> State:
    """Train, going on from the newest checkpoint below `folder`.

    Args:
        unet, scheduler: Base and noise schedule; the schedule's prediction type decides the target.
        source: The images.
        recipe: The choices.
        folder: Gets `stats.jsonl` and `checkpoints/`.
        identity: What decides the run; a checkpoint that records another one is refused.
        checkpoint_every: Steps between checkpoints.
        passes: Parts that each process's share of a batch goes through the model in, to save memory.
        progress, what: Whether to show a progress bar, and its caption.
        processes: The processes that train together; by default those that a launcher started.
        after_step: Called after each step, before its checkpoint; leaves the state as it is. What a killed run did
            after its last checkpoint is done again.

    Returns:
        The state after the last step. Killed and resumed, on equal threads, passes and machine, it is bit-identical;
        with other passes or processes it is the same run within rounding.

    Raises:
        Diverged: Loss, gradient or weights stopped being numbers; the last checkpoint stands.
        TrainingError: Memory ran out; the last checkpoint stands.
        CheckpointError: The checkpoint is damaged or belongs to another training.
    """
    processes = processes or Processes()
    make_repeatable(processes.device)
    _require_shares(recipe, passes, processes)
    folder.mkdir(parents=True, exist_ok=True)
    identity = identity | asdict(recipe) | {"data_sha256": source.data_sha256}
    state = _begun(unet, recipe, folder / CHECKPOINTS, identity, passes, processes)
    with Journal(folder, state.step, recipe.steps, what, progress, processes.is_first) as journal:
        try:
            while state.step < recipe.steps:
                journal.write(**_logged_step(state, scheduler, source, recipe, passes, processes))
                if after_step:
                    after_step(state)
                if state.step % checkpoint_every == 0 or state.step == recipe.steps:
                    _save(state, journal, folder / CHECKPOINTS, identity, processes)
        except torch.OutOfMemoryError as error:
            raise TrainingError(f"out of memory at step {state.step + 1}: raise accumulation (now {passes}), lower "
                                f"batch_size (now {recipe.batch_size}) or image_size, or use precision bf16") from error
    return state


def _begun(unet: UNet2DModel, recipe: Recipe, checkpoints: Path, identity: dict[str, Any], passes: int,
           processes: Processes) -> State:
    """The state to go on from: the newest checkpoint's, else the base's."""
    state = State(unet, recipe, processes.device)
    with processes.first_goes_first():
        checkpoint = load_checkpoint(checkpoints, identity)
    if checkpoint:
        state.restore(*checkpoint)
    state.model = trained_as(state.unet, recipe, passes, processes)
    return state


def trained_as(unet: UNet2DModel, recipe: Recipe, passes: int, processes: Processes) -> torch.nn.Module:
    """What a training calls: the model itself, or replayed, compiled, joined to those of other processes."""
    if processes.device.type == "cuda" and is_small(unet) and passes == 1 and processes.size == 1:
        return Replayed(unet)
    return processes.joined(compiled(unet, resolve_precision(recipe.precision, processes.device)))


def _logged_step(state: State, scheduler: DDPMScheduler, source: BatchSource, recipe: Recipe, passes: int,
                 processes: Processes) -> dict[str, float]:
    start, lr = time.perf_counter(), recipe.lr(state.step)
    loss, norm = training_step(state, scheduler, source, recipe, passes, processes)
    seconds = time.perf_counter() - start
    return {"step": state.step, "epoch": round(state.step * recipe.batch_size / len(source), 4), "loss": loss, "lr": lr,
            "grad_norm": norm, "images_per_second": round(recipe.batch_size / seconds, 2), "seconds": round(seconds, 4),
            "precision": resolve_precision(recipe.precision, processes.device),
            "peak_memory_mb": peak_memory_mb(processes.device)}


def _save(state: State, journal: Journal, folder: Path, identity: dict[str, Any], processes: Processes) -> None:
    if not state.finite():
        raise Diverged(f"weights stopped being numbers by step {state.step}; the checkpoint before it stands; "
                       "lower learning_rate or max_grad_norm under a new run name")
    journal.sync()
    if processes.is_first:
        save_checkpoint(folder, state.step, state.tensors(), identity)
    processes.wait()


def _require_shares(recipe: Recipe, passes: int, processes: Processes) -> None:
    if processes.size * passes > recipe.batch_size:
        raise TrainingError(f"batch_size {recipe.batch_size} can't be shared by {processes.size} processes in {passes} "
                            "passes; lower accumulation or the number of processes")


class Journal:
    """`stats.jsonl`, a line a step, and the progress bar; of several processes the first alone has them."""

    def __init__(self, folder: Path, done: int, steps: int, what: str, show: bool, first: bool) -> None:
        self._handle = _continued(folder / STATS, done).open("a", encoding="utf-8") if first else None
        self._bar = progress_bar(what, steps, done, show=show and first)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *failure) -> None:
        self._bar.close()
        if self._handle:
            self._handle.close()

    def write(self, **line: Any) -> None:
        """One finished step."""
        if self._handle:
            self._handle.write(json.dumps(line) + "\n")
            self._handle.flush()
        self._bar.set_postfix(loss=f"{line['loss']:.4f}", refresh=False)
        self._bar.update()

    def sync(self) -> None:
        """All lines to disk, before a checkpoint relies on them."""
        if self._handle:
            os.fsync(self._handle.fileno())


def _continued(path: Path, done: int) -> Path:
    """The statistics without what lies past the checkpoint, and without a line that a kill cut off."""
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break
        kept += [text] if line["step"] <= done else []
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{text}\n" for text in kept), encoding="utf-8")
    return path
