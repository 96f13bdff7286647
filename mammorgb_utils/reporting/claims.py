"""The paper's claims, judged by the criteria that stand beside them in `claims.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from mammorgb_utils.evaluation.statistics import MOST_LOST
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, Run, read_table
from mammorgb_utils.yaml_files import Record, read_record

CLAIMS_FILE = PROJECT_ROOT / "claims.yaml"
VERDICTS = REPRODUCED, NOT_REPRODUCED, UNDERPOWERED, NOT_TESTABLE, NOT_RUN = (
    "reproduced", "not reproduced", "underpowered", "not testable on this cohort", "not run")


class ClaimsError(ValueError):
    """The claims file or a result can't be used; the message names file or claim, field and remedy."""


class Judgement(NamedTuple):
    """What was seen, what follows, and why where that isn't plain."""

    observed: str
    verdict: str
    note: str = ""


class _OfSets(Record):
    """A criterion that looks at a table's rows of the study's encodings; `decide` says what follows from them."""

    table: str

    def judge(self, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
        asked = self.model_dump(include={"measure", "statistic"})
        rows, lacking = _rows(results[self.table], protocol.encodings, **asked)
        found, counts = lacking or self.decide(rows, protocol), rows.reindex(columns=["n", "n_nan"], fill_value=0)
        lost = rows.index[counts["n_nan"] > MOST_LOST * counts.sum(axis=1)]
        return found if found.verdict != REPRODUCED or lost.empty else found._replace(
            verdict=UNDERPOWERED, note=f"too many pairs without a value: {', '.join(lost)}")


class Equivalence(_OfSets):
    """Every set equivalent to real: reproduced; one beyond the margin: not; otherwise the intervals are too wide."""

    kind: Literal["equivalence"]
    measure: str

    def decide(self, rows: pd.DataFrame, protocol: Protocol) -> Judgement:
        found = rows["equivalence"]
        shifts = _listed(rows, "{set} {hodges_lehmann:+.3f} [{hodges_lehmann_low:+.3f}, {hodges_lehmann_high:+.3f}], "
                               "{equivalence}")
        return Judgement(f"{shifts}; margin ±{protocol.equivalence_margin:g}",
                         verdict_of((found == "equivalent").all(), (found == "beyond margin").any()))


class AtMost(_OfSets):
    """Every distance below a threshold that chance stays below: reproduced; one above it beyond chance: not."""

    kind: Literal["at_most"]
    measure: str
    statistic: Literal["emd", "ks"]
    threshold: float = Field(gt=0.0)
    p: Literal["p", "p_holm", "p_bh"]

    def decide(self, rows: pd.DataFrame, protocol: Protocol) -> Judgement:
        observed = _listed(rows, f"{{set}} {{value:.3f}} (null band to {{band_high:.3f}}, p {{{self.p}:.2g}})")
        if ((rows["value"] > self.threshold) & (rows[self.p] < protocol.alpha)).any():
            return Judgement(observed, NOT_REPRODUCED)
        if "note" in rows and (rows["note"] == UNDERPOWERED).any():
            return Judgement(observed, UNDERPOWERED, "the test would miss a shift of the equivalence margin too often")
        if (rows[["value", "band_high"]] <= self.threshold).all(axis=None):
            return Judgement(observed, REPRODUCED)
        return Judgement(observed, UNDERPOWERED, f"chance alone reaches {rows['band_high'].max():.3f} at these sizes")


class RateWithin(_OfSets):
    """Every rate's interval narrow enough and overlapping the range: reproduced; one outside it: not."""

    kind: Literal["rate_within"]
    low: float = Field(ge=0.0, le=1.0)
    high: float = Field(ge=0.0, le=1.0)
    max_width: float = Field(gt=0.0)  # a wider interval decides nothing

    def decide(self, rows: pd.DataFrame, protocol: Protocol) -> Judgement:
        outside = (rows["low"] > self.high) | (rows["high"] < self.low)
        narrow = (rows["high"] - rows["low"]) <= self.max_width
        return Judgement(_listed(rows, "{set} {rate:.1%} [{low:.1%}, {high:.1%}]"),
                         verdict_of((narrow & ~outside).all(), outside.any()))


class Nearer(Record):
    """Each first set nearer to real than its second, over enough training runs to tell encoding from seed."""

    kind: Literal["nearer"]
    table: str
    measure: str
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    min_runs: int = Field(ge=1)

    def judge(self, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
        contrasts, runs = _both_ways(results[self.table], self.measure), int(results.get("runs_per_encoding", 1))
        for first, second in self.pairs:
            if (first, second) not in contrasts.index:
                return Judgement("", NOT_RUN, f"no contrast of {first} with {second}")
            if contrasts.loc[[(first, second)], ["p", "closer_low", "closer_high"]].isna().any(axis=None):
                return Judgement("", UNDERPOWERED, f"too few pairs or runs to contrast {first} with {second}")
        rows = contrasts.loc[list(self.pairs)]
        runs = min(runs, int(rows["n_runs"].min()) if "n_runs" in rows else runs)  # some may lack their partner's seed
        observed = _listed(rows.reset_index(), "{first} − {second}: median {median_difference:+.3f} (p {p_holm:.2g}), "
                           "nearer to real by {closer:+.3f} [{closer_low:+.3f}, {closer_high:+.3f}]")
        if runs < self.min_runs:
            each = "one run each" if runs == 1 else f"{runs} runs each"
            return Judgement(observed, UNDERPOWERED,
                             f"{each}: encoding is confounded with seed; {self.min_runs} runs an encoding needed")
        return Judgement(observed, verdict_of((rows["closer_low"] > 0.0).all(), (rows["closer_high"] < 0.0).any()))


class Consistency(Record):
    """Enough scores surely above the threshold: reproduced; too few that can still reach it: not."""

    kind: Literal["consistency"]
    table: str
    measure: str
    threshold: float = Field(gt=0.0)
    min_sets: int = Field(ge=1)
    min_real_gain: float = Field(ge=0.0)

    def judge(self, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
        table = results[self.table]
        table = table[table["measure"] == self.measure]
        real, (rows, lacking) = table[table["set"] == "real"], _rows(table, protocol.encodings)
        if real.empty:
            return Judgement("", NOT_RUN, "no results for real")
        if lacking and lacking.verdict == NOT_RUN:
            return lacking
        observed = _listed(rows.dropna(subset=["score"]), "{set} {score:.2f} [{score_low:.2f}, {score_high:.2f}]")
        if judged := self._on_real_pairs(real.iloc[0], observed) or lacking:
            return judged
        # A set whose sizes vary more scores higher, however little its own views overlap.
        own = rows["paired_median"] >= real.iloc[0]["paired_median"] - protocol.equivalence_margin
        above, below = (own & (rows["score_low"] >= self.threshold)).sum(), (rows["score_high"] < self.threshold).sum()
        return Judgement(observed, verdict_of(above >= self.min_sets, len(rows) - below < self.min_sets <= len(rows)))

    def _on_real_pairs(self, real: pd.Series, observed: str) -> Judgement | None:
        """Why real pairs can't tell consistency from usual size; None when they can."""
        if not real["gain"] >= self.min_real_gain:
            below = "can't be compared" if np.isnan(real["gain"]) else f"lie only {real['gain']:.3f} below paired ones"
            return Judgement(observed, NOT_TESTABLE, f"real shuffled pairs {below}")
        if np.isnan(real["over_area"]):
            return Judgement(observed, NOT_RUN, "the nearest-area baseline is missing; run 04_metrics again")
        if not real["over_area_low"] > 0.0:
            over = "{over_area:+.3f} [{over_area_low:+.3f}, {over_area_high:+.3f}]".format(**real)
            return Judgement(observed, NOT_TESTABLE, "a real CC doesn't surely overlap its own MLO more than another "
                             f"patient's of the nearest area ({over}): IoU says only 'same size'")
        return None


class ByAppendix(Record):
    """Judged by an appendix, which hands in `observed`, `verdict` and, if need be, `note`."""

    kind: Literal["by_appendix"]


class Claim(Record):
    """One claim of the paper with the criterion that judges it."""

    id: str
    statement: str
    paper: str
    figures: dict[str, float]
    criterion: str
    test: Annotated[Equivalence | AtMost | Nearer | RateWithin | Consistency | ByAppendix, Field(discriminator="kind")]
    needs: tuple[str, ...] = Field(min_length=1)  # keys of the results that must be there
    calibrated: bool  # the criterion's figure is set by us on phantoms
    note: str = ""

    def judge(self, results: Mapping[str, Any], protocol: Protocol) -> Judgement:
        """What the results say by this claim's criterion, whatever the cohort; see `evaluate_claims`."""
        if absent := [name for name in self.needs if results.get(name) is None]:
            return Judgement("", NOT_RUN, f"needs {', '.join(name.replace('_', ' ') for name in absent)}")
        try:
            if not isinstance(self.test, ByAppendix):
                return self.test.judge(results, protocol)
            handed = results[self.needs[0]]
            found = Judgement(str(handed["observed"]), handed["verdict"], str(handed.get("note", "")))
        except KeyError as error:
            raise ClaimsError(f"claim {self.id}: the results for {', '.join(self.needs)} lack {error}; "
                              "run 05_stats again") from None
        if found.verdict not in VERDICTS:
            raise ValueError(f"claim {self.id}: verdict {found.verdict!r} is none of {', '.join(VERDICTS)}")
        return found


class _ClaimsFile(Record):
    version: Literal[1]
    claims: tuple[Claim, ...] = Field(min_length=1)


def load_claims(path: Path = CLAIMS_FILE) -> tuple[Claim, ...]:
    """Read the claims file; a `ClaimsError` says what is wrong with it."""
    claims = read_record(path, _ClaimsFile, ClaimsError).claims
    ids = [claim.id for claim in claims]
    if repeated := sorted({name for name in ids if ids.count(name) > 1}):
        raise ClaimsError(f"{path.name}: id {repeated[0]!r} stands more than once; give each claim its own")
    return claims


def paper_figures(path: Path = CLAIMS_FILE) -> dict[str, float]:
    """The paper's figures of all claims by name, such as `ks` and `n_real`."""
    return {name: value for claim in load_claims(path) for name, value in claim.figures.items()}


def cohort_source(study: Run) -> str:
    """Where a study's pairs come from, as its manifest says: `phantom`, or the names of archives."""
    return "/".join(sorted(set(read_table(study.pairs_index)["source"])))


def of_phantoms(source: str) -> bool:
    """Whether phantoms are among the sources that `cohort_source` names: real pairs among them change no verdict."""
    return bool({"phantom", "phantoms"} & set(source.strip().lower().split("/")))


def judge_claims(study: Run, results: Mapping[str, Any], only: str | None = None) -> pd.DataFrame:
    """`evaluate_claims` for a study's own cohort and protocol; `only` keeps the claim of that id."""
    claims = evaluate_claims(results, cohort_source=cohort_source(study), protocol=study.protocol)
    return claims if only is None else claims[claims["id"] == only]


def evaluate_claims(results: Mapping[str, Any], *, cohort_source: str, protocol: Protocol,
                    path: Path = CLAIMS_FILE) -> pd.DataFrame:
    """Judge every claim by what the study found.

    Args:
        results: Tables by the name a claim's `needs` gives: `effects`, `distances`, `contrasts`, `consistency`,
            in the appendices also `artefacts` and others; `runs_per_encoding` (1 when absent).
        cohort_source: As in the manifest; "phantom" among them qualifies every verdict.
        protocol: Gives encodings, alpha and the equivalence margin.

    Returns:
        One row a claim: `id`, `claim`, `paper`, `criterion`, `observed`, `verdict`, `note`. A verdict is one of
        `VERDICTS`, followed on phantoms by "on phantoms".

    Raises:
        ClaimsError: The claims file is wrong, or a result lacks a column that a criterion needs.
    """
    phantoms, rows = of_phantoms(cohort_source), []
    for claim in load_claims(path):
        observed, verdict, note = claim.judge(results, protocol)
        if claim.calibrated and phantoms and verdict != NOT_RUN:
            verdict, note = NOT_TESTABLE, "set by us on phantoms, so it earns no verdict"
        verdict = on_phantoms(verdict) if phantoms else verdict
        rows.append({"id": claim.id, "claim": claim.statement, "paper": claim.paper, "criterion": claim.criterion,
                     "observed": observed, "verdict": verdict,
                     "note": ". ".join(text.strip().rstrip(".") for text in (note, claim.note) if text)})
    return pd.DataFrame(rows)


def on_phantoms(verdict: str) -> str:
    """A verdict that says what it speaks of."""
    return f"{verdict}{',' if verdict == NOT_TESTABLE else ''} on phantoms"


def verdict_of(shown: bool, refuted: bool) -> str:
    """Reproduced where that is shown, not reproduced where it is refuted, else underpowered."""
    return REPRODUCED if shown else NOT_REPRODUCED if refuted else UNDERPOWERED


def _rows(table: pd.DataFrame, sets: tuple[str, ...], **where: str) -> tuple[pd.DataFrame, Judgement | None]:
    """The rows of some sets, or a judgement when one of them is missing or has too few pairs."""
    for column, value in where.items():
        table = table[table[column] == value]
    rows = table.set_index("set", drop=False).rename_axis(None)
    if missing := [name for name in sets if name not in rows.index]:
        return rows, Judgement("", NOT_RUN, f"no results for {', '.join(missing)}")
    rows = rows.loc[list(sets)]
    key = next(name for name in ("hodges_lehmann", "value", "score", "rate", "set") if name in rows)
    if empty := list(rows.index[rows[key].isna()]):
        return rows, Judgement("", UNDERPOWERED, f"too few usable pairs in {', '.join(empty)}")
    return rows, None


def _both_ways(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Contrasts by their two sets in either order, the differences turned with it."""
    table = table[table["measure"] == measure]
    turned = {"first": "second", "second": "first", "closer_low": "closer_high", "closer_high": "closer_low"}
    other = table.rename(columns=turned)
    signed = ["median_difference", "closer", "closer_low", "closer_high"]
    return pd.concat([table, other.assign(**{name: -other[name] for name in signed})]).set_index(["first", "second"])


def _listed(rows: pd.DataFrame, template: str) -> str:
    return "; ".join(template.format(**row) for row in rows.to_dict("records"))
