"""What a training draws on its way, from the same noise each time: progress that a loss doesn't show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler
from PIL import Image

from mammorgb_utils.diffusion.encoding import decode_batch
from mammorgb_utils.diffusion.engine.state import State
from mammorgb_utils.diffusion.sampling import denoise, make_sampler
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
            walk = make_sampler(scheduler, "dpmsolver++", _SOLVER_STEPS, state.unet.device)
            rgb = decode_batch(denoise(state.unet, walk, seed, range(_PAIRS), bf16)).cpu().numpy()
        finally:
            for name, weight in kept.items():
                state.weights[name].copy_(weight)
    views = np.uint8(255 * rgb[:, :2] + 0.5)
    strip = np.concatenate([np.concatenate(list(pair)) for pair in views], axis=1)
    path = folder / f"step-{state.step:08d}.png"
    with atomic_path(path) as temporary:
        Image.fromarray(strip).save(temporary, format="PNG")
    return path
