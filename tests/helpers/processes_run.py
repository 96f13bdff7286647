"""What each process of a two-process test does; started by a launcher, or called in the test's own."""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from mammorgb_utils.diffusion.engine.base import load_base
from mammorgb_utils.diffusion.engine.processes import Processes
from mammorgb_utils.diffusion.engine.sample_store import sample_study
from mammorgb_utils.diffusion.engine.state import Recipe, State
from mammorgb_utils.diffusion.learning import training_step
from mammorgb_utils.diffusion.training import PairSource, train
from mammorgb_utils.protocol import Protocol


def first_gradients(pairs: np.ndarray, protocol: Protocol, processes: Processes) -> dict[str, torch.Tensor]:
    """Gradients of the first step, before clipping."""
    recipe = Recipe(steps=1, batch_size=protocol.batch_size, seed=protocol.seed, learning_rate=0.0, weight_decay=0.0,
                    max_grad_norm=1e9, precision="fp32")
    unet, scheduler = load_base(protocol.base_model, protocol.image_size)
    state = State(unet, recipe, processes.device)
    state.model = processes.joined(state.unet)
    training_step(state, scheduler, PairSource(pairs, "sum", 0.5, recipe), recipe, protocol.accumulation, processes)
    return {name: weight.grad.clone() for name, weight in state.weights.items()}


def work(root: Path, out: Path) -> None:
    """Gradients of step 1, the model after all steps of `root/protocol.json` and samples of it, into `out`."""
    protocol = Protocol.model_validate_json((root / "protocol.json").read_text())
    pairs, processes = np.load(root / "pairs.npy"), Processes()
    gradients = first_gradients(pairs, protocol, processes)
    model = train(pairs, protocol, "sum", out, progress=False)
    assert (model / "model_index.json").is_file() or not processes.is_first
    if processes.is_first:
        (out / "samples").mkdir()
    processes.wait()
    sample_study(model, protocol, out / "samples" / "pairs.npy", progress=False)
    if processes.is_first:
        save_file({name: gradient.contiguous() for name, gradient in gradients.items()}, out / "gradients.safetensors")
        (out / "processes.txt").write_text(str(processes.size))


if __name__ == "__main__":
    torch.set_num_threads(1)
    work(Path(sys.argv[1]), Path(sys.argv[2]))
