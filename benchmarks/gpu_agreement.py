"""Does a GPU learn what a CPU learns: the laptop study's loss on both, and the same training run twice on the GPU.

`python -m benchmarks.gpu_agreement PAIRS.npy` writes results/gpu_agreement.csv, one row a step; with a launcher, too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from mammorgb_utils.diffusion.engine.base import device_name, pick_device
from mammorgb_utils.diffusion.engine.state import TrainingError
from mammorgb_utils.diffusion.training import train
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "gpu_agreement.csv"
PAIRS = 300  # as many as the laptop study learns from
_LAUNCHER = ("-m", "accelerate.commands.launch", "--num_processes", "1", "--module")
RUNS = {"cpu fp32": ("fp32", "", ("-m",)), "gpu fp32": ("fp32", "0", ("-m",)), "gpu fp32 again": ("fp32", "0", ("-m",)),
        "gpu fp32 launched": ("fp32", "0", _LAUNCHER), "gpu bf16": ("bf16", "0", ("-m",)),
        "gpu bf16 again": ("bf16", "0", ("-m",))}


def one(pairs: Path, precision: str, folder: Path) -> None:
    """One training, in a process of its own."""
    chosen = np.load(pairs, mmap_mode="r")[:PAIRS]
    train(chosen, Protocol.load("laptop", precision=precision), "sum", folder, progress=False)
    (folder / "device").write_text(device_name(pick_device()))


def losses(name: str, pairs: Path, root: Path) -> pd.DataFrame:
    precision, devices, how = RUNS[name]
    folder = root / name.replace(" ", "-")
    subprocess.run([sys.executable, *how, "benchmarks.gpu_agreement", str(pairs), "--one", precision, str(folder)],
                   check=True, cwd=PROJECT_ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": devices})
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    return pd.DataFrame(lines)[["step", "loss", "grad_norm"]].assign(
        run=name, device=(folder / "device").read_text(), torch=version("torch"))


def out_of_memory(pairs: Path) -> str:
    """What a user reads whose batch doesn't fit."""
    chosen, protocol = np.load(pairs, mmap_mode="r"), Protocol.load("laptop", precision="fp32")
    many = np.concatenate([chosen] * 40)
    with TemporaryDirectory() as folder:
        try:
            train(many, protocol.changed(batch_size=len(many)), "sum", Path(folder), progress=False)
        except TrainingError as error:
            return str(error)
    return "it fitted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pairs", type=Path, help="(N, 2, 64, 64) float32 .npy, such as runs/laptop/pairs/pairs.npy")
    parser.add_argument("--one", nargs=2, metavar=("PRECISION", "FOLDER"))
    parser.add_argument("--memory", action="store_true", help="only show what is said when a batch doesn't fit")
    options = parser.parse_args()
    if options.memory:
        print("out of memory:", out_of_memory(options.pairs))
        return
    if options.one:
        one(options.pairs, options.one[0], Path(options.one[1]))
        return
    with TemporaryDirectory() as root:
        table = pd.concat([losses(name, options.pairs, Path(root)) for name in RUNS], ignore_index=True)
    write_csv(RESULT, table)
    wide = table.pivot(index="step", columns="run", values="loss")
    apart = wide.sub(wide["cpu fp32"], axis=0).abs().div(wide["cpu fp32"], axis=0)
    print("largest relative difference of the loss from the CPU's:", apart.max().round(6).to_dict())
    print("the same run again, bit by bit:", {how: bool((wide[f"gpu {how}"] == wide[f"gpu {how} again"]).all())
                                              for how in ("fp32", "bf16")})


if __name__ == "__main__":
    main()
