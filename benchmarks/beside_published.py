"""How far the results of a study made here lie from the published ones: trainings differ by their machine's rounding.

`python -m benchmarks.beside_published RUN` holds the main figures of `runs/RUN/tables` against those of `figures/`, set
by set, and writes `results/beside_published.csv`, one row a figure and set: `published` and `here` with their 95 %
intervals where the table has them, and `apart` where these don't meet. A set that the run hasn't is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mammorgb_utils.runs import PROJECT_ROOT, Run, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "beside_published.csv"
# By figure its table, the rows that are meant, and the columns of value, lower and upper end.
FIGURES: dict[str, tuple[str, dict[str, object], tuple[str, ...]]] = {
    "held-out loss, middle timesteps": ("learning", {"timestep": "middle"}, ("loss",)),
    "median IoU": ("overlap_summary", {}, ("iou_median",)),
    "shift of IoU from real": ("effects", {"measure": "iou"}, (
        "hodges_lehmann", "hodges_lehmann_low", "hodges_lehmann_high")),
    "EMD of IoU to real": ("distances", {"measure": "iou", "statistic": "emd"}, ("value",)),
    "KS of IoU to real": ("distances", {"measure": "iou", "statistic": "ks"}, ("value",)),
    "plausible masks": ("overlap_summary", {}, ("plausible", "plausible_low", "plausible_high")),
    "gain of pairing in IoU": ("consistency", {"measure": "iou"}, ("gain", "gain_low", "gain_high")),
    "own MLO among 10": ("match_test", {"features": "anatomy", "null": "strata", "k": 10}, (
        "accuracy", "low", "high")),
    "own MLO among 8 by the model's loss": ("pairing_gain", {"timestep": "middle"}, ("top1", "top1_low", "top1_high")),
    "loss lower beside own MLO": ("pairing_gain", {"timestep": "middle"}, ("gain", "gain_low", "gain_high")),
    "KID": ("fidelity", {"metric": "kid"}, ("value", "low", "high")),
    "coverage": ("fidelity", {"metric": "coverage"}, ("value", "low", "high"))}


def values(tables: Path) -> pd.DataFrame:
    """One row a figure and set: `value`, and `low`, `high` or NaN; of tables that are there."""
    found = [row for name, (table, rows, columns) in FIGURES.items() if (tables / f"{table}.csv").is_file()
             for row in _rows(name, pd.read_csv(tables / f"{table}.csv"), rows, columns)]
    return pd.DataFrame(found, columns=["figure", "set", "value", "low", "high"])


def _rows(name: str, table: pd.DataFrame, rows: dict[str, object], columns: tuple[str, ...]) -> Iterator[dict]:
    table = table.rename(columns={"encoding": "set"})
    for column, value in rows.items():
        table = table[table[column] == value]
    for _, row in table.drop_duplicates("set", keep="last").iterrows():  # of a curve, where it ends
        found = dict(zip(("value", "low", "high"), row[list(columns)], strict=False))
        yield {"figure": name, "set": row["set"]} | found


def compared(published: pd.DataFrame, here: pd.DataFrame) -> pd.DataFrame:
    """Figures of sets that both have, side by side; `apart` is empty where a table has no interval."""
    both = published.rename(columns={"value": "published"}).merge(
        here.rename(columns={"value": "here"}), on=["figure", "set"], suffixes=("", "_here"))
    apart = (both["low"] > both["high_here"]) | (both["low_here"] > both["high"])
    return both.assign(apart=apart.astype(object).where(both[["low", "low_here"]].notna().all(axis=1)))


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder below runs/, a study of the published profile, workstation")
    run = Run.recorded(parser.parse_args().run)
    table = compared(values(PROJECT_ROOT / "figures"), values(run.tables))
    if table.empty:
        parser.error(f"runs/{run.root.name}/tables holds none of the figures yet; run its notebooks first")
    write_csv(RESULT, table.round(4))
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
