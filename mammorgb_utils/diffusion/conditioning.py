"""Pairs of a given breast density: labels of a training, and their weight in sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import UNet2DModel

from mammorgb_utils.streams import Stream, generator

GRADES = ("A", "B", "C", "D")  # of the manifest's column `density`
NULL = len(GRADES)  # the label that says nothing: of an unknown density, and of unconditional sampling
FEWEST = 20  # training pairs of a grade: with fewer it isn't learned
DROPOUT = 0.15  # share of labels left out in training, so that one model draws with and without them


def labels_of(grades: Sequence[str]) -> np.ndarray:
    """`(N,)` int64 labels of BI-RADS density grades; NULL where a grade is empty or none of `GRADES`."""
    return np.array([GRADES.index(grade) if grade in GRADES else NULL for grade in grades], dtype=np.int64)


def training_labels(labels: np.ndarray, seed: int, step: int, members: np.ndarray, examples: range) -> torch.Tensor:
    """Labels of some members of a step's batch, a share of them left out; example j's draw depends on (seed, step, j).

    Args:
        labels: Of all training pairs.
        seed, step: Which batch.
        members: `(len(examples),)` rows of the training pairs.
        examples: Their places in the batch.
    """
    left_out = [generator(seed, Stream.LABEL_DROPOUT, step, example).random() < DROPOUT for example in examples]
    return torch.from_numpy(np.where(left_out, NULL, labels[members]))


def predict(unet: UNet2DModel, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None,
            guidance: float = 1.0) -> torch.Tensor:
    """A model's prediction, unconditional where no label is given or the guidance is 0.

    Args:
        unet: A model with or without labels.
        x, t: `(N, 3, H, W)` noisy images and their timestep.
        labels: `(N,)`, of a model that has them.
        guidance: Weight w of `without + w · (with − without)`: 1 is the conditional prediction, more overstates it.

    Source:
        Ho & Salimans 2022, whose own weight is w − 1.
    """
    if unet.config.num_class_embeds is None:
        return unet(x, t).sample
    null = torch.full((len(x),), NULL, device=x.device)
    if labels is None or guidance == 0:
        return unet(x, t, null).sample
    if guidance == 1:
        return unet(x, t, labels).sample
    with_label, without = unet(torch.cat([x, x]), t, torch.cat([labels, null])).sample.chunk(2)
    return without + guidance * (with_label - without)


def add_labels(unet: UNet2DModel) -> UNet2DModel:
    """The same model with labels: their embedding begins at zero, so that it computes what it did, bit by bit."""
    labelled = UNet2DModel.from_config({**unet.config, "num_class_embeds": len(GRADES) + 1})
    missing, unexpected = labelled.load_state_dict(unet.state_dict(), strict=False)
    if unexpected or missing != ["class_embedding.weight"]:
        raise ValueError(f"labels can't be added: the base lacks {missing} and has {unexpected} besides")
    torch.nn.init.zeros_(labelled.class_embedding.weight)
    return labelled
