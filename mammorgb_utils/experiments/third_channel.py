"""Contrasts over training runs: the unit is the run, not the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from mammorgb_utils.evaluation.statistics.effects import holm

MAIN = (("sum", "absdiff"), ("sum", "zero"), ("absdiff", "zero"))  # under Holm
_TIE = 1e-12  # flipped signs that differ from the observed mean by rounding alone count as a tie


class PairedContrast(NamedTuple):
    """Mean difference of paired runs with its t interval; `p` is the t test's, `p_flip` the exact one's."""

    estimate: float
    low: float
    high: float
    p: float
    p_flip: float
    p_floor: float


def paired_contrast(differences: np.ndarray, *, level: float = 0.95) -> PairedContrast:
    """What a handful of paired runs say about a difference.

    Args:
        differences: `(n,)` one difference a pair of runs that share all draws; NaN is left out.
        level: Coverage of the interval, which has n − 1 degrees of freedom.

    Returns:
        With fewer than two pairs only the estimate is known. `p_flip` flips the signs in all 2ⁿ ways, so that no
        result can be below `p_floor` = 2 / 2ⁿ: 0.25 for three runs.
    """
    values = np.asarray(differences, float)
    values = values[~np.isnan(values)]
    n = values.size
    if n < 2:
        return PairedContrast(float(values[0]) if n else np.nan, *[np.nan] * 5)
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(n))
    half = float(student.ppf(0.5 + level / 2.0, n - 1)) * error
    if error > 0.0:
        p = float(2.0 * student.sf(abs(mean) / error, n - 1))
    else:
        p = 1.0 if mean == 0.0 else 0.0
    flipped = np.array(list(product((1.0, -1.0), repeat=n))) @ values / n
    p_flip = float(np.mean(np.abs(flipped) >= abs(mean) - _TIE))
    return PairedContrast(mean, mean - half, mean + half, p, p_flip, 2.0 / 2.0**n)


def run_contrasts(runs: pd.DataFrame, *, against: Sequence[str] = (), level: float = 0.95) -> pd.DataFrame:
    """Encodings against each other, and against controls, over runs that are paired by seed.

    Args:
        runs: One row a run: `encoding`, `seed`, `emd` (of IoU to real), `iou_median`, `gain`.
        against: Controls; sum and absolute difference are held against each of them.
        level: Coverage of the intervals.

    Returns:
        One row a contrast, in the columns of `comparison.contrast_table` that a claim reads: `first`, `second`,
        `measure` (iou), `family` (main | control), `n_runs`; `closer` (emd of the second − emd of the first: positive
        when the first is nearer to real), `closer_low`, `closer_high`, `p_closer`, `p_closer_flip`, `p_floor`;
        `median_difference` (first − second) with `_low`, `_high` and its `p`, `p_holm` (over the main contrasts);
        `gain_difference` with `_low`, `_high`. Contrasts of encodings that have no runs are left out.
    """
    wide = {name: runs.pivot(index="seed", columns="encoding", values=name) for name in ("emd", "iou_median", "gain")}
    known = set(wide["emd"].columns)
    asked = [*MAIN, *product(("sum", "absdiff"), against)]
    rows = [_row(wide, a, b, level) | {"family": "main" if (a, b) in MAIN else "control"}
            for a, b in asked if {a, b} <= known]
    table = pd.DataFrame(rows, columns=list(rows[0]) if rows else ["first", "second", "measure", "p", "family"])
    main = (table["family"] == "main").to_numpy()
    adjusted = np.full(len(table), np.nan)
    adjusted[main] = holm(table.loc[main, "p"].to_numpy(float))
    return table.assign(p_holm=adjusted)


def _row(wide: dict[str, pd.DataFrame], a: str, b: str, level: float) -> dict[str, object]:
    closer, median, gain = (paired_contrast((wide[name][x] - wide[name][y]).to_numpy(float), level=level)
                            for name, x, y in (("emd", b, a), ("iou_median", a, b), ("gain", a, b)))
    row = {"first": a, "second": b, "measure": "iou", "n_runs": int((wide["emd"][a] - wide["emd"][b]).notna().sum()),
           "closer": closer.estimate, "closer_low": closer.low, "closer_high": closer.high, "p_closer": closer.p,
           "p_closer_flip": closer.p_flip, "p_floor": closer.p_floor, "p": median.p}
    for name, found in (("median_difference", median), ("gain_difference", gain)):
        row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
    return row


def runs_per_encoding(runs: pd.DataFrame, encodings: Sequence[str]) -> int:
    """Usable runs of the encoding that has fewest: what a claim over runs can rely on."""
    usable = runs[runs["emd"].notna()].groupby("encoding")["seed"].nunique()
    return int(usable.reindex(list(encodings), fill_value=0).min())
