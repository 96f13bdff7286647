"""Memorisation: the nearest training pair of every synthetic pair, beside that of real pairs never trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy import ndimage

from mammorgb_utils.data.geometry import area_resize, block_means
from mammorgb_utils.data.pairs import HELDOUT, TRAIN
from mammorgb_utils.evaluation.statistics import wilson
from mammorgb_utils.streams import Stream, generator

DISTANCES = ("pixel", "detail")
MARGIN = 0.75  # of the smallest held-out distance: nearer than this, a pair is flagged
COPIES = 0.25  # of the median held-out distance: a held-out pair nearer than this repeats a training pair
LOW_SHARE = 0.01  # of held-out pairs lies below the quantile that shares are counted against
PLANTED = ("planted_noise", "planted_shift", "planted_gain", "planted_blur", "planted_mixed")  # training pairs, altered
DISGUISED = ("disguised_offset", "disguised_mirrored", "disguised_swapped", "disguised_gamma")  # beyond what is sought
N_PLANTED = 25  # of each kind
EITHER = "either"  # the distance column's word for a pair that one of them flags
_FINE, _COARSE = 64, 32  # px: views are moved on the one grid and compared on the other
_SHIFTS = (-1, 0, 1)  # px of the finer grid: a slight offset doesn't hide a copy
_LOCAL = 2.0  # px of the coarser grid: SD of the Gaussian whose mean and contrast the detail distance takes out
_FLAT = 0.02  # of the intensity scale: contrast below which there is no detail
_AIR = 0.08  # of the intensity scale: local mean below which there is no tissue
_BLOCK = 512  # pairs compared at once


def planted_copies(train: np.ndarray, *, seed: int, n: int = N_PLANTED) -> dict[str, np.ndarray]:
    """Training pairs, slightly altered: what the search has to find; and disguised, to show what it misses.

    Returns:
        For each name in `PLANTED` `(≤ n, 2, H, W)` float32 of pairs chosen by the seed: noise of SD 0.02, both views
        moved by one 64th of the width, intensities times 0.85, a Gaussian blur of one 64th of the width, and each CC
        with the next one's MLO. For each in `DISGUISED` both views moved by two 64ths, mirrored top to bottom, CC and
        MLO swapped, intensities squared.
    """
    rng = generator(seed, Stream.PLANTED_COPIES)
    chosen = np.asarray(train[np.sort(rng.choice(len(train), min(n, len(train)), replace=False))], dtype=np.float32)
    step = max(1, round(train.shape[-1] / 64))
    altered = (np.clip(chosen + 0.02 * rng.standard_normal(chosen.shape), 0.0, 1.0), _moved(chosen, step, step),
               0.85 * chosen, ndimage.gaussian_filter(chosen, (0, 0, step, step)),
               np.stack([chosen[:, 0], np.roll(chosen[:, 1], 1, axis=0)], axis=1),
               _moved(chosen, 2 * step, 2 * step), chosen[:, :, ::-1], chosen[:, ::-1], chosen**2)
    return {name: pairs.astype(np.float32) for name, pairs in zip((*PLANTED, *DISGUISED), altered, strict=True)}


def nearest_training(sets: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """For every pair of every set the nearest training pair, under two distances.

    Both compare views on a grid of 32 × 32, over offsets of a pixel of a grid of at most 64 × 64. The pixel distance
    takes both views at once, after mean and contrast are taken out, so that a change of intensity hides nothing. The
    detail distance takes out the local mean and contrast as well, and is that of the nearer view: it looks at the
    pattern inside the breast and finds a copy of one view beside a view that was never seen.

    Args:
        sets: `(N, 2, H, W)` pairs of each set in [0, 1]; `train` and `heldout` must be among them.
        names: Pair pseudonyms of each set, in its order.

    Returns:
        One row a pair of each set but `train`: `set`, `pair`, and for both distances `_distance` (in [0, 2]), `_pair`
        (the training pair's pseudonym), `_flag` (nearer than `flag_threshold`); `flagged` under either.

    Raises:
        ValueError: A set is missing, empty, of another image size, or has another number of names.
    """
    _check(sets, names)
    train, train_names = _reduced(sets[TRAIN], _FINE), np.asarray(names[TRAIN], dtype=str)
    parts = {distance: directions(train) for distance, directions in _DIRECTIONS.items()}
    tables = []
    for name in (name for name in sets if name != TRAIN):
        views, table = _reduced(sets[name], _FINE), {"set": name, "pair": np.asarray(names[name], dtype=str)}
        for distance, directions in _DIRECTIONS.items():
            table[f"{distance}_distance"], rows = _nearest(views, parts[distance], directions)
            table[f"{distance}_pair"] = train_names[rows]
        tables.append(pd.DataFrame(table))
    nearest = pd.concat(tables, ignore_index=True)
    for distance in DISTANCES:
        nearest[f"{distance}_flag"] = nearest[f"{distance}_distance"] < flag_threshold(nearest, distance)
    return nearest.assign(flagged=nearest[[f"{distance}_flag" for distance in DISTANCES]].any(axis=1))


def flag_threshold(nearest: pd.DataFrame, distance: str) -> float:
    """Distance below which a pair is flagged: `MARGIN` times the smallest of held-out pairs, copies left out."""
    values = nearest.loc[nearest["set"] == HELDOUT, f"{distance}_distance"].to_numpy(float)
    return MARGIN * float(values[values >= COPIES * np.median(values)].min())


def memorisation_table(nearest: pd.DataFrame) -> pd.DataFrame:
    """How near each set comes to the training pairs, beside the held-out set.

    Args:
        nearest: What `nearest_training` returns.

    Returns:
        One row a set and distance: `n`, `median`, `smallest`, `n_flagged`, `n_below` (pairs under the held-out 1st
        percentile) and `chance` (how many are expected there), `flagged` and `below` (shares) with `_low` and `_high`
        (Wilson), `threshold`, `n_heldout`; and one row a set for `EITHER` distance, with `n`, `n_flagged` and
        `flagged` alone. No interval of the held-out share: its own smallest distance sets the threshold. The rows of
        planted and disguised copies tell how much the search would miss. Without a held-out pair a ValueError says so.
    """
    heldout = nearest[nearest["set"] == HELDOUT]
    if heldout.empty:
        raise ValueError("metrics/nearest_training.csv: no held-out pairs to compare with; the manifest's column "
                         "'split' must keep some patients out of training")
    rows = []
    for name, part in nearest.groupby("set", sort=False):
        for distance in DISTANCES:
            values, reference = part[f"{distance}_distance"], heldout[f"{distance}_distance"]
            below, flagged = values < reference.quantile(LOW_SHARE), part[f"{distance}_flag"].astype(bool)
            rows.append({"set": name, "distance": distance, "n": len(part), "median": values.median(),
                         "smallest": values.min(), "n_flagged": int(flagged.sum()), "n_below": int(below.sum()),
                         "chance": LOW_SHARE * len(part),
                         **wilson(int(flagged.sum()), len(part)).columns("flagged"),
                         **wilson(int(below.sum()), len(part)).columns("below"),
                         "threshold": flag_threshold(nearest, distance), "n_heldout": len(heldout)})
        n_flagged = int(part["flagged"].sum())
        rows.append({"set": name, "distance": EITHER, "n": len(part), "n_flagged": n_flagged,
                     "n_heldout": len(heldout), **wilson(n_flagged, len(part)).columns("flagged")})
    table = pd.DataFrame(rows)
    table.loc[table["set"] == HELDOUT, ["flagged_low", "flagged_high"]] = np.nan
    return table


def closest_pairs(nearest: pd.DataFrame, sets: Mapping[str, np.ndarray], train_names: Sequence[str], *,
                  n: int = 2) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The `n` synthetic pairs of each set nearest to training, flagged ones first, beside those training pairs.

    Args:
        nearest: What `nearest_training` returned for these sets.
        sets: As there; held-out pairs and planted copies aren't shown.
        train_names: Pseudonyms of the training pairs, in their order.

    Returns:
        Title, synthetic pair and training pair, `(2, H, W)` each. A pair that the detail distance alone flags stands
        beside the training pair that it found.
    """
    place, shown = {name: row for row, name in enumerate(train_names)}, []
    for name in (name for name in sets if name not in (TRAIN, HELDOUT, *PLANTED, *DISGUISED)):
        part = nearest[nearest["set"] == name].reset_index(drop=True)
        part = part.assign(calm=~part["flagged"].astype(bool)).sort_values(["calm", "pixel_distance"]).head(n)
        for row, pair in part.iterrows():
            by = "detail" if pair["detail_flag"] and not pair["pixel_flag"] else "pixel"
            title = f"{pair['pair']}\n{by} {pair[f'{by}_distance']:.2f}" + (" (flagged)" if pair["flagged"] else "")
            shown.append((title, np.asarray(sets[name][row]), np.asarray(sets[TRAIN][place[pair[f"{by}_pair"]]])))
    return shown


def _check(sets: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]]) -> None:
    for needed in (TRAIN, HELDOUT):
        if needed not in sets or len(sets[needed]) == 0:
            raise ValueError(f"sets: no pairs of the set {needed!r}; memorisation needs training pairs and pairs held "
                             "out of training")
    shape = sets[TRAIN].shape[1:]
    for name, pairs in sets.items():
        if pairs.ndim != 4 or pairs.shape[1:] != shape:
            raise ValueError(f"sets: {name} has shape {pairs.shape}, training pairs have (N, {str(shape)[1:]}")
        if len(names.get(name, ())) != len(pairs):
            raise ValueError(f"names: {len(names.get(name, ()))} for {len(pairs)} pairs of the set {name!r}")


def _nearest(views: np.ndarray, train: np.ndarray,
             directions: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Smallest distance over the offsets and the parts compared, and the row of that training pair."""
    likeness, rows = np.full(len(views), -1.0), np.zeros(len(views), int)
    for start in range(0, len(views), _BLOCK):
        here = slice(start, start + _BLOCK)
        for down, right in product(_SHIFTS, _SHIFTS):
            moved = directions(_moved(views[here], down, right))
            for part, known in zip(moved.swapaxes(0, 1), train.swapaxes(0, 1), strict=True):
                best = (part @ known.T).argmax(axis=1)
                value = (part * known[best]).sum(axis=1, dtype=float)  # as a product's last bits depend on threads
                better = value > likeness[here]
                rows[here], likeness[here] = np.where(better, best, rows[here]), np.where(better, value, likeness[here])
    return np.sqrt(np.maximum(2.0 - 2.0 * likeness, 0.0)), rows


def _pixels(views: np.ndarray) -> np.ndarray:
    """`(N, 1, D)`: both views as one direction, mean taken out."""
    return _directions(_reduced(views, _COARSE).reshape(len(views), 1, -1))


def _details(views: np.ndarray) -> np.ndarray:
    """`(N, 2, D)`: each view's deviations from its local mean in units of its local contrast, air left out."""
    small, sd = _reduced(views, _COARSE), (0, 0, _LOCAL, _LOCAL)
    mean = ndimage.gaussian_filter(small, sd)
    contrast = np.sqrt(ndimage.gaussian_filter((small - mean) ** 2, sd)) + _FLAT
    return _directions(((small - mean) / contrast * (mean > _AIR)).reshape(*small.shape[:2], -1))


_DIRECTIONS = dict(zip(DISTANCES, (_pixels, _details), strict=True))


def _directions(values: np.ndarray) -> np.ndarray:
    """Mean taken out and of length 1 along the last axis; 0 where all is alike."""
    values = values - values.mean(axis=-1, keepdims=True)
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-6)


def _reduced(pairs: np.ndarray, side: int) -> np.ndarray:
    """`(N, 2, ≤ side, ≤ side)` float32 area means."""
    n, _, height, width = pairs.shape
    rows, columns = min(height, side), min(width, side)
    if height % rows or width % columns:
        views = [area_resize(np.asarray(view), (rows, columns)) for pair in pairs for view in pair]
        return np.array(views).reshape(n, 2, rows, columns)
    return block_means(np.asarray(pairs), height // rows, width // columns)


def _moved(pairs: np.ndarray, down: int, right: int) -> np.ndarray:
    """Views moved by whole pixels; the edge is repeated."""
    rows = np.clip(np.arange(pairs.shape[2]) - down, 0, pairs.shape[2] - 1)
    columns = np.clip(np.arange(pairs.shape[3]) - right, 0, pairs.shape[3] - 1)
    return pairs[:, :, rows][:, :, :, columns]
