"""What a training step with Muon takes beside the same with torch's own Muon, which always computes in bfloat16.

`python -m benchmarks.muon_update` prints and writes results/muon_update.csv: the small base, its update alone and whole
steps at the precision of this machine, both sides in turns in one process. A CPU that computes in bfloat16 uses torch's
own, so that its ratio is 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import numpy as np
import pandas as pd
import torch

from benchmarks.diffusion_speed import in_turns
from mammorgb_utils.diffusion.engine.base import device_name, load_base, pick_device, resolve_precision
from mammorgb_utils.diffusion.engine.state import Recipe, State
from mammorgb_utils.diffusion.learning import training_step
from mammorgb_utils.diffusion.training import PairSource
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "muon_update.csv"


def with_torchs(state: State, recipe: Recipe) -> State:
    """The same state, its kernels moved by torch's own Muon."""
    own = state.optimizer
    own._muon = torch.optim.Muon(own._matrices.values(), lr=recipe.muon_learning_rate, weight_decay=recipe.weight_decay)
    return state


def works(protocol: Protocol) -> dict[str, list[Callable[[], object]]]:
    """Ours and torch's of each work: one update, its gradients given, and one step from images to weights."""
    unet, scheduler = load_base(protocol.base_model, protocol.image_size)
    recipe = Recipe(steps=10_000, batch_size=protocol.batch_size, seed=0, learning_rate=protocol.learning_rate,
                    optimizer="muon", muon_learning_rate=protocol.muon_learning_rate, ema_decay=protocol.ema_decay)
    pairs = np.random.default_rng(0).random((64, 2, protocol.image_size, protocol.image_size), dtype=np.float32)
    source = PairSource(pairs, "sum", protocol.sum_scale, recipe)
    first = State(unet, recipe, pick_device())
    second = with_torchs(State(load_base(protocol.base_model, protocol.image_size)[0], recipe, pick_device()), recipe)
    for state in (first, second):
        training_step(state, scheduler, source, recipe)  # leaves gradients
    return {"update": [lambda state=state: state.optimizer.step(1.0) for state in (first, second)],
            "training step": [lambda state=state: training_step(state, scheduler, source, recipe)
                              for state in (first, second)]}


def main() -> None:
    """Time both works in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    rows = []
    for work, (ours, torchs) in works(Protocol.load("laptop")).items():
        seconds = in_turns(ours, torchs, options.turns)
        ratios = sorted(other / own for own, other in seconds)
        rows.append({"work": work, "seconds": median(own for own, _ in seconds),
                     "seconds_torch": median(other for _, other in seconds), "ratio": median(ratios),
                     "ratio_low": ratios[0], "ratio_high": ratios[-1], "turns": options.turns,
                     "precision": resolve_precision("auto", pick_device()), "device": device_name(pick_device()),
                     "torch": torch.__version__})
    table = pd.DataFrame(rows).round(3)
    write_csv(RESULT, table)
    print(table.T.to_string())


if __name__ == "__main__":
    main()
