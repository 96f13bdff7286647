"""Whether a study made here is, byte for byte, the one made elsewhere.

`python -m benchmarks.same_study RUN` holds the pairs, models, drawn pairs, metrics and tables of `runs/RUN` against the
SHA-256 in `benchmarks/results/same_study.csv` of other machines, and prints how many are the same and which aren't, or
aren't here. `--record` puts this machine's there instead. Another processor, one without bfloat16 first of all, or
release of torch rounds otherwise: what counts then is the tables' figures, not their bytes.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from mammorgb_utils.diffusion.engine.base import device_name, pick_device, resolve_precision
from mammorgb_utils.runs import PROJECT_ROOT, Run, RunError, sha256, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "same_study.csv"
PARTS = {"pairs": ["pairs/pairs.npy", "pairs/index.csv"], "models": ["models/*/unet/*.safetensors"],
         "drawn pairs": ["samples/*/pairs.npy", "samples/*/third.npy"], "metrics": ["metrics/*.csv"],
         "tables": ["tables/*.csv"]}
MACHINE = ["device", "precision", "torch"]


def digests(run: Run) -> pd.DataFrame:
    """One row a file: `profile`, `part`, `file`, `sha256`, `device`, `precision`, `torch`."""
    found = [(part, file) for part, patterns in PARTS.items() for pattern in patterns
             for file in sorted(run.root.glob(pattern))]
    if not found:
        raise RunError(f"runs/{run.root.name} holds no pairs yet; run `make reproduce RUN={run.root.name}` first")
    rows = [(run.protocol.profile, part, str(file.relative_to(run.root)), sha256(file)) for part, file in found]
    return pd.DataFrame(rows, columns=["profile", "part", "file", "sha256"]).assign(
        device=device_name(pick_device()).partition(", ")[0],
        precision=resolve_precision(run.protocol.precision, pick_device()), torch=version("torch"))


def compared(own: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """One row a recorded machine and part: its `files`, those that are the `same` here, the names of the others."""
    known = known[known["profile"] == own.loc[0, "profile"]]
    if known.empty:
        raise RunError(f"no study of profile {own.loc[0, 'profile']!r} is recorded yet; --record puts yours there")
    both = known.merge(own[["file", "sha256"]], on="file", how="left", suffixes=("", "_here"))
    both = both.assign(same=both["sha256"] == both["sha256_here"])
    return both.groupby([*MACHINE, "part"], sort=False).apply(lambda part: pd.Series({
        "files": len(part), "same": part["same"].sum(),
        "differ": ", ".join(Path(file).stem for file in part.loc[~part["same"], "file"])})).reset_index()


def main() -> None:
    """Compare, or record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder below runs/, a finished study of phantoms")
    parser.add_argument("--record", action="store_true", help="put this machine's digests into the result")
    options = parser.parse_args()
    try:
        own = digests(Run.recorded(options.run))
        known = pd.read_csv(RESULT) if RESULT.is_file() else own.head(0)
        if not options.record:
            print(compared(own, known).to_string(index=False))
            return
    except RunError as error:
        parser.error(str(error))
    here = (known[["profile", *MACHINE]] == own.loc[0, ["profile", *MACHINE]]).all(axis=1)
    write_csv(RESULT, pd.concat([known[~here], own], ignore_index=True))


if __name__ == "__main__":
    main()
