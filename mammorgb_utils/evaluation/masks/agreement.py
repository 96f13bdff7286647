"""How far mask methods agree with each other and with a phantom's truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import combinations

import numpy as np
import pandas as pd

from mammorgb_utils.data.geometry import area_resize
from mammorgb_utils.evaluation.anatomy.truth import phantom_folders
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.statistics import Sample, median_draws
from mammorgb_utils.protocol import VIEWS, Protocol
from mammorgb_utils.runs import Run
from mammorgb_utils.streams import Stream, generator

TRUTH = "truth"  # stands beside the methods where a phantom's own masks are known
LOW_AGREEMENT = 0.90  # IoU of two masks of one view, below which they aren't the same breast
AGREEMENT_COLUMNS = ("set", "view", "first", "second", "n", "n_nan", "iou_median", "iou_low", "iou_high", "iou_p5",
                     "below", "area_bias")


def mask_agreement(masks: Mapping[str, Mapping[str, PairMasks]], protocol: Protocol, *,
                   patients: Mapping[str, Sequence] | None = None,
                   truth: Mapping[str, np.ndarray] | None = None) -> pd.DataFrame:
    """Every two methods' masks of the same views, and each method's against the truth where that is known.

    Args:
        masks: Set name to what `masks_by_method` gave for it.
        protocol: Gives bootstrap draws and seed.
        patients: Patient of each pair by set, where it isn't the pair itself.
        truth: Set name to the `true_masks` of its pairs.

    Returns:
        `AGREEMENT_COLUMNS`, one row a set, view (CC | MLO) and two methods, `first` and `second` (a method, or
        `truth`): `n_nan` (views where both masks are empty, left out); `iou_median` with its 95 % interval by bootstrap
        over patients, `iou_p5` (5th percentile), `below` (share under `LOW_AGREEMENT`); `area_bias` (median of the
        second's area − the first's, in percent of the image).
    """
    patients, truth = patients or {}, truth or {}
    rows = []
    for name, found in masks.items():
        breasts = {method: drawn.breast for method, drawn in found.items()}
        breasts |= {TRUTH: truth[name]} if name in truth else {}
        n = len(next(iter(breasts.values())))
        owner = np.asarray(patients[name]) if name in patients else np.arange(n)
        for (first, a), (second, b) in combinations(breasts.items(), 2):
            rows += [{"set": name, "view": view, "first": first, "second": second}
                     | _agreement_row(a[:, column], b[:, column], owner, protocol) for column, view in enumerate(VIEWS)]
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def _agreement_row(first: np.ndarray, second: np.ndarray, owner: np.ndarray, protocol: Protocol) -> dict[str, float]:
    either = np.count_nonzero(first | second, axis=(1, 2))
    known = either > 0
    row = {"n": int(known.sum()), "n_nan": int((~known).sum())}
    if not known.any():
        return row
    overlap = np.count_nonzero(first & second, axis=(1, 2)) / np.maximum(either, 1)
    draws = median_draws(Sample(overlap[known], owner[known]), protocol.n_bootstrap,
                         generator(protocol.seed, Stream.MASK_AGREEMENT))
    low, high = np.quantile(draws, [0.025, 0.975])
    bias = 100.0 * (second.mean(axis=(1, 2)) - first.mean(axis=(1, 2)))
    return row | {"iou_median": np.median(overlap[known]), "iou_low": low, "iou_high": high,
                  "iou_p5": np.quantile(overlap[known], 0.05), "below": np.mean(overlap[known] < LOW_AGREEMENT),
                  "area_bias": np.median(bias[known])}


def true_masks(run: Run, index: pd.DataFrame) -> np.ndarray | None:
    """True masks of the phantom pairs in `pairs/index.csv` on the study's grid, as the cohort's folder holds them.

    Returns:
        `(N, 2, image_size, image_size)` bool, CC first; None where the pairs aren't all phantoms of one cohort, its
        truth isn't beside its images, or the study's views aren't squashed mirror images of the whole detector.
    """
    if set(index["source"]) != {"phantom"} or run.protocol.aspect != "squash" or not run.protocol.mirror:
        return None
    files = [(folder / "truth.csv", folder / "truth_masks" / "masks.npz") for folder in phantom_folders(run)]
    if len(files) != 1 or not all(file.is_file() for file in files[0]):
        return None
    table, stored = files[0]
    pairs = pd.read_csv(table, usecols=["pair"], dtype=str)["pair"]
    rows = pd.Series(range(len(pairs)), index=pairs).reindex(index["pair"])
    if rows.isna().any():
        return None
    size = (run.protocol.image_size,) * 2
    with np.load(stored, allow_pickle=False) as masks:
        views = [[area_resize(mask, size) > 0.5 for mask in masks[name][rows.astype(int)]] for name in ("cc", "mlo")]
    return np.stack([np.stack(view) for view in views], axis=1)


def mask_examples(sets: Mapping[str, np.ndarray],
                  masks: Mapping[str, Mapping[str, PairMasks]]) -> list[tuple[str, np.ndarray, dict[str, np.ndarray]]]:
    """Pairs to look at, chosen by rule: the real one of middling and the one of least agreement, and a synthetic one.

    A pair's agreement is the share of the pixels that any method takes for breast which all of them take.

    Args:
        sets: Set name to `(N, 2, H, W)` float in [0, 1].
        masks: Set name to what `masks_by_method` gave for it.

    Returns:
        At most three of title, `(2, H, W)` views, and method to `(2, H, W)` bool.
    """
    drawn = next((name for name in sets if name != "real"), None)
    wanted = [("real", 0.5, "Real, middling"), ("real", 0.0, "Real, least agreement")]
    wanted += [(drawn, 0.5, "Synthetic, middling")] if drawn else []
    examples = []
    for name, share, title in wanted:
        breasts = [found.breast for found in masks[name].values()]
        all_hold, any_holds = (np.count_nonzero(reduce(join, breasts), axis=(1, 2, 3))
                               for join in (np.logical_and, np.logical_or))
        agreement = all_hold / np.maximum(any_holds, 1)
        row = np.argsort(agreement, kind="stable")[int(share * (len(agreement) - 1))]
        chosen = {method: found.breast[row] for method, found in masks[name].items()}
        examples.append((title, np.asarray(sets[name][row]), chosen))
    return examples
