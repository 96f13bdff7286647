"""The claims ledger: the paper's claims, judged by criteria that stand in `claims.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.claims_file import Claim, ClaimsError, load_claims, paper_figures
from mammorgb_utils.reporting.verdicts import JUDGES, NOT_RUN, NOT_TESTABLE, Judgement

__all__ = ["ClaimsError", "evaluate_claims", "load_claims", "paper_figures"]


def evaluate_claims(claims_path: Path, results: Mapping[str, Any], *, cohort_source: str,
                    protocol: Protocol) -> pd.DataFrame:
    """Judge every claim by what the study found.

    Args:
        claims_path: `claims.yaml`.
        results: Tables by the name a claim's `needs` gives: `effects`, `distances`, `contrasts`, `consistency`,
            in the appendices also `artefacts` and others; `runs_per_encoding` (1 when absent).
        cohort_source: Source of the cohort, as in the manifest; "phantom" qualifies every verdict.
        protocol: Gives encodings and alpha.

    Returns:
        One row a claim: `id`, `claim`, `paper`, `criterion`, `observed`, `verdict`, `note`. A verdict is one of
        reproduced, not reproduced, underpowered, not testable on this cohort, not run, followed on phantoms by
        "on phantoms".

    Raises:
        ClaimsError: The claims file is wrong, or a result lacks a column that a criterion needs.
    """
    phantoms = cohort_source.strip().lower() in {"phantom", "phantoms"}
    rows = []
    for claim in load_claims(claims_path):
        observed, verdict, note = _judge(claim, results, protocol, phantoms)
        rows.append({"id": claim.id, "claim": claim.statement, "paper": claim.paper, "criterion": claim.criterion,
                     "observed": observed, "verdict": _qualified(verdict, phantoms),
                     "note": ". ".join(text.strip().rstrip(".") for text in (note, claim.note) if text)})
    return pd.DataFrame(rows)


def _qualified(verdict: str, phantoms: bool) -> str:
    if not phantoms:
        return verdict
    return f"{verdict}, on phantoms" if verdict == NOT_TESTABLE else f"{verdict} on phantoms"


def _judge(claim: Claim, results: Mapping[str, Any], protocol: Protocol, phantoms: bool) -> Judgement:
    absent = [name for name in claim.needs if results.get(name) is None]
    if absent:
        return "", NOT_RUN, f"needs {', '.join(name.replace('_', ' ') for name in absent)}"
    try:
        observed, verdict, note = JUDGES[claim.test.kind](claim, results, protocol)
    except KeyError as error:
        raise ClaimsError(f"claim {claim.id}: the results for {', '.join(claim.needs)} lack {error}; "
                          "run 05_stats again") from None
    if claim.calibrated and phantoms and verdict != NOT_RUN:
        return observed, NOT_TESTABLE, "set by us on phantoms, so it earns no verdict"
    return observed, verdict, note
