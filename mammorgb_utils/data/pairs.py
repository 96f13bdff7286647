"""The preprocessed pairs of a study, as later stages read them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mammorgb_utils.data.cohort import CohortError
from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.data.preprocess import load_reference_cdf, preprocessing_steps, read_view
from mammorgb_utils.runs import Run, read_table
from mammorgb_utils.streams import Stream, generator


def load_pairs(run: Run, split: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Preprocessed pairs of one split.

    Args:
        run: A study whose preprocessing is done.
        split: `"train"`, `"heldout"` or `"all"`.

    Returns:
        `(N, 2, H, W)` float32 in [0, 1] and the index, rows in the same order. The array stays on disk, read-only,
        where the split's rows follow one another; otherwise it is a copy in memory.

    Raises:
        CohortError: Notebook 01 hasn't run.
    """
    if not run.pairs_index.is_file():
        raise CohortError("pairs/index.csv isn't there yet: run notebook 01_preprocess first")
    index = read_table(run.pairs_index)
    chosen = index if split == "all" else index[index["split"] == split]
    pairs, rows = np.load(run.pairs, mmap_mode="r"), chosen.index.to_numpy()
    follow = len(rows) and rows[-1] - rows[0] + 1 == len(rows)
    return pairs[rows[0]:rows[-1] + 1] if follow else pairs[rows], chosen.reset_index(drop=True)


def real_pairs(run: Run) -> tuple[np.ndarray, pd.DataFrame]:
    """The real pairs that synthetic ones are compared against: `real_split`, at most `n_real`, drawn by the seed.

    Returns:
        As `load_pairs`.
    """
    pairs, index = load_pairs(run, run.protocol.real_split)
    n = run.protocol.n_real
    if n is None or n >= len(index):
        return pairs, index
    rows = np.sort(generator(run.protocol.seed, Stream.REAL_PAIRS).choice(len(index), n, replace=False))
    return pairs[rows], index.iloc[rows].reset_index(drop=True)


def example_steps(run: Run, n_pairs: int) -> list[dict[str, dict[str, np.ndarray]]]:
    """Every preprocessing stage of the first pairs, for figures.

    Returns:
        One dict a pair: view to `preprocessing_steps`.
    """
    manifest = load_manifest(run.manifest)
    images = read_table(run.images).fillna({"excluded": ""}).assign(path=manifest["path"])
    kept = images[images["excluded"] == ""]
    reference = load_reference_cdf(run.protocol)
    wanted = read_table(run.pairs_index)["pair"].head(n_pairs)
    return [{row.view: preprocessing_steps(read_view(run.manifest.parent / row.path, run.protocol), reference,
                                           run.protocol)
             for row in kept[kept["pair"] == pair].sort_values("view").itertuples()} for pair in wanted]
