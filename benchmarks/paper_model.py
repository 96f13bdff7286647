"""The paper's UNet at 256 × 256 pixels here: one training step, its memory and counted work, and a forward pass.

`python -m benchmarks.paper_model` prints and writes results/paper_model.csv. Weights are random: time and memory don't
depend on them. docs/scaling.md takes the step's work from the file.
"""

from __future__ import annotations

import time
from importlib.metadata import version

import pandas as pd
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch.utils.flop_counter import FlopCounterMode

from mammorgb_utils.diffusion.engine.base import device_name, pick_device
from mammorgb_utils.diffusion.engine.progress import peak_memory_mb
from mammorgb_utils.diffusion.engine.state import Recipe, State
from mammorgb_utils.diffusion.learning import training_step
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "paper_model.csv"
SIZE = 256  # px
# Architecture of google/ddpm-celebahq-256, as its published config.json states it.
ARCHITECTURE = {
    "sample_size": SIZE, "in_channels": 3, "out_channels": 3, "layers_per_block": 2,
    "block_out_channels": (128, 128, 256, 256, 512, 512), "downsample_padding": 0, "flip_sin_to_cos": False,
    "freq_shift": 1, "norm_eps": 1e-6, "norm_num_groups": 32, "attention_head_dim": None,
    "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4}


class OneImage:
    """A batch source of noise."""

    data_sha256 = ""

    def __len__(self) -> int:
        return 1

    def images(self, step: int, examples: range) -> torch.Tensor:
        return torch.randn((len(examples), 3, SIZE, SIZE), generator=torch.Generator().manual_seed(step)).to(
            pick_device())

    def labels(self, step: int, examples: range) -> None:
        """None: unconditional."""


def main() -> None:
    torch.manual_seed(0)
    device, unet = pick_device(), UNet2DModel(**ARCHITECTURE)
    recipe = Recipe(steps=1, batch_size=1, seed=0, learning_rate=1e-5, precision="fp32")
    state, scheduler = State(unet, recipe, device), DDPMScheduler()
    start = time.perf_counter()
    with FlopCounterMode(display=False) as counted:
        loss, _ = training_step(state, scheduler, OneImage(), recipe)
    step = time.perf_counter() - start
    with torch.inference_mode():
        image, t = OneImage().images(0, range(1)), torch.zeros(1, dtype=torch.long, device=device)
        start = time.perf_counter()
        unet(image, t)
        forward = time.perf_counter() - start
    row = {"work": "one training step with AdamW, one image, fp32", "parameters": unet.num_parameters(),
           "loss": round(loss, 4), "step_seconds": round(step, 2), "forward_seconds": round(forward, 2),
           "gflop_step": round(counted.get_total_flops() / 1e9, 1), "peak_memory_mb": peak_memory_mb(device),
           "device": device_name(device), "torch": version("torch"), "diffusers": version("diffusers")}
    write_csv(RESULT, pd.DataFrame([row]))
    print(pd.Series(row).to_string())


if __name__ == "__main__":
    main()
