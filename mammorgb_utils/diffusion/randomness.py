"""Stateless randomness: what a step or an image draws is a function of its number and the seed.

Nothing has to be saved to resume a run, and splitting a batch over passes or processes changes no draw.
The three encodings share all draws of one seed, which makes them a paired comparison.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from mammorgb_utils.streams import Stream


def batch_indices(n: int, batch_size: int, seed: int, step: int, stream: int = 0) -> np.ndarray:
    """Members of one step's batch, drawn without replacement through each epoch.

    Args:
        n: Number of items to draw from.
        batch_size, seed, step: Which batch; steps count from 0.
        stream: Separates orders that must not coincide, as of several views put together.

    Returns:
        `(batch_size,)` indices; a batch that crosses the end of an epoch goes on into the next permutation.
    """
    epochs, offsets = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), n)
    return np.array([_epoch_order(n, seed, int(e), stream)[o] for e, o in zip(epochs, offsets, strict=True)])


def timesteps(n_timesteps: int, batch_size: int, seed: int, step: int, mix: str = "uniform") -> np.ndarray:
    """Diffusion timesteps of one step's batch.

    Args:
        n_timesteps: Length of the noise schedule.
        batch_size, seed, step: Which batch.
        mix: `"uniform"`; `"middle"`: every second one logit-normal, as middle timesteps hold most of the structure.

    Returns:
        `(batch_size,)` int64 in [0, n_timesteps).

    Source:
        Ho et al. 2020 (uniform), Esser et al. 2024 (logit-normal).
    """
    generator = _generator(seed, Stream.TIMESTEP, step)
    drawn = generator.integers(0, n_timesteps, size=batch_size)
    if mix == "middle":
        normal = generator.standard_normal(batch_size // 2)
        drawn[1::2] = np.floor(n_timesteps / (1 + np.exp(-normal))).astype(np.int64)
    return drawn


def training_noise(shape: tuple[int, ...], seed: int, step: int, examples: range) -> torch.Tensor:
    """Gaussian noise `(len(examples), *shape)` float32; example j's depends on (seed, step, j) alone."""
    return _normal(shape, (seed, Stream.TRAINING_NOISE, step), examples)


def probe_noise(shape: tuple[int, ...], seed: int, timestep: int, images: range) -> torch.Tensor:
    """As `training_noise`, for measuring a model: image i's at a timestep is the same in every model."""
    return _normal(shape, (seed, Stream.PROBE_NOISE, timestep), images)


def _normal(shape: tuple[int, ...], key: tuple[int, ...], members: range) -> torch.Tensor:
    noise = np.empty((len(members), *shape), dtype=np.float32)
    for row, member in zip(noise, members, strict=True):
        _generator(*key, member).standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(noise)


def image_generator(seed: int, image: int) -> torch.Generator:
    """CPU generator of one sampled image; it serves the initial noise and the noise of ancestral samplers."""
    state = np.random.SeedSequence([seed, Stream.SAMPLED_IMAGE, image]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def initial_weights_seed(seed: int) -> int:
    """Seed of a freshly initialised network."""
    return int(np.random.SeedSequence([seed, Stream.INITIAL_WEIGHTS]).generate_state(1)[0])


@lru_cache(maxsize=1)
def control_order(n: int, seed: int) -> np.ndarray:
    """`(n,)` partner of each of `n` items, never itself, each one once."""
    order = _generator(seed, Stream.CONTROL_CHANNEL).permutation(n)
    partners = np.empty(n, dtype=np.int64)
    partners[order] = np.roll(order, 1)
    return partners


def control_picture(shape: tuple[int, ...], seed: int, item: int) -> np.ndarray:
    """White noise, uniform in [0, 1], float32; item i's depends on (seed, i) alone."""
    return _generator(seed, Stream.CONTROL_CHANNEL, item).random(shape, dtype=np.float32)


@lru_cache(maxsize=8)
def _epoch_order(n: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    return _generator(seed, Stream.BATCH_ORDER, epoch, stream).permutation(n)


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))
