"""The tables of the study: synthetic against real, encoding against encoding, paired against shuffled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.consistency import (
    NEAREST_AREA,
    ConsistencyScore,
    consistency_score,
    correlation,
    pairing_gain,
)
from mammorgb_utils.evaluation.distances import emd, ks, noise_floor, null_band
from mammorgb_utils.evaluation.hypothesis_tests import (
    MIN_POWER,
    benjamini_hochberg,
    cliffs_delta,
    equivalence,
    hodges_lehmann,
    holm,
    ks_power,
    mann_whitney,
    wilson,
)
from mammorgb_utils.evaluation.resampling import SET_ORDER, patient_of, patient_weights, sets_in, weighted_median
from mammorgb_utils.protocol import Protocol

MEASURES = ("iou", "iou_no_muscle", "dsc", "dsc_no_muscle")
PRIMARY = "iou"  # one family of tests an encoding, under Holm; every other measure is exploratory
MIN_PAIRS = 3  # usable pairs in each set, below which a row stays empty
LEVEL = 0.95  # coverage of bands and intervals
ONE_RUN = "one run each: encoding is confounded with seed"
_CHUNK = 4_000_000  # bootstrap weights held in memory at once


def overlap_table(overlap: pd.DataFrame) -> pd.DataFrame:
    """Summary of each set's masks.

    Args:
        overlap: metrics/overlap.csv.

    Returns:
        One row a set: `set`, `n`, `n_nan` (pairs without IoU); for each of `iou`, `dsc`, `iou_no_muscle`,
        `dsc_no_muscle` the columns `<measure>_median`, `<measure>_q25`, `<measure>_q75`; `plausible`,
        `plausible_low`, `plausible_high` (rate with Wilson interval; NaN without the column `plausible`).
    """
    rows = []
    for name in [*SET_ORDER, *sorted(set(overlap["set"]) - set(SET_ORDER))]:
        part = overlap[overlap["set"] == name]
        if part.empty:
            continue
        row = {"set": name, "n": len(part), "n_nan": int(part["iou"].isna().sum())}
        for measure in MEASURES:
            row |= {f"{measure}_{label}": part[measure].quantile(q)
                    for label, q in (("median", 0.5), ("q25", 0.25), ("q75", 0.75))}
        rate = (wilson(int(part["plausible"].astype(bool).sum()), len(part)) if "plausible" in part
                else (np.nan, np.nan, np.nan))
        rows.append(row | dict(zip(("plausible", "plausible_low", "plausible_high"), rate, strict=True)))
    return pd.DataFrame(rows)


def distance_table(overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Distance of each encoding's overlap to the real one, beside both nulls, with effect sizes.

    NaN overlaps are left out and counted. DSC is a monotone function of IoU, so its KS, ranks and p-values
    repeat those of IoU: one finding, not two. The equivalence margin is one of IoU.

    Args:
        overlap: metrics/overlap.csv.
        protocol: Gives encodings, margin, alpha, permutations and seed.

    Returns:
        One row an encoding and measure: `set`, `measure`, `family` (primary | exploratory), `n`, `n_nan`,
        `n_real`, `n_real_nan`, `median`, `median_real`; `emd`, `emd_null_low`, `emd_null_median`,
        `emd_null_high`, `emd_p`, `emd_p_adjusted` (Holm for primary, BH for exploratory); `floor_low`,
        `floor_median`, `floor_high`, `floor_n` (real against real); `ks`, `ks_null_low`, `ks_null_median`,
        `ks_null_high`, `ks_p`, `ks_power` (against a shift of the margin); `shift`, `shift_low`, `shift_high`
        (Hodges–Lehmann, synthetic − real), `margin`, `equivalence`; `delta`, `delta_low`, `delta_high`
        (Cliff), `mann_whitney_p`; `note`.
    """
    rows = [_distance_row(overlap, name, measure, protocol)
            for measure in MEASURES for name in sets_in(overlap, protocol)]
    return _adjusted(pd.DataFrame(rows), "emd_p")


def _distance_row(overlap: pd.DataFrame, name: str, measure: str, protocol: Protocol) -> dict[str, object]:
    x, patients_x, x_nan = _usable(overlap, name, measure)
    y, patients_y, y_nan = _usable(overlap, "real", measure)
    row = {"set": name, "measure": measure, "family": "primary" if measure == PRIMARY else "exploratory",
           "n": x.size, "n_nan": x_nan, "n_real": y.size, "n_real_nan": y_nan, "emd_p": np.nan}
    if min(x.size, y.size) < MIN_PAIRS:
        return row | {"note": f"fewer than {MIN_PAIRS} usable pairs in a set"}
    groups = np.concatenate([patients_x, patients_y])
    options = {"n_draws": protocol.n_permutations, "level": LEVEL, "seed": protocol.seed}
    row |= {"median": np.median(x), "median_real": np.median(y)}
    for label, statistic in (("emd", emd), ("ks", ks)):
        band = null_band(x, y, statistic, groups=groups, **options)
        row |= {label: statistic(x, y), f"{label}_null_low": band.low, f"{label}_null_median": band.median,
                f"{label}_null_high": band.high, f"{label}_p": band.p}
    n_real = len(np.unique(patients_y))
    floor = noise_floor(y, max(1, min(x.size, n_real // 2)), emd, groups=patients_y, **options)
    row |= {f"floor_{key}": value for key, value in floor._asdict().items()}
    return row | _effects(x, y, groups, measure, protocol) | _power(overlap, measure, x.size, y.size, protocol)


def _effects(x: np.ndarray, y: np.ndarray, groups: np.ndarray, measure: str, protocol: Protocol) -> dict[str, object]:
    shift, delta = hodges_lehmann(x, y, level=LEVEL, groups=groups), cliffs_delta(x, y, level=LEVEL, groups=groups)
    judged = measure.startswith("iou")
    return {"shift": shift.estimate, "shift_low": shift.low, "shift_high": shift.high,
            "margin": protocol.equivalence_margin if judged else np.nan,
            "equivalence": (equivalence(x, y, margin=protocol.equivalence_margin, alpha=protocol.alpha, groups=groups)
                            if judged else "margin is one of IoU"),
            "delta": delta.estimate, "delta_low": delta.low, "delta_high": delta.high,
            "mann_whitney_p": mann_whitney(x, y, groups=groups)}


def _power(overlap: pd.DataFrame, measure: str, n: int, n_real: int, protocol: Protocol) -> dict[str, object]:
    """Power of KS against a shift of the margin; of DSC, that of the IoU it repeats."""
    spread = np.std(_usable(overlap, "real", measure.replace("dsc", "iou"))[0], ddof=1)
    power = (ks_power(n, n_real, protocol.equivalence_margin / spread, alpha=protocol.alpha, seed=protocol.seed)
             if spread > 0.0 else 1.0)
    return {"ks_power": power, "note": "" if power >= MIN_POWER else "underpowered"}


def contrast_table(overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Each encoding against each other: in overlap, and in the distance of its overlap to real.

    A higher IoU isn't better, as two equal silhouettes score 1: `closer` is the judge, and the paper's own
    direction stands beside it. Sets are treated as independent, although image *i* of every encoding starts
    from the same noise; that makes the tests conservative. Near zero distance the interval of `closer` is
    biased, as every percentile bootstrap of a distance is.

    Args:
        overlap: metrics/overlap.csv.
        protocol: Gives encodings, bootstrap draws and seed.

    Returns:
        One row a pair of encodings and measure (`iou`, primary; `iou_no_muscle`, exploratory): `a`, `b`,
        `measure`, `family`, `n_a`, `n_b`, `n_a_nan`, `n_b_nan`, `median_a`, `median_b`; `median_difference`
        (a − b), `median_difference_low`, `median_difference_high`; `p` (Mann–Whitney; that of DSC is the same),
        `p_adjusted` (Holm | BH); `delta`, `delta_low`, `delta_high` (Cliff); `emd_a`, `emd_b` to real; `closer`
        (emd_b − emd_a: positive when a is nearer to real), `closer_low`, `closer_high`; `note`.
    """
    rows = [_contrast_row(overlap, a, b, measure, protocol)
            for measure in ("iou", "iou_no_muscle") for a, b in combinations(sets_in(overlap, protocol), 2)]
    columns = ["a", "b", "measure", "family", "p"]
    return _adjusted(pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns), "p")


def _contrast_row(overlap: pd.DataFrame, a: str, b: str, measure: str, protocol: Protocol) -> dict[str, object]:
    samples = [_usable(overlap, name, measure) for name in (a, b, "real")]
    (x, patients_x, x_nan), (y, patients_y, y_nan), (real, _, _) = samples
    row = {"a": a, "b": b, "measure": measure, "family": "primary" if measure == PRIMARY else "exploratory",
           "n_a": x.size, "n_b": y.size, "n_a_nan": x_nan, "n_b_nan": y_nan, "p": np.nan}
    if min(x.size, y.size, real.size) < MIN_PAIRS:
        return row | {"note": f"fewer than {MIN_PAIRS} usable pairs in a set"}
    groups = np.concatenate([patients_x, patients_y])
    delta = cliffs_delta(x, y, level=LEVEL, groups=groups)
    distance_a, distance_b = emd(x, real), emd(y, real)
    medians, closer = _contrast_bootstrap([(values, patients) for values, patients, _ in samples], protocol)
    row |= {"median_a": np.median(x), "median_b": np.median(y), "median_difference": np.median(x) - np.median(y),
            "p": mann_whitney(x, y, groups=groups), "delta": delta.estimate, "delta_low": delta.low,
            "delta_high": delta.high, "emd_a": distance_a, "emd_b": distance_b, "closer": distance_b - distance_a}
    for label, draws in (("median_difference", medians), ("closer", closer)):
        row |= dict(zip((f"{label}_low", f"{label}_high"), np.quantile(draws, [0.025, 0.975]), strict=True))
    return row | {"note": ONE_RUN}


def _contrast_bootstrap(samples: list[tuple[np.ndarray, np.ndarray]],
                        protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the median difference a − b, and of emd(b, real) − emd(a, real), over patients of all three sets."""
    grid = np.unique(np.concatenate([values for values, _ in samples]))
    block = max(1, _CHUNK // grid.size)
    streams = [_value_weights(patients, protocol.n_bootstrap, [protocol.seed, 6, stream], block)
               for stream, (_, patients) in enumerate(samples)]
    medians, closer = [], []
    for weights in zip(*streams, strict=True):
        shares = [_distribution(grid, values, weight) for (values, _), weight in zip(samples, weights, strict=True)]
        to_real = [np.abs(share - shares[2])[:, :-1] @ np.diff(grid) for share in shares[:2]]
        closer.append(to_real[1] - to_real[0])
        medians.append(weighted_median(samples[0][0], weights[0]) - weighted_median(samples[1][0], weights[1]))
    return np.concatenate(medians), np.concatenate(closer)


def _value_weights(patients: np.ndarray, n_draws: int, seed: list[int], block: int) -> Iterator[np.ndarray]:
    owner = np.unique(patients, return_inverse=True)[1]
    for weights in patient_weights(int(owner.max()) + 1, n_draws, np.random.default_rng(seed), block=block):
        yield weights[:, owner]


def _distribution(grid: np.ndarray, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`(B, G)` weighted empirical distribution functions on the grid."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[:, order], axis=1)
    total = np.concatenate([np.zeros((len(weight), 1)), total], axis=1) / total[:, -1:]
    return total[:, np.searchsorted(values[order], grid, side="right")]


def consistency_table(overlap: pd.DataFrame, shuffled: pd.DataFrame, protocol: Protocol, *,
                      intensity: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Paired against shuffled overlap of the real set and of each encoding.

    Args:
        overlap: metrics/overlap.csv.
        shuffled: metrics/shuffled.csv; rows of the set `nearest_area`, when present, give the trivial baseline.
        protocol: Gives encodings, bootstrap draws and seed.
        intensity: CC–MLO correlation of mean intensity by set, where `overlap` lacks the columns
            `cc_intensity` and `mlo_intensity`.

    Returns:
        One row a set and measure: `set`, `measure`, `n`, `n_nan`, `paired_median`, `shuffled_median`, `gain`
        (paired − shuffled) with `gain_low`, `gain_high`; `p` of the derangement null and its `n_draws`; `score`
        (gain over the real gain) with `score_low`, `score_high`, NaN for the real set; `nearest_area_median`, the
        real baseline; `intensity_r`, `intensity_r_low`, `intensity_r_high`.
    """
    rows = []
    for name in sets_in(overlap, protocol, with_real=True):
        for stream, measure in enumerate(("iou", "iou_no_muscle")):
            row = _consistency_row(name, measure, overlap, shuffled, protocol, protocol.seed + 10 * stream)
            baseline = shuffled.loc[shuffled["set"] == NEAREST_AREA, measure]
            row["nearest_area_median"] = baseline.median()
            rows.append(row | _intensity(overlap[overlap["set"] == name], (intensity or {}).get(name, np.nan)))
    return pd.DataFrame(rows)


def _consistency_row(name: str, measure: str, overlap: pd.DataFrame, shuffled: pd.DataFrame, protocol: Protocol,
                     seed: int) -> dict[str, object]:
    (paired, other), (real, real_other) = ((overlap[overlap["set"] == key], shuffled[shuffled["set"] == key])
                                           for key in (name, "real"))
    options = {"n_bootstrap": protocol.n_bootstrap, "seed": seed, "measure": measure}
    missing = int(paired[measure].isna().sum())
    row = {"set": name, "measure": measure, "n": len(paired) - missing, "n_nan": missing}
    if row["n"] == 0 or other[measure].notna().sum() == 0:
        return row
    gain, draws = pairing_gain(paired, other, **options)
    by_draw = other.groupby("draw")[measure].median()
    score = (consistency_score(paired, other, real, real_other, **options) if name != "real"
             else ConsistencyScore(np.nan, np.nan, np.nan))
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return row | {"paired_median": paired[measure].median(), "shuffled_median": other[measure].median(),
                  "gain": gain, "gain_low": low, "gain_high": high,
                  "p": ((by_draw >= paired[measure].median()).sum() + 1) / (len(by_draw) + 1),
                  "n_draws": len(by_draw), "score": score.score, "score_low": score.low, "score_high": score.high}


def _intensity(rows: pd.DataFrame, fallback: float) -> dict[str, float]:
    """Correlation of mean intensity with its Fisher interval."""
    if not {"cc_intensity", "mlo_intensity"} <= set(rows.columns):
        return {"intensity_r": fallback, "intensity_r_low": np.nan, "intensity_r_high": np.nan}
    known = rows[["cc_intensity", "mlo_intensity"]].dropna()
    r = correlation(known["cc_intensity"], known["mlo_intensity"])
    half = 1.96 / np.sqrt(len(known) - 3) if len(known) > 3 else np.nan
    with np.errstate(divide="ignore"):
        centre = np.arctanh(r)
    return {"intensity_r": r, "intensity_r_low": np.tanh(centre - half), "intensity_r_high": np.tanh(centre + half)}


def _usable(overlap: pd.DataFrame, name: str, measure: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Known values of a set, their patients, and how many are NaN."""
    if measure not in overlap:
        raise ValueError(f"metrics/overlap.csv: column {measure!r} is missing; run 04_metrics again")
    rows = overlap[overlap["set"] == name]
    known = rows[measure].notna().to_numpy()
    return rows[measure].to_numpy(float)[known], patient_of(rows)[known], int((~known).sum())


def _adjusted(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Insert `<column>_adjusted` after the p-values: Holm within the primary family, BH within the exploratory."""
    adjusted = np.full(len(table), np.nan)
    for family, adjust in (("primary", holm), ("exploratory", benjamini_hochberg)):
        rows = (table["family"] == family).to_numpy()
        adjusted[rows] = adjust(table.loc[rows, column].to_numpy(float))
    table.insert(table.columns.get_loc(column) + 1, f"{column}_adjusted", adjusted)
    return table
