"""A small Siamese network: one encoder for both views of a pair, and what their two codes say together."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mammorgb_utils.diffusion.engine.base import make_repeatable, pick_device
from mammorgb_utils.diffusion.randomness import batch_indices, initial_weights_seed
from mammorgb_utils.experiments.utility.pool import Items, Pool
from mammorgb_utils.streams import Stream, generator

BATCH = 32  # items a step, half of each class
LEARNING_RATE, WEIGHT_DECAY = 3e-3, 0.05  # of AdamW; the rate falls to 0 by a cosine
_PATCH = 4  # px a side that the first layer sees at once
_WIDTHS = (16, 32)  # channels of the first layer, and of all others, each of which halves the size
_CODE = 32  # numbers that a view is told by
_SMALLEST = 8  # px a side at which convolving ends
_SCORED = 512  # views embedded at once
SHIFT, SCALE, GREY = 0.04, 0.08, 0.15  # reach of augmentation: of the height, of both sides, of the intensity


class Siamese(nn.Module):
    """Scores pairs of views of `size` × `size` pixels.

    A view's code keeps the depth from the chest wall, on which both views of a breast agree, and takes mean and maximum
    over the height, on which they don't. The head sees sum, distance and product of the two codes. Weights of its own
    for each view would part the codes faster than pairs bring them together: nothing is learned then.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        width, size = _WIDTHS[0], size // _PATCH
        layers = [nn.Conv2d(1, width, _PATCH, stride=_PATCH), nn.GroupNorm(4, width), nn.SiLU()]
        while size > _SMALLEST:
            layers += [nn.Conv2d(width, _WIDTHS[1], 3, stride=2, padding=1), nn.GroupNorm(4, _WIDTHS[1]), nn.SiLU()]
            width, size = _WIDTHS[1], (size + 1) // 2
        self.encoder = nn.Sequential(*layers)
        self.code = nn.Linear(2 * width * size, _CODE)
        self.head = nn.Sequential(nn.Linear(3 * _CODE, _CODE), nn.SiLU(), nn.Linear(_CODE, 1))

    def embed(self, views: torch.Tensor) -> torch.Tensor:
        """`(N, 32)` codes of `(N, H, W)` views in [0, 1]."""
        found = self.encoder(views[:, None])
        return self.code(torch.cat([found.mean(dim=2), found.amax(dim=2)], dim=1).flatten(1))

    def compare(self, cc: torch.Tensor, mlo: torch.Tensor) -> torch.Tensor:
        """`(N,)` logits of the codes of CC and MLO views."""
        return self.head(torch.cat([cc + mlo, (cc - mlo).abs(), cc * mlo], dim=1))[:, 0]


def fit_siamese(pool: Pool, items: Items, *, steps: int, seed: int, augment: bool = False) -> Siamese:
    """Train a network on items of both classes, equally many of each a step; the last step counts.

    Args:
        pool, items: What is learned from.
        steps: Optimiser steps, whatever the number of items.
        seed: Of weights, batches and augmentation; each is a function of (seed, step).
        augment: Whether to change every pair a little, both views alike, see `augmented`.
    """
    device = pick_device()
    make_repeatable(device)
    model = _fresh(next(iter(pool.parts.values())).shape[-1], seed).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    classes = [np.flatnonzero(items.label == label) for label in (True, False)]
    target = torch.arange(BATCH, device=device) < BATCH // 2
    for step in range(steps):
        drawn = np.concatenate([places[batch_indices(len(places), BATCH // 2, seed, step, stream)]
                                for stream, places in enumerate(classes)])
        views = [torch.from_numpy(pool.views(rows[drawn], view)).to(device)
                 for view, rows in enumerate((items.cc, items.mlo))]
        if augment:
            views = augmented(views, generator(seed, Stream.UTILITY_AUGMENTATION, step))
        cc, mlo = model.embed(torch.cat(views)).chunk(2)
        loss = functional.binary_cross_entropy_with_logits(model.compare(cc, mlo), target.float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def score_siamese(model: Siamese, pool: Pool, items: Items) -> np.ndarray:
    """`(M,)` float32 logits of items; every view is embedded once."""
    codes = [_codes(model, pool, rows, view) for view, rows in enumerate((items.cc, items.mlo))]
    return model.compare(*codes).cpu().numpy()


def augmented(views: list[torch.Tensor], rng: np.random.Generator) -> list[torch.Tensor]:
    """Pairs a little higher or lower, larger or smaller, and with another grey scale.

    Size and grey scale change alike in both views of an item, so that what belongs together still does; the height,
    which is positioning, in each view by itself. Depth stays measured from the chest wall.

    Args:
        views: `(N, H, W)` CC and MLO views in [0, 1].
        rng: Draws by less than `SHIFT` of the height, `SCALE` of both sides and `GREY` of the exponent of intensity.
    """
    n = len(views[0])
    scale, power = (np.exp(rng.uniform(-reach, reach, n)).astype(np.float32) for reach in (SCALE, GREY))
    power, changed = torch.from_numpy(power).to(views[0].device)[:, None, None], []
    for view in views:
        shift = 2.0 * rng.uniform(-SHIFT, SHIFT, n)
        theta = np.zeros((n, 2, 3), np.float32)  # output to input, both from −1 to 1; the left edge stays where it is
        theta[:, 0, 0], theta[:, 0, 2], theta[:, 1, 1], theta[:, 1, 2] = scale, scale - 1.0, scale, shift
        grid = functional.affine_grid(torch.from_numpy(theta).to(view.device), [n, 1, *view.shape[1:]],
                                      align_corners=False)
        moved = functional.grid_sample(view[:, None], grid, align_corners=False)[:, 0]
        changed.append(moved.clamp(0.0, 1.0) ** power)
    return changed


def settings() -> dict[str, object]:
    """What decides a training beside its items, seed and steps: the network's shape, optimiser and augmentation."""
    return {"shape": [_PATCH, _WIDTHS, _CODE, _SMALLEST], "optimizer": [BATCH, LEARNING_RATE, WEIGHT_DECAY],
            "augmentation": [SHIFT, SCALE, GREY]}


def _fresh(size: int, seed: int) -> Siamese:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_weights_seed(seed))
        return Siamese(size)


def _codes(model: Siamese, pool: Pool, rows: np.ndarray, view: int) -> torch.Tensor:
    known, place = np.unique(rows, return_inverse=True)
    device = next(model.parameters()).device
    parts = [model.embed(torch.from_numpy(pool.views(known[start:start + _SCORED], view)).to(device))
             for start in range(0, len(known), _SCORED)]
    return torch.cat(parts)[torch.from_numpy(place).to(device)]
