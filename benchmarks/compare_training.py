"""Two runs of one training on different machines: do they learn alike, and how fast?

`python -m benchmarks.compare_training NAME=stats.jsonl NAME=stats.jsonl` writes results/compared_training.csv: mean
loss and median seconds of every 500 steps that both did. Both logs are of one training with one seed, as
`mammorgb base-model` or a study makes it; `--name` is that of the table.
"""

from __future__ import annotations

import argparse

import pandas as pd

from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULTS = PROJECT_ROOT / "benchmarks" / "results"
BLOCK = 500  # steps


def blocks(stats: pd.DataFrame) -> pd.DataFrame:
    block = (stats["step"] - 1) // BLOCK * BLOCK + BLOCK
    found = stats.groupby(block).agg(loss=("loss", "mean"), seconds=("seconds", "median"), n=("step", "size"),
                                     precision=("precision", "last"))
    return found[found["n"] == BLOCK].drop(columns="n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs=2, metavar="NAME=FILE", help="what ran it, and its stats.jsonl")
    parser.add_argument("--name", default="compared_training")
    options = parser.parse_args()
    (first, one), (second, other) = (run.rsplit("=", 1) for run in options.runs)
    tables = [blocks(pd.read_json(file, lines=True)).add_suffix(end) for file, end in ((one, "_1"), (other, "_2"))]
    table = tables[0].join(tables[1], how="inner").rename_axis("to_step").reset_index()
    table = table.assign(difference=table["loss_2"] / table["loss_1"] - 1, machine_1=first, machine_2=second)
    write_csv(RESULTS / f"{options.name}.csv", table.round(5))
    print(table.round(5).to_string())


if __name__ == "__main__":
    main()
