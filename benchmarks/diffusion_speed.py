"""Training and sampling beside diffusers: same UNet, batch and data, in turns in one process.

`python -m benchmarks.diffusion_speed` prints and writes results/diffusion_speed.csv, in fp32 and, where the machine has
it, in bf16, the peer then under torch's autocast. `convolutions` is the share of our time that passes in the library's
convolutions, which both sides call: only the rest can be saved around them.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from torch.profiler import ProfilerActivity, profile

from benchmarks.diffusion_peer import train
from mammorgb_utils.diffusion.encoding import encode_batch
from mammorgb_utils.diffusion.engine.base import device_name, load_base, resolve_precision
from mammorgb_utils.diffusion.engine.processes import Processes
from mammorgb_utils.diffusion.engine.progress import peak_memory_mb
from mammorgb_utils.diffusion.engine.state import Recipe, State
from mammorgb_utils.diffusion.learning import training_step
from mammorgb_utils.diffusion.sampling import sample_pairs
from mammorgb_utils.diffusion.training import PairSource
from mammorgb_utils.diffusion.training import train as fine_tune
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "diffusion_speed.csv"
TARGETS = {"training": 1.5, "sampling": 1.8}
Measured = tuple[list[tuple[float, float]], float]


def in_turns(ours: Callable[[], None], peer: Callable[[], None], turns: int,
             warm: int = 1) -> list[tuple[float, float]]:
    """Seconds of both, one after the other, so that a busy machine slows both alike."""
    pairs = []
    for turn in range(turns + warm):
        seconds = []
        for work in (ours, peer) if turn % 2 else (peer, ours):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        pairs.append(tuple(seconds) if turn % 2 else tuple(reversed(seconds)))
    return pairs[warm:]


def training(protocol: Protocol, pairs: np.ndarray, steps: int, turns: int) -> Measured:
    """Seconds of `steps` training steps, ours and the peer's, and the convolutions' share of ours."""
    unet, scheduler = load_base(protocol.base_model, protocol.image_size)
    recipe = Recipe(steps=10_000, batch_size=protocol.batch_size, seed=0, learning_rate=1e-4, ema_decay=0.98,
                    precision=protocol.precision)
    processes, source = Processes(), PairSource(pairs, "sum", protocol.sum_scale, recipe)
    state = State(copy.deepcopy(unet), recipe, processes.device)
    rgb = (encode_batch(torch.from_numpy(pairs), "sum", 0.5).permute(0, 2, 3, 1).numpy() + 1) / 2
    losses = train(unet, rgb, batch_size=protocol.batch_size, steps=10_000, bf16=protocol.precision == "bf16")

    def ours() -> None:
        for _ in range(steps):
            training_step(state, scheduler, source, recipe, 1, processes)

    def peer() -> None:
        for _ in range(steps):
            next(losses)

    return in_turns(ours, peer, turns), convolution_share(ours)


def sampling(model: Path, protocol: Protocol, n: int, turns: int) -> Measured:
    """Seconds of drawing `n` images in one batch with the DDPM sampler, ours and the pipeline's, and the share."""
    protocol = protocol.model_copy(update={"sampler": "ddpm", "sampling_batch": n})
    pipeline = DDPMPipeline.from_pretrained(model)
    pipeline.scheduler = DDPMScheduler.from_pretrained(model / "scheduler")
    pipeline.set_progress_bar_config(disable=True)
    generator, device = torch.Generator().manual_seed(0), Processes().device.type

    def ours() -> None:
        sample_pairs(model, n, protocol, 0, progress=False)

    def peer() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=protocol.precision == "bf16"):
            pipeline(batch_size=n, generator=generator, num_inference_steps=protocol.sampling_steps)

    return in_turns(ours, peer, turns), convolution_share(ours)


def convolution_share(work: Callable[[], None]) -> float:
    """Share of the processors' time that convolutions take, forward and backward."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        work()
    times = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    return sum(time for key, time in times.items() if "convolution" in key) / sum(times.values())


def row(work: str, unit: int, seconds: list[tuple[float, float]], share: float) -> dict[str, object]:
    """Rates by the median turn; the ratio is the median of the turns' own."""
    ours, peer = (median(turn[i] for turn in seconds) for i in (0, 1))
    ratios = sorted(turn[1] / turn[0] for turn in seconds)
    return {"work": work, "ours_images_per_s": round(unit / ours, 3), "peer_images_per_s": round(unit / peer, 3),
            "ratio": round(median(ratios), 3), "ratio_low": round(ratios[0], 3), "ratio_high": round(ratios[-1], 3),
            "target": TARGETS[work], "met": median(ratios) >= TARGETS[work], "convolutions": round(share, 3),
            "turns": len(seconds), "device": device_name(Processes().device), "torch": version("torch"),
            "diffusers": version("diffusers"), "peak_memory_mb": peak_memory_mb(Processes().device)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=4, help="training steps a turn")
    parser.add_argument("--images", type=int, default=16, help="images drawn a turn")
    parser.add_argument("--sampling-steps", type=int, default=8)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    rows = []
    for precision in dict.fromkeys(["fp32", resolve_precision("auto", Processes().device)]):
        protocol = Protocol.load("laptop", sampling_steps=options.sampling_steps, precision=precision)
        pairs = np.random.default_rng(0).random((64, 2, protocol.image_size, protocol.image_size), dtype=np.float32)
        steps = training(protocol, pairs, options.steps, options.turns)
        rows.append({"precision": precision} | row("training", options.steps * protocol.batch_size, *steps))
        with TemporaryDirectory() as folder:
            tiny = protocol.model_copy(update={"epochs": 0.25, "checkpoint_every": 1})
            model = fine_tune(pairs, tiny, "sum", Path(folder), progress=False)
            drawing = sampling(model, protocol, options.images, options.turns)
        rows.append({"precision": precision} | row("sampling", options.images, *drawing))
    table = pd.DataFrame(rows)
    write_csv(RESULT, table)
    print(table.T.to_string())


if __name__ == "__main__":
    main()
