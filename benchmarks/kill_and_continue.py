"""Kill the smoke study with SIGKILL at random moments, start it again, and compare its tables with an unbroken run's.

`python benchmarks/kill_and_continue.py --kills 10` writes `benchmarks/results/kill_and_continue.csv`, one row a kill,
and fails when a table or the phantoms' manifest differs. The phantoms too are made anew, and may be killed.
"""

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil

from mammorgb_utils.protocol import Protocol

SMOKE = Protocol.load("smoke")
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "kill_and_continue.csv"


def start(run: str) -> subprocess.Popen:
    command = ["make", "reproduce", "PROFILE=smoke", f"RUN={run}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_tree(process: subprocess.Popen) -> None:
    """SIGKILL to make, Snakemake, papermill, kernels and workers, all at once."""
    parent = psutil.Process(process.pid)
    for each in [*parent.children(recursive=True), parent]:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            pass
    process.wait()


def fresh(run: str) -> str:
    """Forget a run and the smoke cohort, so that phantoms are written again."""
    for folder in [ROOT / "runs" / run, *(ROOT / "data").glob(f"phantom-{SMOKE.phantom_pairs}-*")]:
        shutil.rmtree(folder, ignore_errors=True)
    return run


def newest_step(run: str) -> str:
    done = sorted(path.stem for path in (ROOT / "runs" / run / "notebooks").glob("*[a-z].ipynb")
                  if ".failed" not in path.name)
    return done[-1] if done else "none"


def tables(run: str) -> dict[str, bytes]:
    folder = ROOT / "runs" / run
    files = [*folder.glob("tables/*.csv"), *folder.glob("metrics/*.csv"), *folder.glob("pairs/*.csv")]
    cohorts = (ROOT / "data").glob(f"phantom-{SMOKE.phantom_pairs}-*/manifest.csv")
    return {path.name: path.read_bytes() for path in [*files, *cohorts]}


def finish(run: str) -> float:
    began = time.monotonic()
    if start(run).wait():
        sys.exit(f"the study {run} failed; run `make reproduce PROFILE=smoke RUN={run}` to see why")
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    whole = finish(fresh("unbroken"))
    expected = tables("unbroken")
    fresh("killed")
    dice, rows = random.Random(options.seed), []
    for number in range(1, options.kills + 1):
        process, delay = start("killed"), dice.uniform(1.0, whole / 3)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            kill_tree(process)
        rows.append({"kill": number, "after_s": round(delay, 1), "finished_before": process.returncode == 0,
                     "last_finished_step": newest_step("killed")})
        print(rows[-1], flush=True)
    finish("killed")
    same = expected == tables("killed")
    RESULTS.parent.mkdir(exist_ok=True)
    pd.DataFrame(rows).assign(tables_identical_at_the_end=same).to_csv(RESULTS, index=False)
    print(f"{len(tables('killed'))} tables, identical: {same}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
