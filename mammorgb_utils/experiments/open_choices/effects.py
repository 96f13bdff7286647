"""Two open choices whose effect a finished study can still measure: which pairs are real, and which test."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import brunnermunzel, ks_2samp, ttest_ind

from mammorgb_utils.evaluation.consistency import pairing_gain, shuffled_overlap
from mammorgb_utils.evaluation.overlap import pair_masks, pair_metrics
from mammorgb_utils.evaluation.statistics import Sample, hodges_lehmann, mann_whitney, median_draws, patient_of, sets_in
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

MAX_PAIRS = 500  # of a split that are masked; medians to about 0.005 of IoU
MIN_PAIRS = 3
SPLITS = ("heldout", "train", "all")  # `real_split`
TESTS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "Mann–Whitney": lambda x, y: mann_whitney(x, y),
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
            rows += [{"split": split} | row
                     for row in _split_rows(pairs[places], index.iloc[places], overlap, protocol)]
    return pd.DataFrame(rows, columns=["split", "result", "set", "value", "low", "high"])


def _split_rows(pairs: np.ndarray, index: pd.DataFrame, overlap: pd.DataFrame,
                protocol: Protocol) -> list[dict[str, object]]:
    masks = pair_masks(pairs, protocol.mask_method)
    real = pair_metrics(pairs, masks=masks).assign(pair=index["pair"].to_numpy(), patient=index["patient"].to_numpy())
    known = real[real["iou"].notna()]
    if len(known) < MIN_PAIRS:
        return []
    rows = [_row("real_median", "real", known["iou"].median(), *_interval(_medians(known, protocol)))]
    if 2 * index["patient"].value_counts().max() <= len(index):  # else there is no derangement
        strangers = shuffled_overlap(masks, n_draws=protocol.n_derangements, seed=protocol.seed, pairs=index["pair"],
                                     patients=index["patient"])
        gain, gains = pairing_gain(real, strangers, n_bootstrap=protocol.n_bootstrap,
                                   seed=protocol.seed + Stream.CHOICE_GAINS)
        rows.append(_row("gain", "real", gain, *_interval(gains)))
    for name in sets_in(overlap, protocol):
        drawn = overlap.loc[(overlap["set"] == name) & overlap["iou"].notna()]
        if len(drawn) >= MIN_PAIRS:
            groups = np.concatenate([patient_of(drawn), patient_of(known)])
            rows.append(_row("shift", name, *hodges_lehmann(drawn["iou"], known["iou"], groups=groups)))
    return rows


def _row(result: str, name: str, value: float, low: float, high: float) -> dict[str, object]:
    return {"result": result, "set": name, "value": value, "low": low, "high": high}


def _interval(draws: np.ndarray) -> tuple[float, float]:
    return tuple(np.nanquantile(draws, [0.025, 0.975]))


def _medians(known: pd.DataFrame, protocol: Protocol) -> np.ndarray:
    """Bootstrap draws of the median IoU over patients."""
    sample = Sample(known["iou"].to_numpy(float), patient_of(known))
    return median_draws(sample, protocol.n_bootstrap, generator(protocol.seed, Stream.CHOICE_MEDIANS))


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
