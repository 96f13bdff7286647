"""Kill a training with SIGKILL at random moments, and by a full disk; resume it, and compare its weights.

`python -m benchmarks.kill_training --kills 20` writes `results/kill_training.csv`, one row an interruption, and fails
when the final weights or the statistics aren't those of the unbroken run, bit by bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from mammorgb_utils.diffusion.training import train
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, sha256, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "kill_training.csv"
KINDS = ("at any moment", "inside a checkpoint write", "full disk")
PROTOCOL = Protocol.load("laptop", batch_size=4, epochs=25.0, checkpoint_every=1, precision="fp32")


def work(folder: Path) -> None:
    """What a killed process does: 50 steps, each with a checkpoint."""
    train(np.load(folder / "pairs.npy"), PROTOCOL, "sum", folder / "training", progress=False)


def start(folder: Path, *, file_limit: int | None = None) -> subprocess.Popen:
    """A fresh process; `file_limit` [bytes] ends every longer file as a full disk does."""
    limit = None if file_limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    return subprocess.Popen([sys.executable, "-m", "benchmarks.kill_training", "--work", str(folder)],
                            cwd=PROJECT_ROOT, preexec_fn=limit, stderr=subprocess.PIPE, text=True)


def steps_done(folder: Path) -> int:
    log = folder / "training" / "stats.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def interrupt(folder: Path, kind: str, rng: random.Random) -> dict[str, object]:
    """Interrupt one process in the given way; what it had done by then."""
    before = steps_done(folder)
    if kind == "full disk":
        process = start(folder, file_limit=rng.randint(1, 60) * 100_000)
        error = process.communicate(timeout=300)[1]
        return {"kind": kind, "steps_before": before, "steps_after": steps_done(folder), "exit": process.returncode,
                "message": "the checkpoint before it stands" in error}
    process = start(folder)
    checkpoints = folder / "training" / "checkpoints"
    while process.poll() is None and steps_done(folder) <= before:
        time.sleep(0.005)
    if kind == "inside a checkpoint write":
        while process.poll() is None and not list(checkpoints.glob(".step-*")):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.15))
    else:
        time.sleep(rng.uniform(0, 1.0))
    inside = bool(list(checkpoints.glob(".step-*")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return {"kind": kind, "steps_before": before, "steps_after": steps_done(folder), "exit": process.returncode,
            "unfinished_write_found": inside}


def outcome(folder: Path) -> str:
    """Hash of the final weights and of every step's loss and gradient norm."""
    lines = [json.loads(line) for line in (folder / "training" / "stats.jsonl").read_text().splitlines()]
    losses = [(line["step"], line["loss"], line["grad_norm"]) for line in lines]
    weights = sha256(folder / "training" / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    return hashlib.sha256(json.dumps([weights, losses]).encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    rng = random.Random(options.seed)
    pairs = np.random.default_rng(0).random((8, 2, PROTOCOL.image_size, PROTOCOL.image_size), dtype=np.float32)
    with TemporaryDirectory() as root:
        folders = [Path(root) / name for name in ("unbroken", "killed")]
        for folder in folders:
            folder.mkdir()
            np.save(folder / "pairs.npy", pairs)
        rows = []
        for i in range(options.kills):
            rows.append(interrupt(folders[1], KINDS[i % 3 if i % 7 else 2], rng))
            print(rows[-1], flush=True)
        for folder in folders:
            process = start(folder)
            error = process.communicate()[1]
            assert process.returncode == 0, error
        same = outcome(folders[0]) == outcome(folders[1])
    table = pd.DataFrame(rows).assign(final_weights_and_losses_identical=same)
    write_csv(RESULT, table)
    print(table["kind"].value_counts().to_string(), "\nidentical to the unbroken run:", same)
    sys.exit(not same)


if __name__ == "__main__":
    main()
