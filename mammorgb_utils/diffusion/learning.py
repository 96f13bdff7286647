"""One step of learning: noisy images, the prediction, its error, the update; and the error on unseen images."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel

from mammorgb_utils.diffusion.conditioning import predict
from mammorgb_utils.diffusion.engine.base import fast_attention, resolve_precision
from mammorgb_utils.diffusion.engine.processes import Processes
from mammorgb_utils.diffusion.engine.state import BatchSource, Diverged, Recipe, State, TrainingError
from mammorgb_utils.diffusion.randomness import probe_noise, timesteps, training_noise

TIMESTEPS = (50, 150, 300, 450, 600, 750, 900)  # of 1,000, for measuring; the middle ones hold what two views share


def training_step(state: State, scheduler: DDPMScheduler, source: BatchSource, recipe: Recipe, passes: int = 1,
                  processes: Processes | None = None) -> tuple[float, float]:
    """One update of the weights.

    Returns:
        Loss and gradient norm before clipping, both of the whole batch.

    Raises:
        Diverged: One of them isn't finite; the weights are then as before the step.
    """
    processes = processes or Processes()
    state.unet.zero_grad(set_to_none=True)
    share, total = processes.share(recipe.batch_size), torch.zeros((), device=processes.device)
    parts = [share[i * len(share) // passes:(i + 1) * len(share) // passes] for i in range(passes)]
    for i, part in enumerate(parts):
        with processes.unsynchronised(state.model, hold=i < passes - 1):
            loss = denoising_loss(state, scheduler, source, recipe, part) * (len(part) / recipe.batch_size)
            (loss * processes.size).backward()  # gradients of processes are averaged, those of passes added
        total += loss.detach()
    if processes.device.type == "cuda":  # which still computes, and would wait for noise later
        shape = (state.unet.config.in_channels, *[state.unet.config.sample_size] * 2)
        state.noise = {part: training_noise(shape, recipe.seed, state.step + 1, part) for part in parts}
    mean = processes.total(total)
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
    noise = state.noise.pop(examples, None)
    if noise is None:
        noise = training_noise(tuple(clean.shape[1:]), recipe.seed, state.step, examples)
    noise = noise.to(device)
    drawn = timesteps(scheduler.config.num_train_timesteps, recipe.batch_size, recipe.seed, state.step,
                      recipe.timestep_mix)
    t = torch.from_numpy(drawn[examples.start:examples.stop]).to(device)
    noisy = scheduler.add_noise(clean, noise, t)
    bf16 = resolve_precision(recipe.precision, device) == "bf16"
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16), fast_attention(device):
        prediction = state.model(noisy, t, source.labels(state.step, examples)).sample
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


@torch.inference_mode()
def denoising_losses(unet: UNet2DModel, scheduler: DDPMScheduler, images: torch.Tensor, *, seed: int,
                     timesteps: tuple[int, ...] = TIMESTEPS, batch_size: int = 48, label: int | None = None,
                     channels: int | None = None) -> np.ndarray:
    """Squared error of the model's prediction on given images.

    Args:
        unet, scheduler: A trained model and its noise schedule.
        images: `(N, 3, H, W)` in [−1, 1].
        seed: Of the noise; image i at timestep t meets the same noise in every model.
        timesteps: Where on the noise schedule.
        batch_size: Images in a pass.
        label: Of all images, for a model that has labels.
        channels: How many of an image's channels count; by default all.

    Returns:
        `(N, len(timesteps))` float64, each the mean over an image's channels and pixels, in fp32.
    """
    losses = np.empty((len(images), len(timesteps)))
    for first in range(0, len(images), batch_size):
        clean = images[first:first + batch_size].to(unet.device)
        members = range(first, first + len(clean))
        for column, step in enumerate(timesteps):
            noise = probe_noise(tuple(clean.shape[1:]), seed, step, members).to(unet.device)
            t = torch.full((len(clean),), step, device=unet.device)
            labels = None if label is None else torch.full_like(t, label)
            prediction = predict(unet, scheduler.add_noise(clean, noise, t), t, labels)
            error = (prediction - prediction_target(scheduler, clean, noise, t)).square()
            losses[members.start:members.stop, column] = error[:, :channels].mean(dim=(1, 2, 3)).cpu().numpy()
    return losses


def _refuse_not_finite(name: str, value: float, state: State, recipe: Recipe) -> None:
    if not math.isfinite(value):
        raise Diverged(f"{name} is {value} at step {state.step + 1} (lr {recipe.lr(state.step):g}); stopped, the "
                       "last checkpoint stands; lower learning_rate or use precision fp32, under a new run name")
