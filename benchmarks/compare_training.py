"""Two runs of one training on different machines: do they learn alike, and how fast?

`python -m benchmarks.compare_training NAME=stats.jsonl NAME=stats.jsonl` writes results/compared_training.csv: mean
loss and median seconds of every 500 steps that both did. Both logs are of `mammorgb base-model` with one seed.
"""

from __future__ import annotations

import argparse

import pandas as pd

from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "compared_training.csv"
BLOCK = 500  # steps


def blocks(stats: pd.DataFrame) -> pd.DataFrame:
    block = (stats["step"] - 1) // BLOCK * BLOCK + BLOCK
    found = stats.groupby(block).agg(loss=("loss", "mean"), seconds=("seconds", "median"), n=("step", "size"),
                                     precision=("precision", "last"))
    return found[found["n"] == BLOCK].drop(columns="n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs=2, metavar="NAME=FILE", help="what ran it, and its stats.jsonl")
    named = [run.rsplit("=", 1) for run in parser.parse_args().runs]
    first, second = (blocks(pd.read_json(file, lines=True)).add_suffix(f" ({name})") for name, file in named)
    table = first.join(second, how="inner").rename_axis("to_step").reset_index()
    losses = [f"loss ({name})" for name, _ in named]
    table["relative_difference"] = table[losses[1]] / table[losses[0]] - 1
    write_csv(RESULT, table.round(5))
    print(table.round(5).to_string())


if __name__ == "__main__":
    main()
