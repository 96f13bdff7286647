"""MammoFlow's figures: how alike the depth profiles of a pair's two views are, at the best of 112 alignments.

Sum the columns of each view inside the breast, the muscle left out, from chest wall to nipple: two views of one breast
spread their tissue alike. The CC's chest wall is cut off by several lengths and the MLO turned by several angles, and
the best of all 112 alignments counts, for strangers' views too. The unaligned figures stand beside it.

Source:
    MammoFlow (arXiv 2606.28537), whose page reports the differences to real in percent; lengths are shares of its
    512 px. Its released code turns the muscle away, where we mask it, and picks the alignment by another distance.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import pandas as pd
from scipy import ndimage, sparse
from scipy.special import rel_entr

from mammorgb_utils.evaluation import statistics
from mammorgb_utils.evaluation.consistency.pairing import nearest_area_pairing, strangers
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.statistics import Effect
from mammorgb_utils.evaluation.threads import parts_on_every_core
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

GRID = 128  # px, of MammoFlow's 512: every breast is stretched to a square of this side
CROPS = np.arange(0, 128, 8) / 512  # of the CC's depth, from the chest wall
ANGLES = np.arange(-6, 7, 2)  # degrees
SIGMA = 5 / 512  # of the depth: the profiles' smoothing
PROFILE_MEASURES = ("emd", "jsd", "overlap")
OWN, SHUFFLED, LIKE_AREA = "own", "shuffled", "like_area"  # whose MLO stands beside each CC
_AS_IS = (0, len(ANGLES) // 2)  # the alignment that crops and turns nothing
_DRAWS = 4  # derangements: strangers of each CC
_BLOCK = 256  # pairs compared at once: 256 × 112 × 128 numbers
_LEAST = 1e-12  # share of the tissue, below which a logarithm isn't taken


def depth_profiles(pairs: np.ndarray, masks: PairMasks) -> tuple[np.ndarray, np.ndarray]:
    """Depth profiles of every pair's views under every crop, and every turn.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first, chest wall on the left.
        masks: Masks of these pairs.

    Returns:
        CC `(N, 16, GRID)` and MLO `(N, 7, GRID)` float32, chest wall first, each of sum 1; NaN without a mask.
    """
    cc, mlo = (np.concatenate(part) for part in zip(*parts_on_every_core(
        _profiles, pairs, masks.breast[:, 0], masks.mlo_no_muscle), strict=True))
    return cc, mlo


def _profiles(pairs: np.ndarray, cc: np.ndarray, mlo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns of each stretched breast, under every alignment, stretched to `GRID` again."""
    plain, turned = (np.stack([_square(view, mask) for view, mask in zip(pairs[:, column], found, strict=True)])
                     for column, found in ((0, cc), (1, mlo)))
    mass = np.cumsum(np.pad(plain.sum(axis=1), ((0, 0), (1, 0))), axis=1)
    edges = np.linspace(0.0, 1.0, GRID + 1)
    cut = CROPS[:, None] + (1.0 - CROPS[:, None]) * edges
    found = [np.diff([np.interp(cut, edges, one) for one in mass], axis=2), np.empty((len(pairs), len(ANGLES), GRID))]
    for number, angle in enumerate(ANGLES):
        columns = turned.reshape(len(pairs), -1) @ _turn(int(angle)).T
        found[1][:, number] = [_stretched(column) for column in columns]
    smooth = (ndimage.gaussian_filter1d(part, SIGMA * GRID, axis=2, mode="constant") for part in found)
    with np.errstate(invalid="ignore"):
        return tuple((part / part.sum(axis=2, keepdims=True)).astype(np.float32) for part in smooth)


def _square(view: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`(GRID, GRID)`: the box around a mask, what is beyond the mask black, stretched; NaN without a mask."""
    if not mask.any():
        return np.full((GRID, GRID), np.nan)
    rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
    box = np.where(mask, view, 0.0)[rows, columns].astype(float)
    steps = [size / GRID for size in box.shape]
    return ndimage.affine_transform(box, steps, [(step - 1.0) / 2.0 for step in steps], (GRID, GRID), order=1,
                                    mode="nearest")


@cache
def _turn(angle: int) -> sparse.csr_array:
    """`(columns, GRID · GRID)`: adds up a square's columns after it was turned about the lower left corner, or, to the
    other side, the upper left one; what leaves the image there is lost, as chest wall is when an MLO is turned."""
    radian, centre = np.radians(abs(angle)), np.arange(GRID) + 0.5
    along = GRID - centre if angle > 0 else centre  # rows from the corner
    place = centre * np.cos(radian) - along[:, None] * np.sin(radian) - 0.5
    lower = np.floor(place).astype(int).ravel()
    share, pixel = place.ravel() - lower, np.arange(GRID**2)
    entries = [(lower, 1.0 - share), (lower + 1, share)]
    row, weight, column = (np.concatenate(part) for part in
                           zip(*((rows, weights, pixel) for rows, weights in entries), strict=True))
    inside = (row >= 0) & (row < GRID)
    return sparse.csr_array((weight[inside], (row[inside], column[inside])), shape=(GRID, GRID**2))


def _stretched(column: np.ndarray) -> np.ndarray:
    """The columns that hold tissue, stretched to all."""
    held = np.flatnonzero(column > 0.0)
    if not held.size:
        return np.full(GRID, np.nan)
    first, end = held[0], held[-1] + 1
    mass = np.concatenate([[0.0], np.cumsum(column[first:end])])
    return np.diff(np.interp(np.linspace(0.0, end - first, GRID + 1), np.arange(end - first + 1), mass))


def compared(cc: np.ndarray, mlo: np.ndarray) -> pd.DataFrame:
    """Figures of CC profiles beside MLO profiles, row by row.

    Args:
        cc, mlo: `(n, 16, GRID)` and `(n, 7, GRID)`, from `depth_profiles`.

    Returns:
        `emd` (mean gap between the two distribution functions, in [0, 1]: the least of all alignments), `jsd` and
        `overlap` at that alignment, and all three at none (`_as_is`). `jsd` is MammoFlow's: the mean of both
        Kullback–Leibler divergences [nats]. `overlap`: of the profiles, each over its highest, what they share over
        what either holds. NaN where a profile is missing.
    """
    found = []
    for start in range(0, len(cc), _BLOCK):
        a, b = cc[start:start + _BLOCK], mlo[start:start + _BLOCK]
        n, (left, right) = len(a), (np.cumsum(part, axis=2) for part in (a, b))
        gap = np.stack([np.abs(left[:, crop, None] - right).mean(axis=2) for crop in range(len(CROPS))], axis=1)
        best = np.unravel_index(np.nan_to_num(gap, nan=np.inf).reshape(n, -1).argmin(axis=1), gap.shape[1:])
        part, rows = {}, np.arange(n)
        for suffix, (crop, turn) in (("", best), ("_as_is", (np.full(n, _AS_IS[0]), np.full(n, _AS_IS[1])))):
            part |= {f"emd{suffix}": gap[rows, crop, turn]} | {
                f"{name}{suffix}": figure(a[rows, crop].astype(float), b[rows, turn].astype(float))
                for name, figure in (("jsd", _divergence), ("overlap", _shared))}
        found.append(pd.DataFrame(part))
    return pd.concat(found, ignore_index=True)


def _divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    p, q = np.maximum(p, _LEAST), np.maximum(q, _LEAST)
    return 0.5 * (rel_entr(p, q) + rel_entr(q, p)).sum(axis=1)


def _shared(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    p, q = (part / part.max(axis=1, keepdims=True) for part in (p, q))
    return np.minimum(p, q).sum(axis=1) / np.maximum(p, q).sum(axis=1)


def profile_distances(pairs: np.ndarray, masks: PairMasks, *, seed: int, names: Iterable,
                      patients: Iterable) -> pd.DataFrame:
    """Figures of a set's own pairs, of strangers' views, and of strangers whose MLO has the own one's area.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first, chest wall on the left.
        masks: Masks of these pairs; pairs that lack one are nobody's strangers.
        seed: Of the strangers.
        names, patients: Of each pair.

    Returns:
        A row a pair: `pairing` (own | shuffled | like_area), `cc_pair`, `mlo_pair`, `cc_patient`, `mlo_patient`, and
        the columns of `compared`.
    """
    names, patients = np.asarray(names), np.asarray(patients)
    cc, mlo = depth_profiles(pairs, masks)
    known = np.isfinite(cc[:, 0, 0]) & np.isfinite(mlo[:, 0, 0])
    rows, partners = strangers(known, _DRAWS, generator(seed, Stream.PROFILES), patients=patients)
    every = np.arange(len(pairs))
    asked = {OWN: (every, every), SHUFFLED: (np.tile(rows, len(partners)), partners.ravel())}
    if len(partners):
        area = masks.areas[rows, 1]
        asked[LIKE_AREA] = rows, rows[nearest_area_pairing(area, area, patients=patients[rows])]
    return pd.concat([compared(cc[first], mlo[second]).assign(
        pairing=pairing, cc_pair=names[first], mlo_pair=names[second], cc_patient=patients[first],
        mlo_patient=patients[second]) for pairing, (first, second) in asked.items() if len(first)], ignore_index=True)


def profile_table(distances: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Means of MammoFlow's figures, and how far they lie from those of real pairs.

    Args:
        distances: metrics/profiles.csv.
        protocol: Gives encodings, bootstrap draws and seed.

    Returns:
        One row a set, pairing and measure (`emd` | `jsd` | `overlap`): `n`, `n_nan` (pairs without a profile), `mean`
        with `mean_low`, `mean_high`; `delta` (the mean over that of real pairs, minus 1, in percent; MammoFlow's page
        gives its size) with `delta_low`, `delta_high`; `as_is`, the mean without alignment. Intervals cover 95 %, by
        bootstrap over patients; a stranger's pair weighs as both its patients do.
    """
    rows, real = [], None
    for number, name in enumerate(statistics.sets_in(distances, protocol, with_real=True)):
        part = distances[distances["set"] == name]
        draws = _mean_draws(part, protocol.n_bootstrap, generator(protocol.seed, Stream.PROFILES, number))
        for pairing, mine in part.groupby("pairing", sort=False):
            means, drawn = mine[list(PROFILE_MEASURES)].mean(), draws[pairing]
            real = real or (means, drawn)  # the first rows are the real set's own pairs
            for measure, here, base in zip(PROFILE_MEASURES, drawn, real[1], strict=True):
                mean, delta = means[measure], means[measure] / real[0][measure]
                rows.append({"set": name, "pairing": pairing, "measure": measure, "n": mine[measure].count(),
                             "n_nan": mine[measure].isna().sum(), **Effect(mean, *_bounds(here)).columns("mean"),
                             **Effect(100.0 * (delta - 1.0), *_bounds(100.0 * (here / base - 1.0))).columns("delta"),
                             "as_is": mine[f"{measure}_as_is"].mean()})
    return pd.DataFrame(rows)


def _mean_draws(part: pd.DataFrame, n_draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """By pairing `(3, n_draws)` means of the measures, by bootstrap over a set's patients; NaN without a value."""
    known = part.dropna(subset=PROFILE_MEASURES[0])
    views = known[["cc_patient", "mlo_patient"]].astype(str).to_numpy()
    owners, codes = np.unique(views, return_inverse=True)
    cc, mlo = codes.reshape(views.shape).T
    drawn = {pairing: np.full((len(PROFILE_MEASURES), n_draws), np.nan) for pairing in part["pairing"].unique()}
    end = 0
    for weights in statistics.patient_weights(len(owners), n_draws if len(known) else 0, rng, n_values=len(known)):
        here = slice(end, end + weights.shape[1])
        end = here.stop
        for pairing in known["pairing"].unique():
            rows = (known["pairing"] == pairing).to_numpy()
            weight = weights[cc[rows]] * (1 if pairing == OWN else weights[mlo[rows]])
            total = known.loc[rows, list(PROFILE_MEASURES)].to_numpy().T @ weight
            drawn[pairing][:, here] = np.divide(total, weight.sum(axis=0), out=np.full(total.shape, np.nan),
                                                where=weight.sum(axis=0) > 0)
    return drawn


def _bounds(draws: np.ndarray) -> tuple[float, float]:
    return tuple(np.nanquantile(draws, [0.025, 0.975])) if np.isfinite(draws).any() else (np.nan, np.nan)
