"""What a model has learned: its denoising loss on images that training never saw, with fixed noise."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel

from mammorgb_utils.diffusion.loop import prediction_target
from mammorgb_utils.diffusion.randomness import probe_noise

TIMESTEPS = (50, 150, 300, 450, 600, 750, 900)  # of 1,000; the middle ones hold what two views share


@torch.inference_mode()
def denoising_losses(unet: UNet2DModel, scheduler: DDPMScheduler, images: torch.Tensor, *, seed: int,
                     timesteps: tuple[int, ...] = TIMESTEPS, batch_size: int = 48) -> np.ndarray:
    """Squared error of the model's prediction on given images.

    Args:
        unet, scheduler: A trained model and its noise schedule.
        images: `(N, 3, H, W)` in [−1, 1].
        seed: Of the noise; image i at timestep t meets the same noise in every model.
        timesteps: Where on the noise schedule.
        batch_size: Images in a pass.

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
            prediction = unet(scheduler.add_noise(clean, noise, t), t).sample
            error = (prediction - prediction_target(scheduler, clean, noise, t)).square()
            losses[members.start:members.stop, column] = error.mean(dim=(1, 2, 3)).cpu().numpy()
    return losses
