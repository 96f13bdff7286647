"""Synthetic pairs as image files for readers and other tools; those that may repeat a training pair stay at home."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mammorgb_utils.data.pair_folder import export_pairs, pair_name
from mammorgb_utils.output.records import recorded, samples_digests
from mammorgb_utils.runs import RunError, read_table, sha256

_NAMED = 10  # flagged pairs that a message names


def export_run(root: Path, *, flagged: str = "refuse") -> dict[str, int]:
    """Write a study's synthetic pairs below `root/export`; the number of files for each set.

    Pairs that notebook 04 flagged stop the export (`"refuse"`), stay at home while the others keep their numbers
    (`"leave out"`; earlier files of them go), or are written without looking (`"include"`).

    Raises:
        RunError: There are no synthetic pairs, nobody has looked at these, or some are flagged.
    """
    sets = {path.parent.name: np.load(path, mmap_mode="r") for path in sorted(root.glob("samples/*/pairs.npy"))}
    if not sets:
        raise RunError(f"runs/{root.name} holds no synthetic pairs; run `make reproduce RUN={root.name}` first")
    near = set() if flagged == "include" else flagged_pairs(root, {name: len(pairs) for name, pairs in sets.items()})
    if near and flagged == "refuse":
        named = ", ".join(sorted(near)[:_NAMED]) + (", …" if len(near) > _NAMED else "")
        raise RunError(f"runs/{root.name}: {len(near)} synthetic pairs may repeat a training pair ({named}); look at "
                       "the figure nearest_training, then export the others with --leave-out-flagged, or all of them "
                       "with --include-flagged")
    return {name: export_pairs(pairs, root / "export" / name, prefix=name, without=near)
            for name, pairs in sets.items()}


def flagged_pairs(root: Path, sizes: dict[str, int]) -> set[str]:
    """Synthetic pairs that notebook 04 flagged, of sets of these sizes; a `RunError` where its table can't be used."""
    file = root / "metrics" / "nearest_training.csv"
    table = read_table(file) if file.is_file() else pd.DataFrame()
    if problem := _unusable(file, table, sizes):
        raise RunError(f"runs/{root.name}: metrics/{file.name} {problem}; run notebook 04_metrics first "
                       f"(`make reproduce RUN={root.name}`), or export with --include-flagged")
    return set(table.loc[table["set"].isin(list(sizes)) & (table["flagged"].astype(str) == "True"), "pair"])


def _unusable(file: Path, table: pd.DataFrame, sizes: dict[str, int]) -> str:
    """Why flags can't be used: they count only as they were found, and only for the samples that were looked at."""
    known = recorded(file)
    if not file.is_file():
        return "isn't there: nobody has looked yet whether pairs repeat training pairs"
    if not {"sha256", "samples"} <= set(known):
        return "has no record: nothing tells which samples it is about; remove it"
    if known["sha256"] != sha256(file):
        return "was changed since notebook 04 wrote it; remove it"
    if known["samples"] != samples_digests(file.parent.parent):
        return "is out of date: the samples were drawn again since notebook 04 looked at them; remove it"
    if missing := [name for name in ("set", "pair", "flagged") if name not in table]:
        return f"is damaged: column {missing[0]!r} is missing"
    for name, n in sizes.items():
        own = table[table["set"] == name]
        named = set(own["pair"]) == {pair_name(name, i) for i in range(n)}
        if not named or not own["flagged"].astype(str).isin(["True", "False"]).all():
            return f"isn't about the {n} pairs of samples/{name}"
    return ""
