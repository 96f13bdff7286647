"""Cross-view consistency: what pairing adds beyond two breasts of usual size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation import statistics
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

NEAREST_AREA = "nearest_area"  # set name of the trivial baseline's rows in shuffled.csv
_CLASSES = 3  # of area, and of density within each; fewer where a stratum would hold less than _MIN_STRATUM pairs
_MIN_STRATUM = 6
_BLOCK = 4096  # shuffled pairs whose masks are compared at once
_SHUFFLES = 200  # tries for an exactly uniform derangement


def shuffled_overlap(masks: PairMasks, *, n_draws: int, seed: int, patients: Sequence | None = None,
                     pairs: Sequence | None = None) -> pd.DataFrame:
    """Overlap of each CC mask with the MLO mask of another patient; pairs that lack a mask take no part.

    Args:
        masks: Masks of N pairs.
        n_draws, seed: Derangements, each of which uses every CC and every MLO once, and their seed.
        patients: Patient of each pair; by default each pair is a patient.
        pairs: Identifier of each pair; by default its row number.

    Returns:
        One row a shuffled pair: `draw`, `cc_pair`, `mlo_pair`, `iou`, `iou_no_muscle`.

    Raises:
        ValueError: A patient holds more than half of the pairs, so that no derangement exists.
    """
    rows, partners = strangers(masks.found, n_draws, generator(seed, Stream.DERANGEMENTS), patients=patients)
    return _paired_with(masks, np.tile(rows, len(partners)), partners.ravel(), pairs,
                        draw=np.repeat(np.arange(len(partners)), rows.size))


def nearest_area_overlap(masks: PairMasks, *, patients: Sequence | None = None,
                         pairs: Sequence | None = None) -> pd.DataFrame:
    """Overlap of each CC mask with another patient's MLO mask of the nearest area, as draw 0 of `shuffled_overlap`: the
    trivial baseline."""
    rows, owner = np.flatnonzero(masks.found), _codes(patients, len(masks))
    if rows.size < 2:
        return _paired_with(masks, rows[:0], rows[:0], pairs)
    return _paired_with(masks, rows, rows[nearest_area_pairing(*masks.areas[rows].T, patients=owner[rows])], pairs)


def nearest_area_pairing(cc_area: np.ndarray, mlo_area: np.ndarray, *, patients: Sequence | None = None) -> np.ndarray:
    """For each CC view, the row of the MLO view of another patient whose area is nearest to the CC's; one may be used
    more than once.

    Raises:
        ValueError: All pairs are of one patient.
    """
    owner = _codes(patients, len(cc_area))
    distance = np.abs(np.subtract.outer(np.asarray(cc_area, float), np.asarray(mlo_area, float)))
    distance[owner[:, None] == owner[None, :]] = np.inf
    if np.isinf(distance).all(axis=1).any():
        raise ValueError("patients: all pairs are of one patient; the baseline needs another patient's MLO")
    return distance.argmin(axis=1)


def _paired_with(masks: PairMasks, rows: np.ndarray, partner: np.ndarray, pairs: Sequence | None,
                 draw: np.ndarray | int = 0) -> pd.DataFrame:
    """A row for each CC, by row number, with the MLO of its partner."""
    names = np.arange(len(masks)) if pairs is None else np.asarray(pairs)
    return pd.DataFrame({"draw": draw, "cc_pair": names[rows], "mlo_pair": names[partner],
                         "iou": _iou_rows(masks.breast[:, 0], masks.breast[:, 1], rows, partner),
                         "iou_no_muscle": _iou_rows(masks.breast[:, 0], masks.mlo_no_muscle, rows, partner)})


def _iou_rows(cc: np.ndarray, mlo: np.ndarray, rows: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """`(n,)` IoU of `cc[rows]` and `mlo[partner]`, on packed bits and in blocks; NaN where a mask is empty."""
    a, b = (np.packbits(mask.reshape(len(mask), -1), axis=1) for mask in (cc, mlo))
    sizes, found = [np.bitwise_count(bits).sum(axis=1, dtype=np.int64) for bits in (a, b)], []
    for start in range(0, rows.size, _BLOCK):
        i, j = rows[start:start + _BLOCK], partner[start:start + _BLOCK]
        both = np.bitwise_count(a[i] & b[j]).sum(axis=1, dtype=np.int64)
        known = (sizes[0][i] > 0) & (sizes[1][j] > 0)
        found.append(np.divide(both, sizes[0][i] + sizes[1][j] - both, out=np.full(i.size, np.nan), where=known))
    return np.concatenate([np.zeros(0), *found])


def strangers(found: np.ndarray, n_draws: int, rng: np.random.Generator, *, patients: Sequence | None = None,
              strata: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs are shuffled, and whose MLO each CC gets in each draw.

    Args:
        found: `(N,)` bool, both views are known; other pairs leave the pool, so that adding them changes nothing.
        n_draws: Derangements.
        rng, patients: As `derangement` takes them.
        strata: From `area_density_strata`; pairs without a stratum leave the pool too.

    Returns:
        `(n,)` and `(n_draws, n)` row numbers; no draw where fewer than two pairs are left.
    """
    rows = np.flatnonzero(found if strata is None else found & (strata >= 0))
    owner, strata = _codes(patients, len(found))[rows], None if strata is None else strata[rows]
    partners = [rows[derangement(rows.size, rng, patients=owner, strata=strata)]
                for _ in range(n_draws if rows.size > 1 else 0)]
    return rows, np.array(partners, int).reshape(len(partners), rows.size)


def derangement(n: int, rng: np.random.Generator, *, patients: Sequence | None = None,
                strata: Sequence | None = None) -> np.ndarray:
    """A random permutation in which nobody keeps a view of the own patient.

    Args:
        n: Number of pairs.
        rng: Source of randomness.
        patients: Patient of each pair; by default each pair is a patient.
        strata: Label of each pair; views change places within a stratum only.

    Returns:
        `(n,)` row numbers: the MLO that each CC gets.

    Raises:
        ValueError: A patient holds more than half of a stratum, so that no derangement exists.
    """
    owner, stratum = _codes(patients, n), np.zeros(n, int) if strata is None else _codes(strata, n)
    partner = np.arange(n)
    for label in np.unique(stratum):
        rows = np.flatnonzero(stratum == label)
        if 2 * np.bincount(owner[rows]).max() > rows.size:
            raise ValueError(f"strata: in one of {rows.size} pairs a patient holds more than half; use fewer strata"
                             if strata is not None else
                             f"patients: one of them holds more than half of {n} pairs; nothing to shuffle with")
        partner[rows] = rows[_derange(owner[rows], rng)]
    return partner


def _derange(owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle until nothing clashes, so that every derangement is equally likely.

    About one shuffle in three serves, for two breasts a patient one in seven. With many breasts a patient
    shuffling can take forever: then each clash is swapped away, nearly evenly.
    """
    for _ in range(_SHUFFLES):
        order = rng.permutation(owner.size)
        if (owner[order] != owner).all():
            return order
    while (clashes := np.flatnonzero(owner[order] == owner)).size:
        i, j = rng.choice(clashes), rng.integers(owner.size)
        if owner[order[j]] != owner[i] and owner[j] != owner[i]:
            order[[i, j]] = order[[j, i]]
    return order


def area_density_strata(area: np.ndarray, density: np.ndarray, *, patients: Sequence | None = None) -> np.ndarray:
    """Stratum of each pair by area and, among breasts of like area, by density, in equally filled classes.

    Args:
        area, density: `(N,)`, in any unit; NaN where they aren't known.
        patients: Patient of each pair; classes are made fewer until none holds more than half of a stratum.

    Returns:
        `(N,)` int from 0, −1 where area or density isn't known; all 0 where there are too few pairs for two strata.
    """
    known = np.isfinite(area) & np.isfinite(density)
    found, owner, n = np.where(known, 0, -1), _codes(patients, len(area))[known], np.count_nonzero(known)
    for classes in range(min(_CLASSES, int((n / _MIN_STRATUM) ** 0.5)), 1, -1):
        strata = _ranked(np.asarray(area, float)[known], classes) * classes
        for stratum in np.unique(strata):
            rows = np.flatnonzero(strata == stratum)
            strata[rows] += _ranked(np.asarray(density, float)[known][rows], classes)
        if all(2 * np.bincount(owner[strata == s]).max() <= (strata == s).sum() for s in np.unique(strata)):
            found[known] = strata
            break
    return found


def _ranked(values: np.ndarray, classes: int) -> np.ndarray:
    """Equally filled classes by rank."""
    return np.argsort(np.argsort(values, kind="stable"), kind="stable") * classes // max(len(values), 1)


def _codes(labels: Sequence | None, n: int) -> np.ndarray:
    if labels is None:
        return np.arange(n)
    if len(labels) != n:
        raise ValueError(f"{len(labels)} labels for {n} pairs; name one a pair")
    return np.unique(np.asarray(labels), return_inverse=True)[1]


def pairing_gain(paired: pd.DataFrame, shuffled: pd.DataFrame, *, n_bootstrap: int, seed: int,
                 measure: str = "iou") -> tuple[float, np.ndarray]:
    """Median of the paired minus median of the shuffled overlap, with its bootstrap draws over patients.

    Medians, not means: the left tail of failed masks would otherwise decide.

    Args:
        paired: One row a pair with `pair`, `patient` and `measure`.
        shuffled: What `shuffled_overlap` returns, with the same pair identifiers.
        n_bootstrap, seed: Draws, `(n_bootstrap,)`, and their seed; a shuffled pair weighs as both its patients do.
        measure: Column to compare; rows with NaN are left out.
    """
    named = set(shuffled["cc_pair"]).union(shuffled["mlo_pair"])
    if missing := named - set(paired["pair"]):
        raise ValueError(f"shuffled: pair {sorted(map(str, missing))[0]} isn't among the paired ones; "
                         "make both tables from one set")
    paired = paired[paired[measure].notna() | paired["pair"].isin(named)]  # who has no value isn't drawn either
    position = {pair: row for row, pair in enumerate(paired["pair"])}
    owner = np.unique(statistics.patient_of(paired), return_inverse=True)[1]
    own = paired.assign(owner=owner).dropna(subset=measure).sort_values(measure)
    other = shuffled.dropna(subset=measure).sort_values(measure)
    cc, mlo = (owner[other[column].map(position).to_numpy(int)] for column in ("cc_pair", "mlo_pair"))
    values = own[measure].to_numpy(), other[measure].to_numpy()
    rng = generator(seed, Stream.CONSISTENCY_BOOTSTRAP)
    weights = statistics.patient_weights(int(owner.max()) + 1, n_bootstrap, rng, n_values=max(map(len, values)))
    draws = [statistics.weighted_median(values[0], weight[own["owner"].to_numpy()])
             - statistics.weighted_median(values[1], weight[cc] * weight[mlo]) for weight in weights]
    return float(np.median(values[0]) - np.median(values[1])), np.concatenate(draws)


def score_of_gains(synthetic: tuple[float, np.ndarray], real: tuple[float, np.ndarray]) -> statistics.Effect:
    """Share of the real pairing gain that synthetic pairs reach: (paired − shuffled) over the same of real.

    Args:
        synthetic, real: What `pairing_gain` returns, from different seeds.

    Returns:
        All NaN when pairing adds nothing in the real set; the 95 % bounds are NaN when that can't be excluded (the
        ratio's interval is then unbounded).
    """
    (gain_syn, draws_syn), (gain_real, draws_real) = synthetic, real
    if not gain_real > 0.0:
        return statistics.UNKNOWN
    tail = (1.0 - statistics.LEVEL) / 2.0
    if np.mean(~(draws_real > 0.0)) > tail:
        return statistics.Effect(gain_syn / gain_real, np.nan, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(draws_real > 0.0, draws_syn / draws_real, np.inf)
    low, high = np.quantile(ratio, [tail, 1.0 - tail], method="inverted_cdf")
    return statistics.Effect(float(gain_syn / gain_real), float(low), float(high))


def consistency_table(overlap: pd.DataFrame, shuffled: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Paired against shuffled overlap of the real set and of each encoding.

    Args:
        overlap: metrics/overlap.csv.
        shuffled: metrics/shuffled.csv; rows of the set `nearest_area`, when present, give the trivial baseline.
        protocol: Gives encodings, bootstrap draws and seed.

    Returns:
        One row a set and measure: `set`, `measure`, `n`, `n_nan`, `paired_median`, `shuffled_median`, `gain`
        (paired − shuffled) with `gain_low`, `gain_high`; `p` of the derangement null and its `n_draws`; `score`
        (gain over the real gain) with `score_low`, `score_high`, NaN for the real set; `nearest_area_median`, the
        real baseline, and how far real pairs lie above it, `over_area` with `over_area_low`, `over_area_high` (of the
        real set alone).
    """
    rows, baseline = [], shuffled[shuffled["set"] == NEAREST_AREA]
    for stream, measure in enumerate(("iou", "iou_no_muscle")):
        gains: dict[str, tuple[float, np.ndarray]] = {}
        for name in statistics.sets_in(overlap, protocol, with_real=True):
            paired, other = (table[table["set"] == name] for table in (overlap, shuffled))
            row = {"set": name, "measure": measure} | _gain_row(name, measure, paired, other, gains, protocol,
                                                                protocol.seed + 10 * stream + (name == "real"))
            over = statistics.UNKNOWN
            if name == "real" and row["n"] and baseline[measure].notna().any():
                over = _over_area(paired, baseline, measure, protocol)
            rows.append(row | {"nearest_area_median": baseline[measure].median()} | over.columns("over_area"))
    return pd.DataFrame(rows)


def _gain_row(name: str, measure: str, paired: pd.DataFrame, other: pd.DataFrame,
              gains: dict[str, tuple[float, np.ndarray]], protocol: Protocol, seed: int) -> dict[str, float]:
    """The columns from `n` to `score_high`; `gains` keeps what later rows need of the real set, which comes first."""
    missing = int(paired[measure].isna().sum())
    row = {"n": len(paired) - missing, "n_nan": missing}
    if row["n"] == 0 or other[measure].notna().sum() == 0:
        return row
    gain, draws = gains[name] = pairing_gain(paired, other, n_bootstrap=protocol.n_bootstrap, seed=seed,
                                             measure=measure)
    by_draw, median = other.groupby("draw")[measure].median(), paired[measure].median()
    score = score_of_gains(gains[name], gains["real"]) if name != "real" and "real" in gains else statistics.UNKNOWN
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return row | {"paired_median": median, "shuffled_median": other[measure].median(), "gain": gain,
                  "gain_low": low, "gain_high": high, "p": ((by_draw >= median).sum() + 1) / (len(by_draw) + 1),
                  "n_draws": len(by_draw), **score.columns("score")}


def _over_area(paired: pd.DataFrame, baseline: pd.DataFrame, measure: str, protocol: Protocol) -> statistics.Effect:
    """How much more own views overlap than a CC and the MLO of nearest area: medians, bootstrap over patients."""
    found, draws = pairing_gain(paired, baseline, n_bootstrap=protocol.n_bootstrap, seed=protocol.seed, measure=measure)
    return statistics.Effect(found, *np.nanquantile(draws, [0.025, 0.975]))
