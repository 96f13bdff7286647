"""The walk from noise to image: which solver takes it, and the walk itself."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, SchedulerMixin, UNet2DModel

from mammorgb_utils.diffusion.randomness import image_generator


class SamplingError(ValueError):
    """Nothing can be sampled; the message says why."""


def solver(trained: DDPMScheduler, sampler: str, steps: int, device: torch.device) -> SchedulerMixin:
    """As `make_sampler`, for a noise schedule at hand; `trained` is left as it is."""
    if sampler == "ddpm":
        scheduler = DDPMScheduler.from_config(trained.config)
    elif sampler == "ddim":
        scheduler = DDIMScheduler.from_config(trained.config, timestep_spacing="trailing")
    elif sampler == "dpmsolver++":
        scheduler = _ClippedSolver.from_config(
            trained.config, algorithm_type="dpmsolver++", solver_order=2, timestep_spacing="trailing",
            final_sigmas_type="zero", thresholding=trained.config.clip_sample)
    else:
        raise SamplingError(f"sampler {sampler!r}: use ddpm, ddim or dpmsolver++")
    if steps > trained.config.num_train_timesteps:
        raise SamplingError(f"sampling_steps {steps} exceeds the {trained.config.num_train_timesteps} trained ones")
    scheduler.set_timesteps(steps, device=device)
    return scheduler


class _ClippedSolver(DPMSolverMultistepScheduler):
    """Clips the predicted image to the trained range, as the DDPM sampler does, so that air stays black."""

    def _threshold_sample(self, sample: torch.Tensor) -> torch.Tensor:
        return sample.clamp(-1.0, 1.0)


@torch.inference_mode()
def denoise(unet: UNet2DModel, scheduler: SchedulerMixin, seed: int, batch: range, bf16: bool) -> torch.Tensor:
    """Model images `(len(batch), 3, H, W)`, each from its own generator; the walk is in fp32."""
    device, size = unet.device, unet.config.sample_size
    generators = [image_generator(seed, image) for image in batch]
    noise = [torch.randn((unet.config.in_channels, size, size), generator=g) for g in generators]
    x = torch.stack(noise).to(device, memory_format=torch.channels_last) * scheduler.init_noise_sigma
    extra: dict[str, Any] = {"generator": generators} if isinstance(scheduler, DDPMScheduler) else {}
    if isinstance(scheduler, DDIMScheduler):
        extra = {"use_clipped_model_output": True}  # else noise and clipped image disagree, and air turns grey
    for t in scheduler.timesteps:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            prediction = unet(scheduler.scale_model_input(x, t), t).sample
        x = scheduler.step(prediction.float(), t, x, **extra).prev_sample
    return x
