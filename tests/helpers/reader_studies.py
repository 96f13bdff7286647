"""A small study of drawn breasts for the tests of the reader study."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from mammorgb_utils.experiments.readers import (
    Key,
    artefact_rates,
    build_study,
    readings_at_hand,
    score_readers,
)
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, write_array, write_csv

SIDE, N_REAL = 16, 30


def small_run(root, source="phantom"):
    """A run with 30 real pairs of 15 patients and 12 synthetic ones of two sets."""
    rng = np.random.default_rng(70)
    run = Run(root, Protocol(encodings=("sum", "zero"), image_size=SIDE, real_split="all"), root / "manifest.csv")
    write_array(run.pairs, rng.random((N_REAL, 2, SIDE, SIDE)).astype(np.float32) ** 2)
    write_csv(run.pairs_index, pd.DataFrame({
        "pair": [f"P{i // 2:04d}_E1_{'LR'[i % 2]}" for i in range(N_REAL)],
        "patient": [f"P{i // 2:04d}" for i in range(N_REAL)], "split": "heldout", "source": source}))
    for name in run.protocol.encodings:
        write_array(run.samples(name), rng.random((12, 2, SIDE, SIDE)).astype(np.float32))
    return run


def small_study(root, **options):
    """The run, the folder of its reader study, and the key."""
    run = small_run(root)
    return run, run.reader_study, build_study(run, run.reader_study, **({"pairs": 12, "repeats": 4} | options))


def simulated_tables():
    """Readings of two simulated readers of 48 pairs, six of them shown twice, their scores, and artefact rates."""
    sets = [("real", "real", "real", "sum", "absdiff", "zero")[i % 6] for i in range(48)]
    cases = pd.DataFrame({"case": [f"c{i:03d}" for i in range(48)], "set": sets, "pair": "P", "repeat_of": ""})
    again = cases.head(6).assign(case=[f"c{i:03d}" for i in range(48, 54)], repeat_of=cases["case"].head(6))
    key = Key("study", "page", "", False, pd.concat([cases, again], ignore_index=True))
    with TemporaryDirectory() as folder:
        readings = readings_at_hand(Path(folder), key, seed=3)
    return readings, score_readers(readings), artefact_rates(readings)
