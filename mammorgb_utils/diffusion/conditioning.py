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

CARD = """# Pairs of a given breast density

This model was trained with labels. `DDPMPipeline.from_pretrained` opens the folder, but its call passes no label.
Draw with `sample_pairs(folder, 8, protocol, seed=0, grade="C", guidance=2.0)` of `mammorgb_utils.diffusion`, or, with
diffusers alone, in this folder:

```python
import torch
from diffusers import DDPMScheduler, UNet2DModel

unet = UNet2DModel.from_pretrained(".", subfolder="unet").eval()
scheduler = DDPMScheduler.from_pretrained(".", subfolder="scheduler")
scheduler.set_timesteps(50)
label, none = torch.tensor([2]), torch.tensor([4])  # A to D are 0 to 3, and 4 is no grade
guidance = 2.0  # 0 takes no notice of the label, 1 is the conditional model, more overstates it
x = torch.randn(1, 3, unet.config.sample_size, unet.config.sample_size)
with torch.inference_mode():
    for t in scheduler.timesteps:
        without = unet(x, t, none).sample
        x = scheduler.step(without + guidance * (unet(x, t, label).sample - without), t, x).prev_sample
cc, mlo = (x[0, :2] / 2 + 0.5).clamp(0, 1)
```
"""  # of a model's folder


def labels_of(grades: Sequence[str]) -> np.ndarray:
    """`(N,)` int64 labels of BI-RADS density grades; NULL where a grade is empty or none of `GRADES`."""
    return np.array([GRADES.index(grade) if grade in GRADES else NULL for grade in grades], dtype=np.int64)


def fault_of(grades: Sequence[str]) -> str:
    """Why the grades of training pairs can't be learned, such as `A: 3, D: 7` or `no grade`; empty where they can."""
    counts = np.bincount(labels_of(grades), minlength=NULL + 1)[:NULL]
    few = [f"{grade}: {count}" for grade, count in zip(GRADES, counts, strict=True) if 0 < count < FEWEST]
    return ", ".join(few) or ("" if counts.any() else "no grade")


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
