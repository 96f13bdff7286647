"""The paper's UNet at 256 × 256 pixels on a GPU beside diffusers, and the small one's step by optimiser.

`python -m benchmarks.gpu_speed` writes results/gpu_speed.csv and results/gpu_profile.csv; all contestants take turns in
one process, with the same UNet, batch and images. `--small` measures the small one alone, to gpu_small_steps.csv.
`--label NAME` names another way of compiling (an environment variable of torch's); its rows are added. `--turns 0` only
compiles, which fills torch's cache.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median

import numpy as np
import pandas as pd
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch.profiler import ProfilerActivity, profile

from benchmarks.diffusion_peer import train
from benchmarks.paper_model import ARCHITECTURE, SIZE
from benchmarks.paper_model import RESULT as COUNTED
from mammorgb_utils.diffusion.encoding import encode_batch
from mammorgb_utils.diffusion.engine.base import compiled, device_name, make_repeatable, pick_device
from mammorgb_utils.diffusion.engine.loop import trained_as
from mammorgb_utils.diffusion.engine.pretrain import CHANNELS, RECIPE, noise_schedule, small_unet
from mammorgb_utils.diffusion.engine.processes import Processes
from mammorgb_utils.diffusion.engine.state import Recipe, State
from mammorgb_utils.diffusion.learning import training_step
from mammorgb_utils.diffusion.sampling import denoise, make_sampler
from mammorgb_utils.diffusion.training import PairSource
from mammorgb_utils.runs import PROJECT_ROOT, read_table, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "gpu_speed.csv"
PROFILE, SMALL_STEPS = RESULT.with_name("gpu_profile.csv"), RESULT.with_name("gpu_small_steps.csv")
BATCH, STEPS, DRAWN_STEPS = 16, 8, 50  # images, training steps a turn, sampling steps a turn
TARGETS = {("training", "peer fp32"): 2.5, ("training", "peer bf16"): 1.4, ("sampling", "peer fp32"): 2.5}
Work = Callable[[], object]


def timed(works: dict[str, Work], turns: int) -> dict[str, list[float]]:
    """Seconds of each work in each turn, after one turn that isn't counted; who begins rotates."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(turns + 1):
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            torch.cuda.synchronize()
            start = time.perf_counter()
            works[name]()
            torch.cuda.synchronize()
            seconds[name] += [time.perf_counter() - start] if turn else []
            print(f"turn {turn}, {name}: {time.perf_counter() - start:.2f} s", file=sys.stderr, flush=True)
    return seconds


def our_training(unet: UNet2DModel, scheduler: DDPMScheduler, pairs: np.ndarray, fast: bool = True,
                 **choices: object) -> Work:
    """Some training steps of ours, as a study takes them, or the plain UNet's."""
    recipe = Recipe(**{"steps": 100_000, "batch_size": BATCH, "seed": 0, "learning_rate": 1e-5} | choices)
    state, source = State(copy.deepcopy(unet), recipe, pick_device()), PairSource(pairs, "sum", 0.5, recipe)
    state.model = trained_as(state.unet, recipe, 1, Processes()) if fast else state.unet

    def steps() -> None:
        for _ in range(STEPS):
            training_step(state, scheduler, source, recipe)

    return steps


def peer_training(unet: UNet2DModel, pairs: np.ndarray, bf16: bool) -> Work:
    """As many steps of diffusers' example."""
    rgb = (encode_batch(torch.from_numpy(pairs), "sum", 0.5).permute(0, 2, 3, 1).numpy() + 1) / 2
    losses = train(copy.deepcopy(unet), rgb, batch_size=BATCH, steps=100_000, bf16=bf16)
    return lambda: [next(losses) for _ in range(STEPS)]


def drawing(unet: UNet2DModel, bf16: bool) -> Work:
    """DDPM steps of ours on one batch."""
    unet = copy.deepcopy(unet).to(pick_device(), memory_format=torch.channels_last).eval()
    model = compiled(unet, "bf16" if bf16 else "fp32")
    return lambda: denoise(model, make_sampler(DDPMScheduler(), "ddpm", DRAWN_STEPS), 0, range(BATCH), bf16)


def peer_drawing(unet: UNet2DModel) -> Work:
    """As many of DDPMPipeline's, as a user calls it."""
    pipeline = DDPMPipeline(unet=copy.deepcopy(unet).eval(), scheduler=DDPMScheduler()).to(pick_device())
    pipeline.set_progress_bar_config(disable=True)
    return lambda: pipeline(batch_size=BATCH, num_inference_steps=DRAWN_STEPS)


def matrix_rate(side: int = 8192, turns: int = 10) -> float:
    """Measured rate of bf16 matrix products [TFLOP/s]."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / median(timed({"product": lambda: a @ b}, turns)["product"]) / 1e12


def rows(work: str, images: float, seconds: dict[str, list[float]], ours: str = "ours bf16") -> list[dict[str, object]]:
    """A row a contestant: images a second, and how much faster ours is than it, by the turns' own ratios."""
    found = []
    for name, times in seconds.items():
        ratios = sorted(theirs / mine for theirs, mine in zip(times, seconds[ours], strict=True))
        target = TARGETS.get((work, name))
        found.append({"work": work, "contestant": name, "images_per_s": images / median(times),
                      "ours_is_faster_by": median(ratios), "low": ratios[0], "high": ratios[-1], "target": target,
                      "met": target is None or median(ratios) >= target, "turns": len(times)})
    return found


def profiled(work: Work, label: str) -> pd.DataFrame:
    """The kernels that one turn's time goes to, the largest first."""
    with profile(activities=[ProfilerActivity.CUDA]) as run:
        work()
        torch.cuda.synchronize()
    table = pd.DataFrame([{"kernel": event.key[:100], "ms_per_step": event.self_device_time_total / 1000 / STEPS,
                           "calls_per_step": event.count / STEPS} for event in run.key_averages()])
    table = table.sort_values("ms_per_step", ascending=False)
    return table.assign(share=table["ms_per_step"] / table["ms_per_step"].sum(), label=label).head(25).round(4)


def small_steps(turns: int) -> list[dict[str, object]]:
    """The small base's step with either optimiser, at 64 × 64 pixels: what Muon costs, and what replaying gains."""
    views = np.random.default_rng(1).random((64, 2, 64, 64), dtype=np.float32)
    made = {f"{how} {name}": our_training(small_unet(64, CHANNELS, 0), noise_schedule(), views, how == "ours",
                                          **RECIPE | {"optimizer": name, "precision": "bf16"})
            for name in ("adamw", "muon") for how in ("ours", "plain")}
    return rows("small training", BATCH * STEPS, timed(made, turns), "ours muon")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--label", default="as in a study")
    parser.add_argument("--plain", action="store_true", help="let algorithms give other bits in each run")
    parser.add_argument("--small", action="store_true", help="only the small base's step, plain and as in a study")
    options = parser.parse_args()
    torch.manual_seed(0)
    if not options.plain:
        make_repeatable(pick_device())
    if options.small:
        made_by = {"device": device_name(pick_device()), "torch": version("torch"), "diffusers": version("diffusers")}
        write_csv(SMALL_STEPS, pd.DataFrame(small_steps(options.turns)).assign(**made_by))
        return
    pairs = np.random.default_rng(0).random((64, 2, SIZE, SIZE), dtype=np.float32)
    unet = UNet2DModel(**ARCHITECTURE)
    ours, draw = our_training(unet, DDPMScheduler(), pairs, precision="bf16"), drawing(unet, bf16=True)
    ours(), draw()
    if not options.turns:
        return
    table, usual = [], options.label == "as in a study"
    works = {"ours bf16": ours}
    if usual:
        works |= {"ours fp32": our_training(unet, DDPMScheduler(), pairs, precision="fp32"),
                  "peer fp32": peer_training(unet, pairs, bf16=False),
                  "peer bf16": peer_training(unet, pairs, bf16=True)}
    table += rows("training", BATCH * STEPS, timed(works, options.turns))
    profile_table = profiled(ours, options.label)
    if usual:
        seconds = timed({"ours bf16": draw, "ours fp32": drawing(unet, bf16=False), "peer fp32": peer_drawing(unet)},
                        max(2, options.turns // 2))
        table += rows("sampling", BATCH * DRAWN_STEPS / 1000, seconds) + small_steps(options.turns)
    rate, gflop = matrix_rate(), read_table(COUNTED)["gflop_step"].iloc[0]
    result = pd.DataFrame(table).assign(label=options.label, repeatable=not options.plain, bf16_tflop_per_s=rate,
                                        peak_memory_gb=torch.cuda.max_memory_allocated() / 1e9,
                                        device=device_name(pick_device()), torch=version("torch"),
                                        diffusers=version("diffusers"))
    used = result["images_per_s"] * gflop / 1000 / rate
    result["flop_utilisation"] = used.where(result["work"] == "training")
    for file, fresh in ((RESULT, result.round(4)), (PROFILE, profile_table)):
        earlier = [read_table(file)] if file.is_file() else []
        kept = [table[table["label"] != options.label] for table in earlier]
        write_csv(file, pd.concat([*kept, fresh], ignore_index=True))
    print(result.drop(columns=["device", "torch", "diffusers"]).to_string())


if __name__ == "__main__":
    main()
