"""Pairs as image files, for readers and other tools; pairs that may repeat a training pair stay at home."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path

import numpy as np
from PIL import Image

from mammorgb_utils.runs import RunError, atomic_path, read_table, sha256

_RECORD = ".written/nearest_training.csv.json"  # beside the table: digests of it and of the samples that it is about
_NAMED = 10  # flagged pairs that a message names


def export_run(root: Path, *, flagged: str = "refuse") -> dict[str, int]:
    """Write a study's synthetic pairs below `root/export`, unless some of them lie too near a training pair.

    Args:
        root: The run folder.
        flagged: What pairs flagged by notebook 04 do: `"refuse"` stops the export, `"leave out"` writes the others,
            whose numbers stay as they are, `"include"` writes all without looking.

    Returns:
        Number of files written for each set; earlier files of flagged pairs are removed where those are left out.

    Raises:
        RunError: There are no synthetic pairs, notebook 04 hasn't looked at these, its table was changed, or some are
            flagged.
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
    """Synthetic pairs that notebook 04 flagged in metrics/nearest_training.csv.

    Args:
        root: The run folder.
        sizes: Number of pairs of each synthetic set.

    Raises:
        RunError: The table is missing, damaged, changed since notebook 04 wrote it, or of other samples.
    """
    file = root / "metrics" / "nearest_training.csv"
    remedy = f"run notebook 04_metrics first (`make reproduce RUN={root.name}`), or export with --include-flagged"
    if not file.is_file():
        raise RunError(f"runs/{root.name}: nobody has looked yet whether pairs repeat training pairs; {remedy}")
    _require_as_written(root, file, remedy)
    table = read_table(file)
    if missing := [name for name in ("set", "pair", "flagged") if name not in table]:
        raise RunError(f"runs/{root.name}/metrics/{file.name}: column {missing[0]!r} is missing; {remedy}")
    flags = table["flagged"].astype(str).map({"True": True, "False": False})
    for name, n in sizes.items():
        own = table["set"] == name
        if set(table.loc[own, "pair"]) != {pair_name(name, i) for i in range(n)} or flags[own].isna().any():
            raise RunError(f"runs/{root.name}/metrics/{file.name}: isn't about the {n} pairs of samples/{name}; "
                           f"{remedy}")
    return set(table.loc[table["set"].isin(list(sizes)) & flags.eq(True), "pair"])


def samples_digests(root: Path) -> dict[str, str]:
    """SHA-256 of the file of each synthetic set, by its name."""
    return {path.parent.name: sha256(path) for path in sorted(root.glob("samples/*/pairs.npy"))}


def _require_as_written(root: Path, file: Path, remedy: str) -> None:
    """Flags count only as they were found, and only for the very samples that were looked at."""
    name = f"runs/{root.name}/metrics/{file.name}"
    try:
        known = json.loads((file.parent / _RECORD).read_text(encoding="utf-8"))
        table, samples = known["sha256"], known["samples"]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{name}: nothing tells which samples it is about; remove it and {remedy}") from None
    if table != sha256(file):
        raise RunError(f"{name}: was changed since notebook 04 wrote it; remove it and {remedy}")
    if samples != samples_digests(root):
        raise RunError(f"{name}: the samples were drawn again since notebook 04 looked at them; remove it and {remedy}")


def pair_name(name: str, number: int) -> str:
    """Name of a synthetic pair in every table: `sum-00012`."""
    return f"{name}-{number:05d}"


def export_pairs(pairs: np.ndarray, folder: Path, *, prefix: str, without: Container[str] = ()) -> int:
    """Write each view as a 16-bit grey PNG without metadata: `<prefix>_00000_CC.png`, `<prefix>_00000_MLO.png`, …

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first; 0 … 1 becomes 0 … 65535.
        folder: Made when missing.
        prefix: First part of each name, such as the encoding.
        without: `pair_name`s that aren't written; files that an earlier export wrote of them are removed.

    Returns:
        Number of files written.
    """
    written = 0
    for number, pair in enumerate(pairs):
        for name, view in zip(("CC", "MLO"), pair, strict=True):
            file = folder / f"{prefix}_{number:05d}_{name}.png"
            if pair_name(prefix, number) in without:
                file.unlink(missing_ok=True)
                continue
            grey = np.rint(np.clip(view, 0.0, 1.0) * 65535.0).astype(np.uint16)
            with atomic_path(file) as temporary:
                Image.fromarray(grey).save(temporary, format="PNG")
            written += 1
    return written
