"""Which recipe learns most in equal time: pretraining from scratch, judged by held-out denoising loss.

`python -m benchmarks.training_recipes` writes `results/training_recipes.csv`, one row a recipe. Each is given the steps
that fit the time on one core of this machine, so that its rate decays to zero within it; CPU time is counted, so that
other work on the machine favours nobody.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

from mammorgb_utils.data.base_views import HELDOUT_BREASTS, base_views
from mammorgb_utils.diffusion.engine.base import device_name, pick_device, resolve_precision
from mammorgb_utils.diffusion.engine.loop import fit
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
from mammorgb_utils.diffusion.learning import TIMESTEPS, denoising_losses, training_step
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "training_recipes.csv"
SMALL = (16, 32, 96, 160)
USED = {"channels": CHANNELS, "groups": GROUPS}
TRIALS: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": "adamw", "timestep_mix": "uniform"},
    "Muon": {"muon_learning_rate": 0.01, "timestep_mix": "uniform"},
    "Muon, middle timesteps": {"muon_learning_rate": 0.01},
    "Muon at twice the rate, middle timesteps": {"muon_learning_rate": 0.02},
    "Muon, middle timesteps, top level 24": {"muon_learning_rate": 0.01, "channels": (24, 48, 96, 160), "groups": 8},
    "Muon, middle timesteps, top level 32": {"muon_learning_rate": 0.01, "channels": (32, 64, 96, 160)},
    "the recipe in use": USED,
    "the recipe in use, two resnets a level": USED | {"resnets": 2},
    "the net in use, AdamW": USED | {"optimizer": "adamw", "timestep_mix": "uniform"},
}


def seconds_a_step(source: ViewSource, recipe: Recipe, net: dict[str, Any]) -> float:
    """Median of a few steps, after two that warm up."""
    state, times = State(small_unet(64, seed=recipe.seed, **net), recipe, pick_device()), []
    for _ in range(8):
        start = time.process_time()
        training_step(state, noise_schedule(), source, recipe)
        times.append(time.process_time() - start)
    return float(np.median(times[2:]))


def trial(name: str, views: np.ndarray, heldout: torch.Tensor, seconds: float) -> dict[str, Any]:
    """Train one recipe for so long, and measure its averaged weights on held-out images."""
    choices = RECIPE | {"steps": 1, "seed": 64, "ema_decay": 0.98, "warmup_steps": 20} | TRIALS[name]
    net = {name: choices.pop(name, usual) for name, usual in {"channels": SMALL, "groups": 16, "resnets": 1}.items()}
    step_seconds = seconds_a_step(ViewSource(views, Recipe(**choices)), Recipe(**choices), net)
    recipe = Recipe(**choices | {"steps": int(seconds / step_seconds)})
    unet, scheduler = small_unet(64, seed=recipe.seed, **net), noise_schedule()
    start = time.process_time()
    with TemporaryDirectory() as folder:
        state = fit(unet, scheduler, ViewSource(views, recipe), recipe, Path(folder), {}, checkpoint_every=10**6,
                    what=name)
    taken = time.process_time() - start
    for key, average in state.ema.items():
        state.weights[key].data.copy_(average)
    losses = denoising_losses(unet.eval(), scheduler, heldout, seed=recipe.seed).mean(axis=0)
    fields = ("optimizer", "learning_rate", "muon_learning_rate", "timestep_mix", "steps")
    row = {"recipe": name, **net, "channels": "-".join(map(str, net["channels"]))}
    row |= {field: getattr(recipe, field) for field in fields}
    row |= {"parameters": sum(p.numel() for p in unet.parameters()), "seconds": round(taken),
            "seconds_a_step": round(step_seconds, 3), "loss": round(losses.mean(), 5)}
    return row | {f"loss_{t}": round(value, 5) for t, value in zip(TIMESTEPS, losses, strict=True)}


def main() -> None:
    """Run the trials that the result doesn't hold yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="of training a recipe")
    parser.add_argument("--breasts", type=int, default=6144, help="phantoms of the base, the held-out ones included")
    parser.add_argument("--views", type=Path, default=PROJECT_ROOT / "runs" / "phantom-base-64" / "views.npy")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    views = base_views(options.breasts, 64, Protocol.load("laptop"), cache=options.views)
    learned, unseen = views[:-2 * HELDOUT_BREASTS], np.array(views[-2 * HELDOUT_BREASTS:])
    heldout = unrelated_images(unseen)
    rows = pd.read_csv(options.out).to_dict("records") if options.out.is_file() else []
    for name in TRIALS:
        if name not in {row["recipe"] for row in rows}:
            row = trial(name, learned, heldout, options.minutes * 60)
            device = pick_device()
            rows.append(row | {"precision": resolve_precision("auto", device), "device": device_name(device),
                               "torch": torch.__version__})
            write_csv(options.out, pd.DataFrame(rows))
            print(pd.DataFrame(rows)[["recipe", "steps", "seconds_a_step", "loss", "loss_300", "loss_450"]])


if __name__ == "__main__":
    main()
