"""What each stage of a finished run took, for those who run its profile for the first time.

`python benchmarks/stage_times.py RUN` puts the times of `runs/RUN/stages.jsonl` in place of its profile's rows in
`benchmarks/results/stage_times.csv`; `make reproduce` foretells from them where no study of the profile is at hand.
`--without 02_train` leaves out stages that only loaded what another machine had done.
"""

from __future__ import annotations

import argparse

import pandas as pd

from mammorgb_utils.progress import PUBLISHED, read_journal, stage_seconds
from mammorgb_utils.runs import Run, write_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder below runs/, made on this machine from its beginning")
    parser.add_argument("--without", default=(), nargs="+", help="how the names of stages begin that are left out")
    options = parser.parse_args()
    run = Run.recorded(options.run)
    machine = read_journal(run.root)[0]["machine"]
    rows = pd.DataFrame([{"profile": run.protocol.profile, "stage": stage, "seconds": seconds, "machine": machine}
                         for stage, seconds in stage_seconds(run.root).items()
                         if not stage.startswith(tuple(options.without))])
    known = pd.read_csv(PUBLISHED) if PUBLISHED.is_file() else rows.head(0)
    write_csv(PUBLISHED, pd.concat([known[known["profile"] != run.protocol.profile], rows], ignore_index=True))


if __name__ == "__main__":
    main()
