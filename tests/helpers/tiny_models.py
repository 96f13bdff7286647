"""Half-ellipses on black instead of mammograms, and bases of a few thousand parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file

SIZE = 16
SMALL = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": SIZE,
         "down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}


def blob_pairs(n: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """`(n, 2, size, size)` float32 in [0, 1]: both views of a pair share size, height and brightness."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    pairs = np.zeros((n, 2, size, size), np.float32)
    for pair in pairs:
        height, width, centre, bright = rng.uniform([0.2, 0.3, 0.4, 0.3], [0.45, 0.8, 0.6, 0.9])
        for view, stretch in zip(pair, (1.0, 1.1), strict=True):
            inside = ((y - centre) / (height * stretch)) ** 2 + (x / width) ** 2 < 1
            view[inside] = np.clip(bright + 0.1 * rng.standard_normal(inside.sum()), 0.05, 1)
    return pairs


def save_base(folder: Path, *, prediction: str = "v_prediction", nested: bool = True, **config) -> Path:
    """A pipeline with random weights; `nested=False` keeps all files at the top, as the published bases do."""
    torch.manual_seed(0)
    unet = UNet2DModel(**SMALL | config)
    scheduler = DDPMScheduler(prediction_type=prediction, beta_schedule="squaredcos_cap_v2")
    if nested:
        DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder)
    else:
        unet.save_pretrained(folder)
        scheduler.save_pretrained(folder)
        (folder / "model_index.json").write_text(
            '{"_class_name": "DDPMPipeline", "_diffusers_version": "0.1.1", '
            '"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}')
    return folder


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "unet" / "diffusion_pytorch_model.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
