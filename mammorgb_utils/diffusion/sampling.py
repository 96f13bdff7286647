"""Sampling of synthetic pairs from a trained model folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, SchedulerMixin, UNet2DModel

from mammorgb_utils.diffusion.denoising import SamplingError, denoise, solver
from mammorgb_utils.diffusion.encoding import decode_batch
from mammorgb_utils.diffusion.engine.base import pick_device, resolve_precision
from mammorgb_utils.diffusion.engine.progress import progress_bar
from mammorgb_utils.diffusion.training import RECORD
from mammorgb_utils.protocol import Protocol


def sample_pairs(model_dir: Path, n: int, protocol: Protocol, seed: int, *, start: int = 0, return_third: bool = False,
                 progress: bool = True) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Draw synthetic pairs.

    Args:
        model_dir: Folder written by `train`.
        n: Number of pairs.
        protocol: Decides `sampler`, `sampling_steps`, `sampling_batch` and `precision`.
        seed, start: Image i of `start … start + n − 1` is a function of (seed, i) alone; batches and shards change
            it within rounding only.
        return_third: Also return the third channel.
        progress: Whether to show a progress bar.

    Returns:
        `(n, 2, H, W)` float32 in [0, 1], CC first, read from R and G in float; with `return_third` also B, `(n, H, W)`.

    Raises:
        SamplingError: `model_dir` isn't a finished model, or n is not positive.
    """
    model_dir = Path(model_dir)
    if not (model_dir / RECORD).is_file():
        raise SamplingError(f"{model_dir} holds no {RECORD}: it isn't a finished model; train it first (notebook 02)")
    if n < 1:
        raise SamplingError(f"n is {n}; at least one pair is needed")
    device = pick_device()
    unet = UNet2DModel.from_pretrained(model_dir / "unet", use_safetensors=True, torch_dtype=torch.float32)
    # Without gradients this layout is the faster one on CPUs too.
    unet = unet.to(device, memory_format=torch.channels_last).eval()
    bf16 = resolve_precision(protocol.precision, device) == "bf16"
    numbers = range(start, start + n)
    what = f"sampling {json.loads((model_dir / RECORD).read_text(encoding='utf-8'))['encoding']}"
    rgb = []
    with progress_bar(what, n, show=progress, unit="pair") as bar:
        for first in range(0, n, protocol.sampling_batch):
            batch = numbers[first:first + protocol.sampling_batch]
            scheduler = make_sampler(model_dir, protocol.sampler, protocol.sampling_steps, device)
            rgb.append(decode_batch(denoise(unet, scheduler, seed, batch, bf16)).cpu().numpy())
            bar.update(len(batch))
    images = np.concatenate(rgb)
    return (images[:, :2].copy(), images[:, 2].copy()) if return_third else images[:, :2].copy()


def make_sampler(model_dir: Path, sampler: str, steps: int, device: torch.device) -> SchedulerMixin:
    """The solver that walks the trained noise schedule in `steps` steps; prediction type and schedule are the model's.

    Source:
        `Protocol.sampler`: Ho et al. 2020 (ddpm, the paper's reference), Song et al. 2021 (ddim, eta 0),
        Lu et al. 2022 (dpmsolver++, second order, multistep).
    """
    return solver(DDPMScheduler.from_pretrained(model_dir / "scheduler"), sampler, steps, device)
