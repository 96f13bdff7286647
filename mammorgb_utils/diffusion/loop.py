"""The training loop: one for pretraining the base and for fine-tuning it, whatever the images are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel

from mammorgb_utils.diffusion.engine.base import compiled, fast_attention, resolve_precision
from mammorgb_utils.diffusion.engine.checkpoints import StatsLog, Tensors, load_checkpoint, save_checkpoint
from mammorgb_utils.diffusion.engine.optimizers import Optimizer
from mammorgb_utils.diffusion.engine.progress import peak_memory_mb, progress_bar
from mammorgb_utils.diffusion.engine.team import Team
from mammorgb_utils.diffusion.randomness import timesteps, training_noise

CHECKPOINTS, STATS = "checkpoints", "stats.jsonl"


class TrainingError(RuntimeError):
    """Training can't start or go on; the message says why and what to change."""


class Diverged(TrainingError):
    """Loss, gradient or weights stopped being numbers."""


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, apart from the images and the base."""

    steps: int
    batch_size: int
    seed: int
    learning_rate: float  # of AdamW
    optimizer: str = "adamw"  # or "muon": Muon on the kernels, AdamW on the rest
    muon_learning_rate: float = 0.01
    timestep_mix: str = "uniform"  # or "middle"
    lr_schedule: str = "constant"  # or "cosine", to 0 at the last step
    warmup_steps: int = 0  # linear
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.0  # 0 = no average kept
    precision: str = "auto"

    def rate_share(self, step: int) -> float:
        """Share of the full learning rates at a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        decay = 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.lr_schedule == "cosine" else 1.0
        return warm * decay

    def lr(self, step: int) -> float:
        """AdamW's learning rate at a step, counted from 0."""
        return self.learning_rate * self.rate_share(step)

    def ema_decay_at(self, step: int) -> float:
        """Decay of the weight average, low at first so that the starting weights are soon forgotten."""
        return min(self.ema_decay, (1 + step) / (10 + step))


class BatchSource(Protocol):
    """Images to learn from; what a batch holds is a function of the step."""

    data_sha256: str

    def __len__(self) -> int:
        """Images in an epoch."""

    def images(self, step: int, examples: range) -> torch.Tensor:
        """`(len(examples), 3, H, W)` float32 in [−1, 1] on the training device: these members of the step's batch."""


class State:
    """Weights, their average, the optimiser and the number of finished steps: all that a checkpoint holds."""

    def __init__(self, unet: UNet2DModel, recipe: Recipe, device: torch.device) -> None:
        # With gradients, CPUs are faster in the plain layout, at bf16 too.
        layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.unet = unet.to(device, memory_format=layout).train()
        self.model: torch.nn.Module = self.unet  # what is called: the same weights, compiled or joined to others
        self.weights = dict(self.unet.named_parameters())
        self.ema = {name: w.detach().clone() for name, w in self.weights.items()} if recipe.ema_decay else {}
        self.optimizer = Optimizer(self.weights, recipe)
        self.step = 0

    def tensors(self) -> Tensors:
        """Groups for a checkpoint."""
        groups = {"weights": dict(self.weights), "optimizer": self.optimizer.tensors()}
        return groups | ({"ema": self.ema} if self.ema else {})

    @torch.no_grad()
    def restore(self, step: int, tensors: Tensors) -> None:
        """Take over a checkpoint, in the memory layout of this state."""
        self.step = step
        for name, weight in self.weights.items():
            weight.copy_(tensors["weights"][name])
            if self.ema:
                self.ema[name].copy_(tensors["ema"][name])
        self.optimizer.restore(tensors["optimizer"])

    @torch.no_grad()
    def update_ema(self, decay: float) -> None:
        if self.ema:
            torch._foreach_lerp_(list(self.ema.values()), list(self.weights.values()), 1.0 - decay)

    def finite(self) -> bool:
        """Whether every weight is a number."""
        norms = torch._foreach_norm([w.detach() for w in self.weights.values()])
        return bool(torch.isfinite(torch.stack(norms)).all())


def fit(unet: UNet2DModel, scheduler: DDPMScheduler, source: BatchSource, recipe: Recipe, folder: Path,
        identity: dict[str, Any], *, checkpoint_every: int, passes: int = 1, progress: bool = True,
        what: str = "training", team: Team | None = None, after_step: Callable[[State], None] | None = None) -> State:
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
        team: The processes that train together; by default those that a launcher started.
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
    team = team or Team()
    _require_shares(recipe, passes, team)
    folder.mkdir(parents=True, exist_ok=True)
    identity = identity | asdict(recipe) | {"data_sha256": source.data_sha256}
    state = _begun(unet, recipe, folder / CHECKPOINTS, identity, team)
    with _Journal(folder, state.step, recipe.steps, what, progress, team) as journal:
        try:
            while state.step < recipe.steps:
                journal.write(**_logged_step(state, scheduler, source, recipe, passes, team))
                if after_step:
                    after_step(state)
                if state.step % checkpoint_every == 0 or state.step == recipe.steps:
                    _save(state, journal, folder / CHECKPOINTS, identity, team)
        except torch.OutOfMemoryError as error:
            raise TrainingError(f"out of memory at step {state.step + 1}: raise accumulation (now {passes}), lower "
                                f"batch_size (now {recipe.batch_size}) or image_size, or use precision bf16") from error
    return state


def _begun(unet: UNet2DModel, recipe: Recipe, checkpoints: Path, identity: dict[str, Any], team: Team) -> State:
    """The state to go on from: the newest checkpoint's, else the base's."""
    state = State(unet, recipe, team.device)
    with team.first_goes_first():
        checkpoint = load_checkpoint(checkpoints, identity)
    if checkpoint:
        state.restore(*checkpoint)
    state.model = team.joined(compiled(state.unet, resolve_precision(recipe.precision, team.device)))
    return state


def training_step(state: State, scheduler: DDPMScheduler, source: BatchSource, recipe: Recipe, passes: int = 1,
                  team: Team | None = None) -> tuple[float, float]:
    """One update of the weights.

    Returns:
        Loss and gradient norm before clipping, both of the whole batch.

    Raises:
        Diverged: One of them isn't finite; the weights are then as before the step.
    """
    team = team or Team()
    state.unet.zero_grad(set_to_none=True)
    share, total = team.share(recipe.batch_size), torch.zeros((), device=team.device)
    for i in range(passes):
        part = share[i * len(share) // passes:(i + 1) * len(share) // passes]
        with team.unsynchronised(state.model, hold=i < passes - 1):
            loss = denoising_loss(state, scheduler, source, recipe, part) * (len(part) / recipe.batch_size)
            (loss * team.size).backward()  # gradients of processes are averaged, those of passes added
        total += loss.detach()
    mean = team.total(total)
    _refuse_not_finite("loss", mean, state, recipe)
    norm = float(torch.nn.utils.clip_grad_norm_(state.weights.values(), recipe.max_grad_norm))
    _refuse_not_finite("gradient norm", norm, state, recipe)
    state.optimizer.step(recipe.rate_share(state.step))
    state.update_ema(recipe.ema_decay_at(state.step))
    state.step += 1
    return mean, norm


def denoising_loss(state: State, scheduler: DDPMScheduler, source: BatchSource, recipe: Recipe,
                   examples: range) -> torch.Tensor:
    """Mean squared error of the prediction over some members of the step's batch; noise and error in fp32.

    Source:
        Ho et al. 2020 (epsilon), Salimans & Ho 2022 (v); the scheduler's prediction type decides.
    """
    clean = source.images(state.step, examples)
    device = clean.device
    noise = training_noise(tuple(clean.shape[1:]), recipe.seed, state.step, examples).to(device)
    drawn = timesteps(scheduler.config.num_train_timesteps, recipe.batch_size, recipe.seed, state.step,
                      recipe.timestep_mix)
    t = torch.from_numpy(drawn[examples.start:examples.stop]).to(device)
    noisy = scheduler.add_noise(clean, noise, t)
    bf16 = resolve_precision(recipe.precision, device) == "bf16"
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16), fast_attention(device):
        prediction = state.model(noisy, t).sample
    return F.mse_loss(prediction.float(), prediction_target(scheduler, clean, noise, t))


def prediction_target(scheduler: DDPMScheduler, clean: torch.Tensor, noise: torch.Tensor,
                      t: torch.Tensor) -> torch.Tensor:
    """What the model learns to predict from the noisy images, by its scheduler's prediction type."""
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        return scheduler.get_velocity(clean, noise, t)
    if kind == "sample":
        return clean
    raise TrainingError(f"the base's scheduler has prediction type {kind!r}; epsilon, v_prediction or sample is needed")


class _Journal:
    """`stats.jsonl` and progress bar of the first process; the others write nothing."""

    def __init__(self, folder: Path, done: int, steps: int, what: str, progress: bool, team: Team) -> None:
        self._log = StatsLog(folder / STATS, done) if team.is_first else None
        self._bar = progress_bar(what, steps, done, show=progress and team.is_first)

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *failure) -> None:
        self._bar.close()
        if self._log:
            self._log.close()

    def write(self, **line: float) -> None:
        """One finished step."""
        if self._log:
            self._log.append(**line)
        self._bar.set_postfix(loss=f"{line['loss']:.4f}", refresh=False)
        self._bar.update()

    def sync(self) -> None:
        """All lines to disk, before a checkpoint relies on them."""
        if self._log:
            self._log.sync()


def _logged_step(state: State, scheduler: DDPMScheduler, source: BatchSource, recipe: Recipe, passes: int,
                 team: Team) -> dict[str, float]:
    start, lr = time.perf_counter(), recipe.lr(state.step)
    loss, norm = training_step(state, scheduler, source, recipe, passes, team)
    seconds = time.perf_counter() - start
    return {"step": state.step, "epoch": round(state.step * recipe.batch_size / len(source), 4), "loss": loss, "lr": lr,
            "grad_norm": norm, "images_per_second": round(recipe.batch_size / seconds, 2), "seconds": round(seconds, 4),
            "precision": resolve_precision(recipe.precision, team.device),
            "peak_memory_mb": peak_memory_mb(team.device)}


def _save(state: State, journal: _Journal, folder: Path, identity: dict[str, Any], team: Team) -> None:
    if not state.finite():
        raise Diverged(f"weights stopped being numbers by step {state.step}; the checkpoint before it stands; "
                       "lower learning_rate or max_grad_norm under a new run name")
    journal.sync()
    if team.is_first:
        save_checkpoint(folder, state.step, state.tensors(), identity)
    team.wait()


def _require_shares(recipe: Recipe, passes: int, team: Team) -> None:
    if team.size * passes > recipe.batch_size:
        raise TrainingError(f"batch_size {recipe.batch_size} can't be shared by {team.size} processes in {passes} "
                            "passes; lower accumulation or the number of processes")


def _refuse_not_finite(name: str, value: float, state: State, recipe: Recipe) -> None:
    if not math.isfinite(value):
        raise Diverged(f"{name} is {value} at step {state.step + 1} (lr {recipe.lr(state.step):g}); stopped, the "
                       "last checkpoint stands; lower learning_rate or use precision fp32, under a new run name")
