"""The table of cross-view consistency: paired against shuffled pairs, synthetic against real."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.consistency.pairing import (
    NEAREST_AREA,
    NO_SCORE,
    correlation,
    pairing_gain,
    score_of_gains,
)
from mammorgb_utils.evaluation.statistics.resampling import sets_in
from mammorgb_utils.protocol import Protocol


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
    rows, baseline = [], shuffled[shuffled["set"] == NEAREST_AREA]
    for stream, measure in enumerate(("iou", "iou_no_muscle")):
        gains: dict[str, tuple[float, np.ndarray]] = {}
        for name in sets_in(overlap, protocol, with_real=True):
            row = _consistency_row(name, measure, overlap, shuffled, gains, protocol, protocol.seed + 10 * stream)
            row["nearest_area_median"] = baseline[measure].median()
            rows.append(row | _intensity(overlap[overlap["set"] == name], (intensity or {}).get(name, np.nan)))
    return pd.DataFrame(rows)


def _consistency_row(name: str, measure: str, overlap: pd.DataFrame, shuffled: pd.DataFrame,
                     gains: dict[str, tuple[float, np.ndarray]], protocol: Protocol, seed: int) -> dict[str, object]:
    """A row of the table; `gains` keeps what later rows need of the real set, which comes first."""
    paired, other = overlap[overlap["set"] == name], shuffled[shuffled["set"] == name]
    missing = int(paired[measure].isna().sum())
    row = {"set": name, "measure": measure, "n": len(paired) - missing, "n_nan": missing}
    if row["n"] == 0 or other[measure].notna().sum() == 0:
        return row
    gain, draws = gains[name] = pairing_gain(paired, other, n_bootstrap=protocol.n_bootstrap,
                                             seed=seed + (name == "real"), measure=measure)
    by_draw, median = other.groupby("draw")[measure].median(), paired[measure].median()
    score = score_of_gains(gains[name], gains["real"]) if name != "real" and "real" in gains else NO_SCORE
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return row | {"paired_median": median, "shuffled_median": other[measure].median(), "gain": gain,
                  "gain_low": low, "gain_high": high, "p": ((by_draw >= median).sum() + 1) / (len(by_draw) + 1),
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
