"""How each kind of criterion turns the study's tables into a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.claims_file import Claim
from mammorgb_utils.reporting.claims_file import Consistency as ConsistencyTest

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
UNDERPOWERED = "underpowered"
NOT_TESTABLE = "not testable on this cohort"
NOT_RUN = "not run"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, UNDERPOWERED, NOT_TESTABLE, NOT_RUN)


class Judgement(NamedTuple):
    """What was seen, what follows, and why where that isn't plain."""

    observed: str
    verdict: str
    note: str = ""


def equivalence(claim: Claim, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
    """Every set equivalent to real: reproduced; one beyond the margin: not; otherwise the intervals are too wide."""
    rows, lacking = _rows(results[claim.test.table], protocol, measure=claim.test.measure)
    if lacking:
        return lacking
    observed = "; ".join(f"{row['set']} {row['hodges_lehmann']:+.3f} [{row['hodges_lehmann_low']:+.3f}, "
                         f"{row['hodges_lehmann_high']:+.3f}], {row['equivalence']}" for row in rows.to_dict("records"))
    observed += f"; margin ±{protocol.equivalence_margin:g}"
    if (rows["equivalence"] == "equivalent").all():
        return Judgement(observed, REPRODUCED)
    return Judgement(observed, NOT_REPRODUCED if (rows["equivalence"] == "beyond margin").any() else UNDERPOWERED)


def at_most(claim: Claim, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
    """Every distance below a threshold that chance stays below: reproduced; one above it beyond chance: not."""
    test = claim.test
    rows, lacking = _rows(results[test.table], protocol, measure=test.measure, statistic=test.statistic)
    if lacking:
        return lacking
    observed = "; ".join(f"{row['set']} {row['value']:.3f} (null band to {row['band_high']:.3f}, p {row[test.p]:.2g})"
                         for row in rows.to_dict("records"))
    if ((rows["value"] > test.threshold) & (rows[test.p] < protocol.alpha)).any():
        return Judgement(observed, NOT_REPRODUCED)
    if "note" in rows and (rows["note"] == UNDERPOWERED).any():
        return Judgement(observed, UNDERPOWERED, "the test would miss a shift of the equivalence margin too often")
    if ((rows["value"] <= test.threshold) & (rows["band_high"] <= test.threshold)).all():
        return Judgement(observed, REPRODUCED)
    return Judgement(observed, UNDERPOWERED, f"chance alone reaches {rows['band_high'].max():.3f} at these sizes")


def nearer(claim: Claim, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
    """Each first set nearer to real than its second, over enough training runs to tell encoding from seed."""
    test, parts, closer = claim.test, [], []
    table = results[test.table]
    table = table[table["measure"] == test.measure]
    for first, second in test.pairs:
        row, sign = _contrast(table, first, second)
        if row is None:
            return Judgement("", NOT_RUN, f"no contrast of {first} with {second}")
        if np.isnan([row["p"], row["closer_low"], row["closer_high"]]).any():
            return Judgement("", UNDERPOWERED, f"too few pairs or runs to contrast {first} with {second}")
        bounds = sorted((sign * row["closer_low"], sign * row["closer_high"]))
        closer.append(bounds)
        parts.append(f"{first} − {second}: median {sign * row['median_difference']:+.3f} (p {row['p_holm']:.2g}), "
                     f"nearer to real by {sign * row['closer']:+.3f} [{bounds[0]:+.3f}, {bounds[1]:+.3f}]")
    runs = int(results.get("runs_per_encoding", 1))
    if runs < test.min_runs:
        each = "one run each" if runs == 1 else f"{runs} runs each"
        return Judgement("; ".join(parts), UNDERPOWERED,
                         f"{each}: encoding is confounded with seed; {test.min_runs} runs an encoding needed")
    if all(low > 0.0 for low, _ in closer):
        return Judgement("; ".join(parts), REPRODUCED)
    return Judgement("; ".join(parts), NOT_REPRODUCED if any(high < 0.0 for _, high in closer) else UNDERPOWERED)


def rate_within(claim: Claim, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
    """Every rate's interval narrow enough and overlapping the range: reproduced; one outside it: not."""
    test = claim.test
    rows, lacking = _rows(results[test.table], protocol)
    if lacking:
        return lacking
    observed = "; ".join(f"{row['set']} {row['rate']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
                         for row in rows.to_dict("records"))
    if ((rows["low"] > test.high) | (rows["high"] < test.low)).any():
        return Judgement(observed, NOT_REPRODUCED)
    narrow = ((rows["high"] - rows["low"]) <= test.max_width).all()
    return Judgement(observed, REPRODUCED if narrow else UNDERPOWERED)


def consistency(claim: Claim, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
    """Enough scores surely above the threshold: reproduced; too few that can still reach it: not."""
    test, table = claim.test, results[claim.test.table]
    real = table[(table["set"] == "real") & (table["measure"] == test.measure)]
    if real.empty:
        return Judgement("", NOT_RUN, "no results for real")
    rows, lacking = _rows(table, protocol, measure=test.measure)
    if lacking and lacking.verdict == NOT_RUN:
        return lacking
    observed = "; ".join(f"{row['set']} {row['score']:.2f} [{row['score_low']:.2f}, {row['score_high']:.2f}]"
                         for row in rows.dropna(subset=["score"]).to_dict("records"))
    judged = _on_real_pairs(real.iloc[0], test, observed) or lacking
    if judged:
        return judged
    if (rows["score_low"] >= test.threshold).sum() >= test.min_sets:
        return Judgement(observed, REPRODUCED)
    refuted = len(rows) - (rows["score_high"] < test.threshold).sum() < test.min_sets <= len(rows)
    return Judgement(observed, NOT_REPRODUCED if refuted else UNDERPOWERED)


def _on_real_pairs(real: pd.Series, test: ConsistencyTest, observed: str) -> Judgement | None:
    """Why real pairs can't tell consistency from usual size; None when they can."""
    if not real["gain"] >= test.min_real_gain:
        below = "can't be compared" if np.isnan(real["gain"]) else f"lie only {real['gain']:.3f} below paired ones"
        return Judgement(observed, NOT_TESTABLE, f"real shuffled pairs {below}")
    if np.isnan(real["nearest_area_median"]):
        return Judgement(observed, NOT_RUN, "the nearest-area baseline is missing; run 04_metrics again")
    if real["nearest_area_median"] >= real["paired_median"]:
        return Judgement(observed, NOT_TESTABLE, "another patient's MLO of the nearest area overlaps a real CC as much "
                         f"as its own ({real['nearest_area_median']:.3f}): IoU says only 'same size'")
    return None


def by_appendix(claim: Claim, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
    """An appendix judged its own data: a mapping with `observed`, `verdict` and, if need be, `note`."""
    found = results[claim.needs[0]]
    if found["verdict"] not in VERDICTS:
        raise ValueError(f"claim {claim.id}: verdict {found['verdict']!r} is none of {', '.join(VERDICTS)}")
    return Judgement(str(found["observed"]), found["verdict"], str(found.get("note", "")))


JUDGES: dict[str, Callable[[Claim, Mapping[str, Any], Protocol], Judgement]] = {
    judge.__name__: judge for judge in (equivalence, at_most, nearer, rate_within, consistency, by_appendix)}


def _rows(table: pd.DataFrame, protocol: Protocol, **where: str) -> tuple[pd.DataFrame, Judgement | None]:
    """The rows of the study's encodings, or a judgement when one of them is missing or has too few pairs."""
    for column, value in where.items():
        table = table[table[column] == value]
    rows = table.set_index("set", drop=False).rename_axis(None)
    missing = [name for name in protocol.encodings if name not in rows.index]
    if missing:
        return rows, Judgement("", NOT_RUN, f"no results for {', '.join(missing)}")
    rows = rows.loc[list(protocol.encodings)]
    key = next(name for name in ("hodges_lehmann", "value", "score", "rate", "set") if name in rows)
    empty = rows.index[rows[key].isna()]
    if len(empty):
        return rows, Judgement("", UNDERPOWERED, f"too few usable pairs in {', '.join(empty)}")
    return rows, None


def _contrast(table: pd.DataFrame, first: str, second: str) -> tuple[pd.Series | None, float]:
    """The row of two sets in either order, and the sign that turns it to first − second."""
    for a, b, sign in ((first, second, 1.0), (second, first, -1.0)):
        rows = table[(table["first"] == a) & (table["second"] == b)]
        if len(rows):
            return rows.iloc[0], sign
    return None, 1.0
