"""What an eye sees of diffusion: strips drawn on the way, a pair at several noise levels, a walk from noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler
from PIL import Image

from mammorgb_utils.diffusion.encoding import decode_batch
from mammorgb_utils.diffusion.engine.base import load_schedule, resolve_precision
from mammorgb_utils.diffusion.engine.state import State
from mammorgb_utils.diffusion.randomness import probe_noise
from mammorgb_utils.diffusion.sampling import denoise, make_sampler, open_for_sampling, walk
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import atomic_path

STRIPS = "strips"
_COUNT, _PAIRS, _SOLVER_STEPS = 6, 4, 15  # strips in a training, pairs in a strip, steps of DPM-Solver++ 2M


def strip_steps(steps: int) -> frozenset[int]:
    """Steps after which a strip is drawn: six evenly spaced ones, the last included."""
    return frozenset(-(-steps * i // _COUNT) for i in range(1, _COUNT + 1))


def draw_strip(state: State, scheduler: DDPMScheduler, seed: int, folder: Path, *, bf16: bool) -> Path:
    """Draw four pairs with the weights as they are, averaged ones where an average is kept.

    Args:
        state: Left as it is.
        scheduler: The trained noise schedule.
        seed: Of the noise; the same in each strip.
        folder: Gets `step-<step>.png`: 8 bits, CC above MLO, a pair a column.
        bf16: Whether to draw in half precision.

    Returns:
        The file.
    """
    kept = {name: weight.detach().clone() for name, weight in state.weights.items()} if state.ema else {}
    with torch.no_grad():
        for name, average in state.ema.items():
            state.weights[name].copy_(average)
        try:
            sampler = make_sampler(scheduler, "dpmsolver++", _SOLVER_STEPS)
            rgb = decode_batch(denoise(state.unet, sampler, seed, range(_PAIRS), bf16)).cpu().numpy()
        finally:
            for name, weight in kept.items():
                state.weights[name].copy_(weight)
    views = np.uint8(255 * rgb[:, :2] + 0.5)
    strip = np.concatenate([np.concatenate(list(pair)) for pair in views], axis=1)
    path = folder / f"step-{state.step:08d}.png"
    with atomic_path(path) as temporary:
        Image.fromarray(strip).save(temporary, format="PNG")
    return path


def noise_levels(pair: np.ndarray, protocol: Protocol, timesteps: Sequence[int]) -> np.ndarray:
    """One pair as the model meets it in training, at several timesteps, all with the same noise.

    Args:
        pair: `(2, H, W)` in [0, 1], CC first.
        protocol: Names the base, whose noise schedule it is, and the seed.
        timesteps: Of the schedule's 1,000.

    Returns:
        `(len(timesteps), 2, H, W)` float32 in [0, 1]; what the noise takes beyond the range is clipped.
    """
    clean = torch.from_numpy(np.array(pair, np.float32)).mul(2).sub(1)
    noise, schedule = probe_noise(tuple(clean.shape), protocol.seed, 0, range(1)), load_schedule(protocol.base_model)
    noisy = [schedule.add_noise(clean[None], noise, torch.tensor([t])) for t in timesteps]
    return decode_batch(torch.cat(noisy)).numpy()


def sample_walk(model_dir: Path, protocol: Protocol, image: int, moments: int) -> tuple[list[int], np.ndarray]:
    """How one synthetic pair of the study came about.

    Args:
        model_dir: Folder written by `train`.
        protocol: Sampler, steps and seed.
        image: Number of the pair.
        moments: How many steps to show, evenly spaced, the last one included.

    Returns:
        The timesteps that the shown steps started from, and the pair after each, `(moments, 2, H, W)` in [0, 1].

    Raises:
        SamplingError: `model_dir` isn't a finished model.
    """
    unet, trained = open_for_sampling(model_dir)
    sampler = make_sampler(trained, protocol.sampler, protocol.sampling_steps, protocol.sampling_spacing)
    bf16 = resolve_precision(protocol.precision, unet.device) == "bf16"
    steps = [(t, decode_batch(x)[0, :2].cpu().numpy())
             for t, x in walk(unet, sampler, protocol.seed, range(image, image + 1), bf16)]
    shown = [steps[i] for i in np.linspace(0, len(steps) - 1, moments).round().astype(int)]
    return [t for t, _ in shown], np.stack([pair for _, pair in shown])
