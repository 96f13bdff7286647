"""On which machine each model of a study was trained, by its own record; a notebook names the one that loaded it.

`python -m benchmarks.trained_on RUN` writes results/trained_on.csv from the models that `runs/RUN` still holds.
"""

from __future__ import annotations

import argparse
import json

import pandas as pd

from mammorgb_utils.diffusion.engine.model_folder import RECORD
from mammorgb_utils.runs import PROJECT_ROOT, Run, write_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder below runs/")
    root, fields = Run.recorded(parser.parse_args().run).root, ("encoding", "steps", "seed", "device", "precision")
    files = [*sorted(root.glob(f"models/*/{RECORD}")), *sorted(root.glob(f"appendices/*/*/model/{RECORD}"))]
    rows = []
    for file in files:
        record = json.loads(file.read_text(encoding="utf-8"))
        rows.append({"model": str(file.parent.relative_to(root)), **{name: record[name] for name in fields}})
    write_csv(PROJECT_ROOT / "benchmarks" / "results" / "trained_on.csv", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
