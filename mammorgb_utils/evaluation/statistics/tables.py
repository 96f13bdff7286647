"""The tables of the study: synthetic against real, encoding against encoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from mammorgb_utils.evaluation.statistics import distances, effects
from mammorgb_utils.evaluation.statistics.bootstrap import Sample, closer, median_difference
from mammorgb_utils.evaluation.statistics.distances import emd, ks
from mammorgb_utils.evaluation.threads import on_every_core
from mammorgb_utils.protocol import SET_ORDER, Protocol

CANDIDATE = "candidate"  # pairs from elsewhere that are scored like an encoding's
MEASURES = ("iou", "iou_no_muscle", "dsc", "dsc_no_muscle")
PRIMARY = "iou"  # its EMD to real and its contrasts are under Holm; every other measure is exploratory
STATISTICS = {"emd": emd, "ks": ks}
MOST_LOST = 0.05  # of a set's pairs that may lack a value where the rest are called equal to real ones
MIN_PAIRS = 3  # patients with a usable pair in each set, below which a row stays empty
TOO_FEW = f"fewer than {MIN_PAIRS} usable pairs in a set"  # of different patients
MIN_POWER = 0.80  # a test below it prints *underpowered*
LEVEL = 0.95  # coverage of bands and intervals
ONE_RUN = "one run each: encoding is confounded with seed"
_BAND_COLUMNS = ("value", "band_low", "band_median", "band_high", "p", "floor_low", "floor_median", "floor_high",
                 "floor_n")
# All columns, so that a table is whole where no row could be computed, or where a study has one encoding alone.
_EFFECT_COLUMNS = ("set", "measure", "n", "n_nan", "n_real", "n_real_nan", "median", "median_real", "hodges_lehmann",
                   "hodges_lehmann_low", "hodges_lehmann_high", "margin", "equivalence", "cliffs_delta",
                   "cliffs_delta_low", "cliffs_delta_high", "p", "note")
_CONTRAST_COLUMNS = ("first", "second", "measure", "family", "n_first", "n_second", "n_first_nan", "n_second_nan", "p",
                     "median_first", "median_second", "median_difference", "cliffs_delta", "low", "high", "emd_first",
                     "emd_second", "closer", "median_difference_low", "median_difference_high", "closer_low",
                     "closer_high", "note")


def sets_in(overlap: pd.DataFrame, protocol: Protocol, *, with_real: bool = False) -> list[str]:
    """Encodings of the study that the table holds, in the order of every table, then pairs from elsewhere.

    Args:
        overlap: metrics/overlap.csv, or another table with `set`; rows of other sets, such as `train`, don't matter.
        protocol: Gives the encodings; one that isn't the study's is left out.
        with_real: Put `real` first.

    Raises:
        ValueError: The table has no `set` column or no real rows.
    """
    present = set(overlap["set"]) if "set" in overlap else set()
    if "real" not in present:
        raise ValueError("metrics/overlap.csv: no rows of the set 'real' to compare against; run 04_metrics again")
    asked = {*protocol.encodings, CANDIDATE, *(["real"] if with_real else [])}
    return [name for name in (*SET_ORDER, CANDIDATE) if name in present & asked]


def patient_of(frame: pd.DataFrame) -> np.ndarray:
    """Patient of each row with `pair` and, where known, `set` and `patient`, as text; a pair without one is its own."""
    own = "pair " + frame["pair"].astype(str)
    if "set" in frame:
        own = frame["set"].astype(str) + " " + own
    if "patient" not in frame:
        return own.to_numpy(str)
    return frame["patient"].astype(object).where(frame["patient"].notna(), own).astype(str).to_numpy(str)


def overlap_summary(overlap: pd.DataFrame) -> pd.DataFrame:
    """Summary of each set's masks.

    Args:
        overlap: metrics/overlap.csv.

    Returns:
        One row a set: `set`, `n`, `n_nan` (pairs without IoU); `<measure>_median`, `<measure>_q25`, `<measure>_q75` of
        each of `MEASURES`; `plausible`, `plausible_low`, `plausible_high` (by `rate`, as artefacts are; NaN without
        the column `plausible`).
    """
    rows, order = [], {name: place for place, name in enumerate(SET_ORDER)}
    for name in sorted(set(overlap["set"]), key=lambda name: (order.get(name, len(order)), name)):
        part = overlap[overlap["set"] == name]
        row = {"set": name, "n": len(part), "n_nan": int(part["iou"].isna().sum())}
        row |= {f"{measure}_{label}": part[measure].quantile(q)
                for measure in MEASURES for label, q in (("median", 0.5), ("q25", 0.25), ("q75", 0.75))}
        known = "plausible" in part
        found = effects.rate(part["plausible"].to_numpy(bool), groups=patient_of(part)) if known else effects.UNKNOWN
        rows.append(row | found.columns("plausible"))
    return pd.DataFrame(rows)


def distance_table(overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Distance of each encoding's overlap to the real one, beside both nulls.

    NaN overlaps are left out and counted. DSC is a monotone function of IoU, so its KS statistic and p-value
    repeat those of IoU: one finding, not two.

    Args:
        overlap: metrics/overlap.csv.
        protocol: Gives encodings, margin, alpha, permutations and seed.

    Returns:
        One row an encoding, measure and statistic (emd | ks): `family` (primary: EMD of IoU; all else exploratory),
        `n` and `n_nan` of both sets, `value`; `band_…` and `p` (labels permuted by patient), `p_holm` (primary), `p_bh`
        (exploratory); `floor_…` (real against real); `power` (KS alone: against a shift of the equivalence margin),
        `note` ("underpowered", too few pairs, or empty).
    """
    asked = product(STATISTICS, MEASURES, sets_in(overlap, protocol))
    rows = on_every_core(lambda row: _distance_row(overlap, row[2], row[1], row[0], protocol), asked)
    return _adjusted(pd.DataFrame(rows))


def _distance_row(overlap: pd.DataFrame, name: str, measure: str, label: str, protocol: Protocol) -> dict[str, object]:
    (own, own_nan), (real, real_nan) = (_usable(overlap, key, measure) for key in (name, "real"))
    row = {"set": name, "measure": measure, "statistic": label,
           "family": "primary" if (measure, label) == (PRIMARY, "emd") else "exploratory",
           "n": own.values.size, "n_nan": own_nan, "n_real": real.values.size,
           "n_real_nan": real_nan} | dict.fromkeys(_BAND_COLUMNS, np.nan)
    if _too_few(own, real):
        return row | {"power": np.nan, "note": TOO_FEW}
    options = {"n_draws": protocol.n_permutations, "level": LEVEL, "seed": protocol.seed}
    statistic = STATISTICS[label]
    band = distances.null_band(own.values, real.values, statistic, groups=_groups(own, real), **options)
    n_drawn = max(1, min(own.values.size, len(np.unique(real.patients)) // 2))
    floor = distances.noise_floor(real.values, n_drawn, statistic, groups=real.patients, **options)
    row |= dict(zip(_BAND_COLUMNS, (statistic(own.values, real.values), *band, *floor), strict=True))
    patients = [len(np.unique(sample.patients)) for sample in (own, real)]
    return row | (_power(overlap, measure, *patients, protocol) if label == "ks" else {"power": np.nan, "note": ""})


def _power(overlap: pd.DataFrame, measure: str, n: int, n_real: int, protocol: Protocol) -> dict[str, object]:
    """Power of KS with so many patients against a shift of the margin; of DSC, that of the IoU it repeats."""
    spread = np.std(_usable(overlap, "real", measure.replace("dsc", "iou"))[0].values, ddof=1)
    power = 1.0 if spread == 0.0 else distances.ks_power(n, n_real, protocol.equivalence_margin / spread,
                                                         alpha=protocol.alpha, seed=protocol.seed)
    return {"power": power, "note": "" if power >= MIN_POWER else "underpowered"}


def effect_table(overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Size of the difference between each encoding's overlap and the real one, against the equivalence margin.

    Args:
        overlap: metrics/overlap.csv.
        protocol: Gives encodings, margin and alpha.

    Returns:
        `_EFFECT_COLUMNS`, one row an encoding and measure (`iou`, `iou_no_muscle`, on whose scale the margin is):
        `hodges_lehmann` (synthetic − real) and `cliffs_delta` with their intervals, `equivalence` (equivalent |
        beyond margin | inconclusive; empty where no test ran), `p` (Mann–Whitney).
    """
    rows = [_effect_row(overlap, name, measure, protocol)
            for measure in ("iou", "iou_no_muscle") for name in sets_in(overlap, protocol)]
    return pd.DataFrame(rows, columns=list(_EFFECT_COLUMNS))


def _effect_row(overlap: pd.DataFrame, name: str, measure: str, protocol: Protocol) -> dict[str, object]:
    (own, own_nan), (real, real_nan) = (_usable(overlap, key, measure) for key in (name, "real"))
    (x, _), (y, _), groups, margin = own, real, _groups(own, real), protocol.equivalence_margin
    row = {"set": name, "measure": measure, "n": x.size, "n_nan": own_nan, "n_real": y.size, "n_real_nan": real_nan}
    if _too_few(own, real):
        return row | {"equivalence": "", "note": TOO_FEW}
    return row | {"median": np.median(x), "median_real": np.median(y), "margin": margin,
                  "equivalence": effects.equivalence(x, y, margin=margin, alpha=protocol.alpha, groups=groups),
                  **effects.hodges_lehmann(x, y, groups=groups).columns("hodges_lehmann"),
                  **effects.cliffs_delta(x, y, groups=groups).columns("cliffs_delta"),
                  "p": effects.mann_whitney(x, y, groups=groups), "note": ""}


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
        `_CONTRAST_COLUMNS`, one row a pair of encodings and measure (`iou`, primary; `iou_no_muscle`, exploratory):
        `median_difference` (first − second); `p` (Mann–Whitney; that of DSC is the same), `p_holm` (primary), `p_bh`
        (exploratory); `cliffs_delta` with its interval `low`, `high`; `emd_first`, `emd_second` to real; `closer`
        (emd_second − emd_first: positive when the first is nearer to real).
    """
    rows = [_contrast_row(overlap, a, b, measure, protocol)
            for measure in ("iou", "iou_no_muscle") for a, b in combinations(sets_in(overlap, protocol), 2)]
    return _adjusted(pd.DataFrame(rows, columns=list(_CONTRAST_COLUMNS)))


def _contrast_row(overlap: pd.DataFrame, a: str, b: str, measure: str, protocol: Protocol) -> dict[str, object]:
    (first, first_nan), (second, second_nan), (real, _) = (_usable(overlap, key, measure) for key in (a, b, "real"))
    (x, _), (y, _), groups = first, second, _groups(first, second)
    row = {"first": a, "second": b, "measure": measure,
           "family": "primary" if measure == PRIMARY else "exploratory", "n_first": x.size, "n_second": y.size,
           "n_first_nan": first_nan, "n_second_nan": second_nan}
    if _too_few(first, second, real):
        return row | {"p": np.nan, "note": TOO_FEW}
    options = {"n_bootstrap": protocol.n_bootstrap, "seed": protocol.seed}
    delta, low, high = effects.cliffs_delta(x, y, groups=groups)
    return row | {"median_first": np.median(x), "median_second": np.median(y), "cliffs_delta": delta, "low": low,
                  "high": high, "emd_first": emd(x, real.values), "emd_second": emd(y, real.values),
                  "p": effects.mann_whitney(x, y, groups=groups), "note": ONE_RUN,
                  **median_difference(first, second, **options).columns("median_difference"),
                  **closer(first, second, real, **options).columns("closer")}


def paper_arithmetic(figures: Mapping[str, float], *, alpha: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """Lines that put the paper's KS and artefact rates beside their sampling error.

    Args:
        figures: The paper's figures by name, as `reporting.claims.paper_figures` reads them from `claims.yaml`.
        alpha: Level of the critical value; intervals have coverage 1 − alpha.
        seed: Seed of the simulated null mean.

    Returns:
        `quantity`, `paper` (the figure it starts from), `value`, `low`, `high`, `reading`.

    Raises:
        ValueError: A figure is missing.
    """
    missing = [name for name in ("ks", "n_synthetic", "n_real", "artefact_rate_low", "artefact_rate_high")
               if name not in figures]
    if missing:
        raise ValueError(f"claims.yaml: the paper's figure {missing[0]!r} is missing; add it to a claim's `figures`")
    statistic, n, m = figures["ks"], int(figures["n_synthetic"]), int(figures["n_real"])
    null = distances.ks_null(n, m)
    p, critical = null.sf(statistic), null.isf(alpha)
    rejects = "rejects equality" if p < alpha else "doesn't reject equality"
    sizes = f"{n} against {m}"
    rows = [(f"p-value of the KS statistic, {sizes}", statistic, p, None, None, f"taken at its word, it {rejects}"),
            (f"critical KS at {alpha:.0%}, {sizes}", statistic, critical, None, None,
             "the figure lies above it" if statistic > critical else "the figure lies below it"),
            (f"mean KS of two identical populations, {sizes}", statistic, distances.ks_null_mean(n, m, seed=seed),
             None, None, "what equality gives on average")]
    for name in ("artefact_rate_low", "artefact_rate_high"):
        rows.append((f"artefact rate of {n} pairs (size assumed)", figures[name],
                     *effects.wilson(round(figures[name] * n), n, level=1.0 - alpha),
                     f"{1.0 - alpha:.0%} Wilson interval"))
    return pd.DataFrame(rows, columns=["quantity", "paper", "value", "low", "high", "reading"])


def _usable(overlap: pd.DataFrame, name: str, measure: str) -> tuple[Sample, int]:
    """Known values of a set with their patients, and how many are NaN."""
    if measure not in overlap:
        raise ValueError(f"metrics/overlap.csv: column {measure!r} is missing; run 04_metrics again")
    rows = overlap[overlap["set"] == name]
    known = rows[measure].notna().to_numpy()
    return Sample(rows[measure].to_numpy(float)[known], patient_of(rows)[known]), int((~known).sum())


def _groups(first: Sample, second: Sample) -> np.ndarray:
    return np.concatenate([first.patients, second.patients])


def _too_few(*samples: Sample) -> bool:
    return min(len(np.unique(sample.patients)) for sample in samples) < MIN_PAIRS


def _adjusted(table: pd.DataFrame) -> pd.DataFrame:
    """Insert `p_holm` and `p_bh` after `p`: Holm within the primary family, BH within the exploratory one."""
    after = table.columns.get_loc("p") + 1
    for family, name, adjust in (("exploratory", "p_bh", benjamini_hochberg), ("primary", "p_holm", holm)):
        rows, adjusted = (table["family"] == family).to_numpy(), np.full(len(table), np.nan)
        adjusted[rows] = adjust(table.loc[rows, "p"].to_numpy(float))
        table.insert(after, name, adjusted)
    return table


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment (1979), for the family-wise error rate; NaN, a test that couldn't run, stays NaN."""
    p = np.asarray(p, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1)))
    return adjusted


def benjamini_hochberg(p: Sequence[float]) -> np.ndarray:
    """Benjamini and Hochberg's adjustment, for the false discovery rate of exploratory tests; NaN as in `holm`."""
    p = np.asarray(p, dtype=float)
    known, adjusted = ~np.isnan(p), np.full(p.shape, np.nan)
    if known.any():
        adjusted[known] = false_discovery_control(p[known], method="bh")
    return adjusted
