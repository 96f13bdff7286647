"""Memorisation: the nearest training pair of every synthetic pair, beside that of real pairs never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.metrics import pairwise_distances_argmin_min

from mammorgb_utils.evaluation.hypothesis_tests import wilson
from mammorgb_utils.evaluation.texture import feature_columns

TRAIN, HELDOUT = "train", "heldout"  # names of the two real sets
DISTANCES = ("pixel", "texture")
MARGIN = 0.75  # of the smallest held-out distance: nearer than this, a pair is flagged
COPIES = 0.25  # of the median held-out distance: a held-out pair nearer than this repeats a training pair
LOW_SHARE = 0.01  # of held-out pairs lies below the quantile that shares are counted against
PLANTED = ("planted_noise", "planted_shift", "planted_gain", "planted_blur")  # altered training pairs
N_PLANTED = 25  # of each kind
CLIP = 5.0  # training standard deviations of a feature
_GRID = 32  # px: views are compared on this grid
_SHIFTS = (-1, 0, 1)  # half pixels of that grid: an offset doesn't hide a copy
_BLOCK = 512  # pairs compared at once
_STREAM = 41


def planted_copies(train: np.ndarray, *, seed: int, n: int = N_PLANTED) -> dict[str, np.ndarray]:
    """Training pairs, slightly altered: what the search has to find.

    Args:
        train: `(N, 2, H, W)` training pairs in [0, 1].
        seed: Chooses the pairs and the noise.
        n: Copies of each kind; at most N.

    Returns:
        For each name in `PLANTED` `(n, 2, H, W)` float32: noise of SD 0.02, both views moved by one 64th of the width,
        intensities times 0.85, a Gaussian blur of one 64th of the width.
    """
    rng = np.random.default_rng([seed, _STREAM])
    chosen = np.asarray(train[np.sort(rng.choice(len(train), min(n, len(train)), replace=False))], dtype=np.float32)
    step = max(1, round(train.shape[-1] / 64))
    altered = (np.clip(chosen + 0.02 * rng.standard_normal(chosen.shape), 0.0, 1.0), _moved(chosen, step, step),
               0.85 * chosen, ndimage.gaussian_filter(chosen, (0, 0, step, step)))
    return {name: pairs.astype(np.float32) for name, pairs in zip(PLANTED, altered, strict=True)}


def nearest_training(sets: Mapping[str, np.ndarray], texture: pd.DataFrame) -> pd.DataFrame:
    """For every pair of every set the nearest training pair, under two distances.

    The pixel distance compares both views at once on a grid of 32 × 32, after mean and contrast are taken out, so
    that a change of intensity hides nothing, and over offsets of up to one 64th of the width. The texture distance
    is that of the feature set in training standard deviations; it sees copies whose place was changed.

    Args:
        sets: `(N, 2, H, W)` pairs of each set in [0, 1]; `train` and `heldout` must be among them.
        texture: metrics/texture.csv: `set`, `pair` and the features, in the order of the pairs, for all these sets.

    Returns:
        One row a pair of each set but `train`: `set`, `pair`, and for both distances `_distance`, `_pair` (the
        training pair's pseudonym), `_flag` (nearer than `MARGIN` times the smallest held-out distance); `flagged`
        under either. Pixel distances lie in [0, 2]; texture distances are NaN, and never flagged, where a view
        has no texture. Held-out pairs that repeat a training pair set no threshold and are flagged.

    Raises:
        ValueError: A set is missing, empty, of another image size, or not in the texture table as it should be.
    """
    rows = _rows_by_set(sets, texture)
    names = rows[TRAIN]["pair"].to_numpy(str)
    pixels, (features, scale) = _directions(np.asarray(sets[TRAIN])), _scaled(rows[TRAIN])
    tables = []
    for name in (name for name in sets if name != TRAIN):
        pixel, pixel_row = _nearest_pixels(sets[name], pixels)
        style, style_row = _nearest_texture(_scaled(rows[name], scale)[0], features)
        tables.append(pd.DataFrame({
            "set": name, "pair": rows[name]["pair"].to_numpy(str), "pixel_distance": pixel,
            "pixel_pair": names[pixel_row], "texture_distance": style,
            "texture_pair": np.where(np.isnan(style), "", names[style_row])}))
    nearest = pd.concat(tables, ignore_index=True)
    for distance in DISTANCES:
        nearest[f"{distance}_flag"] = nearest[f"{distance}_distance"] < flag_threshold(nearest, distance)
    return nearest.assign(flagged=nearest[[f"{distance}_flag" for distance in DISTANCES]].any(axis=1))


def flag_threshold(nearest: pd.DataFrame, distance: str) -> float:
    """Distance below which a pair is flagged: `MARGIN` times the smallest distance of a held-out pair.

    Args:
        nearest: What `nearest_training` returns.
        distance: A name in `DISTANCES`.

    Returns:
        NaN, so that nothing is flagged, where no held-out distance is known.
    """
    values = nearest.loc[nearest["set"] == HELDOUT, f"{distance}_distance"].dropna().to_numpy(float)
    values = values[values >= COPIES * np.median(values)] if values.size else values
    return MARGIN * float(values.min()) if values.size else float("nan")


def memorisation_table(nearest: pd.DataFrame) -> pd.DataFrame:
    """How near each set comes to the training pairs, beside the held-out set.

    Args:
        nearest: What `nearest_training` returns.

    Returns:
        One row a set and distance: `n`, `n_nan` (no distance), `median`, `smallest`, `n_flagged`, `n_below`, `chance`
        (pairs expected below the smallest held-out distance by chance, n / (held-out + 1)), `flagged` (share) and
        `below` (share under the held-out 1st percentile, expected 0.01), both with `_low` and `_high` (Wilson),
        `threshold`, `n_heldout`. The rows of planted copies tell how much the search would miss.

    Raises:
        ValueError: There is no held-out pair.
    """
    heldout = nearest[nearest["set"] == HELDOUT]
    if heldout.empty:
        raise ValueError("metrics/nearest_training.csv: no held-out pairs to compare with; the manifest's column "
                         "'split' must keep some patients out of training")
    rows = []
    for name, part in nearest.groupby("set", sort=False):
        for distance in DISTANCES:
            reference = heldout[f"{distance}_distance"].dropna()
            rows.append({"set": name, "distance": distance, **_rates(part, distance, reference),
                         "threshold": flag_threshold(nearest, distance), "n_heldout": len(reference)})
    return pd.DataFrame(rows)


def closest_pairs(nearest: pd.DataFrame, sets: Mapping[str, np.ndarray], train_names: Sequence[str], *,
                  n: int = 2) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The synthetic pairs nearest to training, flagged ones first, beside those training pairs.

    Args:
        nearest: What `nearest_training` returned for these sets.
        sets: As there; held-out pairs and planted copies aren't shown.
        train_names: Pseudonyms of the training pairs, in their order.
        n: Pairs of each set.

    Returns:
        Title of two lines (pair; distance, whether it is flagged), synthetic pair and training pair, `(2, H, W)` each.
        A pair that the texture distance alone flags stands beside its training pair in texture.
    """
    place, shown = {name: row for row, name in enumerate(train_names)}, []
    for name in (name for name in sets if name not in (TRAIN, HELDOUT, *PLANTED)):
        part = nearest[nearest["set"] == name].reset_index(drop=True)
        part = part.assign(calm=~part["flagged"].astype(bool)).sort_values(["calm", "pixel_distance"]).head(n)
        for row, pair in part.iterrows():
            by = "texture" if pair["texture_flag"] and not pair["pixel_flag"] else "pixel"
            title = f"{pair['pair']}\n{by} {pair[f'{by}_distance']:.2f}" + (" (flagged)" if pair["flagged"] else "")
            shown.append((title, np.asarray(sets[name][row]), np.asarray(sets[TRAIN][place[pair[f"{by}_pair"]]])))
    return shown


def _rates(part: pd.DataFrame, distance: str, reference: pd.Series) -> dict[str, float]:
    values = part[f"{distance}_distance"].dropna()
    flagged = int(part.loc[values.index, f"{distance}_flag"].astype(bool).sum())
    facts = {"n": len(values), "n_nan": len(part) - len(values), "median": values.median(), "smallest": values.min(),
             "n_flagged": flagged, "n_below": 0, "chance": len(values) / (len(reference) + 1)}
    if len(reference):
        facts["n_below"] = int((values < reference.quantile(LOW_SHARE)).sum())
    for name, count in (("flagged", flagged), ("below", facts["n_below"])):
        rate = wilson(count, len(values)) if len(values) else (np.nan,) * 3
        facts |= dict(zip((name, f"{name}_low", f"{name}_high"), rate, strict=True))
    return facts


def _rows_by_set(sets: Mapping[str, np.ndarray], texture: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The texture rows of each set, which must be as many as its pairs."""
    feature_columns(texture)
    for needed in (TRAIN, HELDOUT):
        if needed not in sets or len(sets[needed]) == 0:
            raise ValueError(f"sets: no pairs of the set {needed!r}; memorisation needs training pairs and pairs held "
                             "out of training")
    shape, rows = sets[TRAIN].shape[1:], {}
    for name, pairs in sets.items():
        if pairs.ndim != 4 or pairs.shape[1:] != shape:
            raise ValueError(f"sets: {name} has shape {pairs.shape}, training pairs have (N, {str(shape)[1:]}")
        rows[name] = texture[texture["set"] == name]
        if len(rows[name]) != len(pairs):
            raise ValueError(f"metrics/texture.csv: {len(rows[name])} rows for {len(pairs)} pairs of the set {name!r}; "
                             "run 04_metrics again")
    return rows


def _nearest_pixels(pairs: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest distance over the offsets, and the row of that training pair."""
    likeness, rows = np.full(len(pairs), -1.0), np.zeros(len(pairs), int)
    step = max(1, round(pairs.shape[-1] / (2 * _GRID)))
    for start in range(0, len(pairs), _BLOCK):
        block = np.asarray(pairs[start:start + _BLOCK], dtype=np.float32)
        for down, right in ((down, right) for down in _SHIFTS for right in _SHIFTS):
            product = _directions(_moved(block, down * step, right * step)) @ train.T
            best = product.argmax(axis=1)
            value = np.take_along_axis(product, best[:, None], axis=1)[:, 0].astype(float)
            here = slice(start, start + len(block))
            better = value > likeness[here]
            rows[here], likeness[here] = np.where(better, best, rows[here]), np.where(better, value, likeness[here])
    return np.sqrt(np.maximum(2.0 - 2.0 * likeness, 0.0)), rows


def _directions(pairs: np.ndarray) -> np.ndarray:
    """`(N, D)` float32: both views on the coarse grid, mean taken out, of length 1 (0 for a blank pair)."""
    n, _, height, width = pairs.shape
    factors = (1, 1, min(1.0, _GRID / height), min(1.0, _GRID / width))
    blocks = [round(1 / factor) for factor in factors[2:]]
    if height % blocks[0] or width % blocks[1]:
        small = ndimage.zoom(pairs, factors, order=1)
    else:
        small = pairs.reshape(n, 2, height // blocks[0], blocks[0], width // blocks[1], blocks[1]).mean(axis=(3, 5))
    flat = small.reshape(n, -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _moved(pairs: np.ndarray, down: int, right: int) -> np.ndarray:
    """Views moved by whole pixels; the edge is repeated."""
    rows = np.clip(np.arange(pairs.shape[2]) - down, 0, pairs.shape[2] - 1)
    columns = np.clip(np.arange(pairs.shape[3]) - right, 0, pairs.shape[3] - 1)
    return pairs[:, :, rows][:, :, :, columns]


def _scaled(frame: pd.DataFrame, scale: tuple[np.ndarray, np.ndarray] | None = None) -> tuple[np.ndarray, tuple]:
    """Features in training standard deviations; one unknown feature counts as average, a view without any as NaN."""
    values = frame[feature_columns()].to_numpy(float)
    if scale is None:
        known = np.isfinite(values).any(axis=0)
        mean, spread = np.zeros(values.shape[1]), np.zeros(values.shape[1])
        mean[known], spread[known] = np.nanmean(values[:, known], axis=0), np.nanstd(values[:, known], axis=0)
        scale = mean, np.where(spread > 1e-12, spread, np.inf)
    standard = np.clip((values - scale[0]) / scale[1], -CLIP, CLIP)
    lost = np.isnan(frame[["cc_mean", "mlo_mean"]].to_numpy(float)).any(axis=1)
    return np.where(lost[:, None], np.nan, np.nan_to_num(standard)), scale


def _nearest_texture(features: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distance, rows = np.full(len(features), np.nan), np.zeros(len(features), int)
    known, usable = np.flatnonzero(~np.isnan(features).any(axis=1)), np.flatnonzero(~np.isnan(train).any(axis=1))
    if known.size and usable.size:
        nearest, distance[known] = pairwise_distances_argmin_min(features[known], train[usable])
        rows[known] = usable[nearest]
    return distance, rows
