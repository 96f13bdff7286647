"""Two open choices whose effect a finished study can still measure: which pairs are real, and which test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import brunnermunzel, ks_2samp, ttest_ind

from mammorgb_utils.evaluation.consistency import pairing_gain
from mammorgb_utils.evaluation.sets import StudySets, overlap_table, shuffled_table
from mammorgb_utils.evaluation.statistics import (
    MIN_PAIRS,
    Sample,
    hodges_lehmann,
    mann_whitney,
    median_draws,
    patient_of,
    sets_in,
)
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

MAX_PAIRS = 500  # of a split that are masked; medians to about 0.005 of IoU
SPLITS = ("heldout", "train", "all")  # `real_split`
TESTS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "Mann–Whitney": mann_whitney,
    "Kolmogorov–Smirnov": lambda x, y: float(ks_2samp(x, y).pvalue),
    "Welch's t": lambda x, y: float(ttest_ind(x, y, equal_var=False).pvalue),
    "Brunner–Munzel": lambda x, y: float(brunnermunzel(x, y).pvalue),
}


def split_effects(pairs: np.ndarray, index: pd.DataFrame, overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """The main results, were the real pairs the held-out ones, those of training, or all.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], every pair of the study.
        index: Their rows of `pairs/index.csv`.
        overlap: metrics/overlap.csv, for the synthetic pairs.
        protocol: Gives the mask method, draws and seed.

    Returns:
        One row a split and result: `split`, `result` (`real_median`, `gain`, and the `shift` of each encoding), `set`,
        `value`, `low`, `high` (95 %). Splits of fewer than `MIN_PAIRS` pairs are left out, and the gain of one in
        which a patient holds more than half, as it can't be shuffled; of larger ones than `MAX_PAIRS` so many are
        drawn.
    """
    rows = []
    for split in SPLITS:
        places = np.flatnonzero(index["split"] == split) if split != "all" else np.arange(len(index))
        if len(places) > MAX_PAIRS:
            rng = generator(protocol.seed, Stream.SPLIT_SAMPLE)
            places = np.sort(rng.choice(places, MAX_PAIRS, replace=False))
        if len(places) >= MIN_PAIRS:
            sets = StudySets.of({split: (pairs[places], index.iloc[places])}, protocol)
            rows += [(split, *row) for row in _split_rows(sets, overlap)]
    return pd.DataFrame(rows, columns=["split", "result", "set", "value", "low", "high"])


def _split_rows(sets: StudySets, overlap: pd.DataFrame) -> Iterator[tuple]:
    protocol, real = sets.protocol, overlap_table(sets)
    known = real[real["iou"].notna()]
    if len(known) < MIN_PAIRS:
        return
    sample = Sample(known["iou"].to_numpy(float), patient_of(known))
    medians = median_draws(sample, protocol.n_bootstrap, generator(protocol.seed, Stream.CHOICE_MEDIANS))
    yield "real_median", "real", known["iou"].median(), *np.nanquantile(medians, [0.025, 0.975])
    if 2 * real["patient"].value_counts().max() <= len(real):  # else there is no derangement
        gain, gains = pairing_gain(real, shuffled_table(sets), n_bootstrap=protocol.n_bootstrap,
                                   seed=protocol.seed + Stream.CHOICE_GAINS)
        yield "gain", "real", gain, *np.nanquantile(gains, [0.025, 0.975])
    for name in sets_in(overlap, protocol):
        drawn = overlap.loc[(overlap["set"] == name) & overlap["iou"].notna()]
        if len(drawn) >= MIN_PAIRS:
            groups = np.concatenate([patient_of(drawn), patient_of(known)])
            yield "shift", name, *hodges_lehmann(drawn["iou"], known["iou"], groups=groups)


def contrast_tests(overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """p-values of the encodings' contrasts in IoU under each test that may have given the paper's.

    Args:
        overlap: metrics/overlap.csv; a synthetic pair is its own patient, so that values are independent.
        protocol: Gives the encodings.

    Returns:
        One row a contrast and test: `first`, `second`, `test`, `p` (two-sided, unadjusted; NaN with fewer than
        `MIN_PAIRS` pairs in a set).
    """
    values = {name: rows["iou"].dropna().to_numpy(float) for name, rows in overlap.groupby("set")}
    rows = []
    for first, second in combinations(sets_in(overlap, protocol), 2):
        enough = min(values[first].size, values[second].size) >= MIN_PAIRS
        rows += [{"first": first, "second": second, "test": name,
                  "p": test(values[first], values[second]) if enough else np.nan} for name, test in TESTS.items()]
    return pd.DataFrame(rows, columns=["first", "second", "test", "p"])
