"""How far a study's models came, beside what was asked of them before they were trained.

`python benchmarks/training_aims.py RUN` puts the figures of `runs/RUN/tables` in place of its profile's rows in
`benchmarks/results/training_aims.csv`. A miss stays there.
"""

from __future__ import annotations

import argparse
import operator
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mammorgb_utils.runs import PROJECT_ROOT, Run, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "training_aims.csv"
# By profile what is asked of every encoding; of the own MLO among five also what its interval has to lie above.
ASKED: dict[str, dict[str, tuple[float, ...]]] = {
    "workstation": {"KID": (2.5,), "coverage": (0.25,), "own MLO among 5": (0.43, 0.36),
                    "median IoU from real": (0.03,), "top 1 of 8 by the model's own loss": (0.28,),
                    "plausible": (0.95,)},
    "laptop": {"KID": (40.0,), "coverage": (0.03,), "own MLO among 5": (0.22,), "median IoU from real": (0.05,),
               "top 1 of 8 by the model's own loss": (0.18,), "plausible": (0.95,)}}


def measured(tables: Path) -> Iterator[tuple[str, str, float, float, float]]:
    """Aim, set, value and its 95 % interval, where the table has one."""
    fidelity = pd.read_csv(tables / "fidelity.csv")
    for metric, name in (("kid", "KID"), ("coverage", "coverage")):
        for row in fidelity[fidelity["metric"] == metric].itertuples():
            yield name, row.set, row.value, row.low, row.high
    match = pd.read_csv(tables / "match_test.csv")
    for row in match[(match["features"] == "anatomy") & (match["null"] == "strata") & (match["k"] == 5)].itertuples():
        yield "own MLO among 5", row.set, row.accuracy, row.low, row.high
    gain = pd.read_csv(tables / "pairing_gain.csv")
    for row in gain[gain["timestep"] == "middle"].itertuples():
        yield "top 1 of 8 by the model's own loss", row.set, row.top1, row.top1_low, row.top1_high
    overlap = pd.read_csv(tables / "overlap_summary.csv").set_index("set")
    for name, row in overlap.iterrows():
        yield "median IoU from real", name, abs(row["iou_median"] - overlap.loc["real", "iou_median"]), None, None
        yield "plausible", name, row["plausible"], None, None


def rows(run: Run) -> Iterator[dict]:
    """A row an aim and encoding."""
    asked = ASKED[run.protocol.profile]
    for aim, name, value, low, high in measured(run.tables):
        if name in run.protocol.encodings:
            reached = operator.le if aim in ("KID", "median IoU from real") else operator.ge
            met = reached(value, asked[aim][0]) and (len(asked[aim]) == 1 or low > asked[aim][1])
            yield {"profile": run.protocol.profile, "aim": aim, "asked": asked[aim][0], "set": name, "value": value,
                   "low": low, "high": high, "met": bool(met)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder below runs/, a finished study of one of the profiles in ASKED")
    run = Run.recorded(parser.parse_args().run)
    if run.protocol.profile not in ASKED:
        parser.error(f"runs/{run.root.name} is a {run.protocol.profile} study; name one of {' or '.join(ASKED)}")
    found = pd.DataFrame(list(rows(run))).round(4)
    known = pd.read_csv(RESULT) if RESULT.is_file() else found.head(0)
    write_csv(RESULT, pd.concat([known[known["profile"] != run.protocol.profile], found], ignore_index=True))
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
