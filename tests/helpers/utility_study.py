"""A study of blobs with synthetic sets beside them, and scores of which the truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
from tiny_models import SIZE, blob_pairs

from mammorgb_utils.experiments.utility import Pool
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, write_array, write_csv

N = 24  # patients a split


def utility_study(root: Path, *, n: int = N, n_synthetic: int = 20, source: str = "archive", **fields) -> Run:
    """A run folder after notebook 03, with density in its manifest: every other patient is dense."""
    fields = {"encodings": ("sum", "zero"), "n_bootstrap": 60, **fields}
    run = Run(root, Protocol.load("smoke", image_size=SIZE, **fields), root / "manifest.csv")
    names = [f"P{i:03d}" for i in range(2 * n)]
    write_array(run.pairs, blob_pairs(2 * n))
    write_csv(run.pairs_index, pd.DataFrame({
        "pair": names, "patient": names, "laterality": "L", "split": ["heldout"] * n + ["train"] * n, "birads": 2,
        "source": source, "density": ["B", "C"] * n}))
    for seed, name in enumerate(run.encodings(), start=1):
        write_array(run.samples(name), blob_pairs(n_synthetic, seed=seed))
    return run


def blob_pool(patients: dict[str, list[str]], seed: int = 3) -> Pool:
    """Blobs by set, with the names of their patients."""
    sets = {}
    for number, (name, owners) in enumerate(patients.items()):
        index = pd.DataFrame({"pair": [f"{name}-{i}" for i in range(len(owners))], "patient": owners})
        sets[name] = blob_pairs(len(owners), seed=seed + number), index
    return Pool.of(sets, Protocol.load("smoke", image_size=SIZE))


def scores_of_area(area: float, n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """Normal scores of `n` positives, then `m` negatives, whose expected area under the ROC curve is `area`."""
    from scipy.stats import norm

    return np.concatenate([rng.normal(np.sqrt(2.0) * norm.ppf(area), 1.0, n), rng.normal(0.0, 1.0, m)])
