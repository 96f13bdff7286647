"""Does a model know which views belong together: its own loss on a pair against that on strangers, without sampling."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel

from mammorgb_utils.diffusion.encoding import CONTROLS, control_channel, encode_batch, stack_batch
from mammorgb_utils.diffusion.learning import TIMESTEPS, denoising_losses


def pairing_losses(model: tuple[UNet2DModel, DDPMScheduler], pairs: np.ndarray, candidates: np.ndarray, encoding: str,
                   *, seed: int, sum_scale: float = 0.5, timesteps: tuple[int, ...] = TIMESTEPS) -> np.ndarray:
    """A model's denoising loss on each CC with its own MLO and with those of strangers, under the same noise.

    Args:
        model: As `open_for_sampling` gives it.
        pairs: `(N, 2, H, W)` in [0, 1], CC first, that the model never saw.
        candidates: `(N, K)` rows of `pairs` whose MLO each CC is put beside; its own row first.
        encoding, sum_scale: How a third channel is made of two views; what the model was trained with. That of a
            control is the CC's, whichever MLO stands beside it.
        seed: Of the noise; it is of the CC and the timestep, the same for every candidate.
        timesteps: Where on the noise schedule; the middle ones hold what two views share.

    Returns:
        `(N, K, len(timesteps))` float64: mean squared error of the prediction, in the two views alone: a third channel
        is made of the candidate too, and a sum of two views that fit is easier to predict even for a model that never
        saw a pair. A model that learned what two views share predicts best beside the own MLO.

    Raises:
        ValueError: The first candidate isn't the CC's own row.

    Source:
        A diffusion model as a classifier: Li et al. 2023, here of pairs.
    """
    if not np.array_equal(candidates[:, 0], np.arange(len(pairs))):
        raise ValueError("candidates: the first of each row must be the CC's own row")
    cc, mlo = (torch.from_numpy(np.array(pairs[:, view], np.float32)) for view in (0, 1))
    beside = (torch.stack([cc, mlo[rows]], dim=1) for rows in candidates.T)
    if encoding in CONTROLS:
        third = torch.from_numpy(control_channel(pairs, encoding, np.arange(len(pairs)), seed))
        images = (stack_batch(views, third) for views in beside)
    else:
        images = (encode_batch(views, encoding, sum_scale) for views in beside)
    losses = [denoising_losses(*model, batch, seed=seed, timesteps=timesteps, channels=2) for batch in images]
    return np.stack(losses, axis=1)
