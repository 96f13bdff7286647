"""The other view of a breast: what the joint model draws beside a view that is given."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel

from mammorgb_utils.diffusion.conditioning import predict
from mammorgb_utils.diffusion.randomness import image_generator

JUMP, RESAMPLINGS = 5, 4  # levels that a walk goes back up, and how often it walks each stretch: views come together


def levels(steps: int, jump: int = JUMP, resamplings: int = RESAMPLINGS) -> Iterator[int]:
    """Noise levels that a walk visits, from `steps` (noise) to 0 (clean); every `jump` levels it goes back as many.

    Source:
        Lugmayr et al. 2022 (RePaint): resampling by jumps.
    """
    left = dict.fromkeys(range(0, steps - jump, jump), resamplings - 1)
    level = steps
    yield level
    while level:
        level -= 1
        yield level
        if left.get(level):
            left[level] -= 1
            level += jump
            yield level


@torch.inference_mode()
def complete(unet: UNet2DModel, scheduler: DDPMScheduler, known: torch.Tensor, channel: int, seed: int, batch: range,
             steps: int, *, bf16: bool = False, jump: int = JUMP, resamplings: int = RESAMPLINGS) -> torch.Tensor:
    """Draw model images whose one channel is given, by replacing it at every noise level.

    Replacement is a heuristic: the other channels see the given one through its noise only, which the jumps mend in
    part (Trippe et al. 2023).

    Args:
        unet, scheduler: A trained model, which needn't be trained for it, and its noise schedule.
        known: `(len(batch), H, W)` in [−1, 1].
        channel: Where it belongs; the third channel is drawn, as it holds the unknown view too.
        seed, batch: Image i's noise is a function of (seed, i) alone.
        steps: Noise levels; the model is called once for each way down.
        bf16, jump, resamplings: Precision; `levels`.

    Returns:
        `(len(batch), 3, H, W)`, the given channel as it was given.
    """
    device, shape = unet.device, (unet.config.in_channels, *known.shape[1:])
    trained = scheduler.config.num_train_timesteps
    times = np.round(np.arange(1, steps + 1) * trained / steps).astype(int) - 1  # of levels 1 … steps
    alphas = [1.0, *scheduler.alphas_cumprod[times].tolist()]
    generators = [image_generator(seed, image) for image in batch]
    known = known.to(device)
    walk = levels(steps, jump, resamplings)
    level = next(walk)
    x = _noise(generators, shape, device)
    for target in walk:
        noise = _noise(generators, shape, device)
        if target > level:
            share = alphas[target] / alphas[level]
            x = share**0.5 * x + (1 - share) ** 0.5 * noise
        else:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                prediction = predict(unet, x, torch.tensor(int(times[level - 1]), device=device)).float()
            x = less_noise(prediction, x, noise, alphas[level], alphas[target], scheduler.config)
            x[:, channel] = alphas[target] ** 0.5 * known + (1 - alphas[target]) ** 0.5 * noise[:, channel]
        level = target
    return x


def less_noise(prediction: torch.Tensor, x: torch.Tensor, noise: torch.Tensor, alpha: float, after: float,
               config: dict) -> torch.Tensor:
    """One ancestral step from a noise level to a lower one, by the model's prediction.

    Args:
        prediction: What the model says about `x`, of its scheduler's prediction type.
        x, noise: The images, and the noise of this step.
        alpha, after: Cumulative product of the schedule before and after it; `after` is 1 for a clean image.
        config: The scheduler's: `prediction_type` and `clip_sample`.

    Source:
        Song et al. 2021, eta 1, which is Ho et al. 2020 on any subset of timesteps.
    """
    signal, spread = alpha**0.5, (1 - alpha) ** 0.5
    kind = config["prediction_type"]
    if kind == "v_prediction":
        clean = signal * x - spread * prediction
    else:
        clean = (x - spread * prediction) / signal if kind == "epsilon" else prediction
    if config["clip_sample"]:
        clean = clean.clamp(-1.0, 1.0)
    rest = (x - signal * clean) / spread  # the noise that the clipped image leaves
    variance = (1 - after) / (1 - alpha) * (1 - alpha / after)
    return after**0.5 * clean + max(0.0, 1 - after - variance) ** 0.5 * rest + variance**0.5 * noise


def _noise(generators: list[torch.Generator], shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)
