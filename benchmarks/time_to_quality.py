"""How long a training takes to a given held-out loss: this recipe beside AdamW in fp32 on the net it had before.

`python -m benchmarks.time_to_quality` writes `results/time_to_quality.csv`, one row a target and recipe. Both pretrain
from scratch on the same views, in turns of a few steps, one thread each, at constant rates; CPU time is counted, so
that other work on the machine takes little from the ratio, and measuring is not.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mammorgb_utils.data.base_views import HELDOUT_BREASTS, base_views
from mammorgb_utils.diffusion.engine.base import device_name, pick_device, resolve_precision
from mammorgb_utils.diffusion.engine.pretrain import (
    CHANNELS,
    GROUPS,
    RECIPE,
    ViewSource,
    noise_schedule,
    small_unet,
    unrelated_images,
)
from mammorgb_utils.diffusion.engine.state import Recipe, State
from mammorgb_utils.diffusion.learning import denoising_losses, training_step
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "time_to_quality.csv"
COMMON = RECIPE | {"lr_schedule": "constant", "warmup_steps": 20, "ema_decay": 0.95, "steps": 10**6, "seed": 64}
RECIPES: dict[str, tuple[dict[str, Any], tuple[int, ...], int]] = {
    "this": ({}, CHANNELS, GROUPS),
    "AdamW, fp32": ({"optimizer": "adamw", "learning_rate": 4e-4, "timestep_mix": "uniform", "precision": "fp32"},
                    (16, 32, 96, 160), 16)}
TURN, MEASURED, MOST = 20, 24, 3000  # steps of a turn, held-out images, steps after which a target isn't reached


@dataclass
class Arm:
    """A training and what it took so far."""

    recipe: Recipe
    state: State
    source: ViewSource
    seconds: float = 0.0
    reached: dict[float, tuple[float, int]] = field(default_factory=dict)

    def turn(self, heldout: torch.Tensor, targets: list[float]) -> float:
        """Some steps, then the loss of the averaged weights; targets that it is below are reached."""
        start = time.process_time()
        for _ in range(TURN):
            training_step(self.state, noise_schedule(), self.source, self.recipe)
        self.seconds += time.process_time() - start
        kept = {name: weight.detach().clone() for name, weight in self.state.weights.items()}
        with torch.no_grad():
            for name, average in self.state.ema.items():
                self.state.weights[name].copy_(average)
            loss = denoising_losses(self.state.unet.eval(), noise_schedule(), heldout, seed=self.recipe.seed).mean()
            for name, weight in kept.items():
                self.state.weights[name].copy_(weight)
        self.state.unet.train()
        for target in targets:
            if loss <= target:
                self.reached.setdefault(target, (self.seconds, self.state.step))
        return float(loss)


def start(name: str, views: np.ndarray) -> Arm:
    """A recipe before its first step."""
    choices, channels, groups = RECIPES[name]
    recipe = Recipe(**COMMON | choices)
    state = State(small_unet(views.shape[-1], channels, recipe.seed, groups), recipe, pick_device())
    return Arm(recipe, state, ViewSource(views, recipe))


def main() -> None:
    """Train in turns until both recipes have reached the lowest target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--breasts", type=int, default=6144, help="phantoms of the base, the held-out ones included")
    parser.add_argument("--views", type=Path, default=PROJECT_ROOT / "runs" / "phantom-base-64" / "views.npy")
    parser.add_argument("--targets", type=float, nargs="+", default=[0.3, 0.25, 0.2], help="held-out losses")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    views = base_views(options.breasts, 64, Protocol.load("laptop"), cache=options.views)
    learned, unseen = views[:-2 * HELDOUT_BREASTS], np.array(views[-2 * HELDOUT_BREASTS:])
    heldout, targets = unrelated_images(unseen)[:MEASURED], sorted(options.targets, reverse=True)
    arms = {name: start(name, learned) for name in RECIPES}
    while waiting := [name for name, arm in arms.items() if targets[-1] not in arm.reached and arm.state.step < MOST]:
        for name in waiting:
            print(f"{name}: {arms[name].turn(heldout, targets):.3f} after {arms[name].seconds:.0f} s", flush=True)
    unreached = (float("nan"), MOST)
    rows = [{"target": target, "recipe": name, "seconds": round(arm.reached.get(target, unreached)[0], 1),
             "steps": arm.reached.get(target, unreached)[1], "channels": "-".join(map(str, RECIPES[name][1])),
             "precision": resolve_precision(arm.recipe.precision, pick_device())}
            for target in targets for name, arm in arms.items()]
    table = pd.DataFrame(rows)
    first = table.groupby("target")["seconds"].transform("first")
    device = device_name(pick_device())
    write_csv(options.out, table.assign(ratio=(table["seconds"] / first).round(2), device=device,
                                        torch=torch.__version__))
    print(table)


if __name__ == "__main__":
    main()
