"""Verdicts that an appendix hands to the claims ledger."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mammorgb_utils.output.style import format_rate
from mammorgb_utils.reporting.verdicts import NOT_REPRODUCED, NOT_RUN, NOT_TESTABLE, REPRODUCED, UNDERPOWERED

SLOW, FAST = 1e-5, 1e-4  # the rates that the claim compares


def learning_rate_claim(runs: pd.DataFrame, prediction_type: str) -> dict[str, str]:
    """Whether the lower learning rate trained more stably at every seed.

    Args:
        runs: One row a run: `learning_rate`, `seed`, `clipped` (share of steps), `diverged`.
        prediction_type: Of the base's scheduler. The claim speaks of a base that predicts the noise; on another one
            stability is shown and nothing judged.

    Returns:
        `observed`, `verdict`, `note`, for `claims.evaluate_claims` as `learning_rate_sweep`.
    """
    slow, fast = (runs[np.isclose(runs["learning_rate"], rate)].set_index("seed") for rate in (SLOW, FAST))
    seeds = slow.index.intersection(fast.index)
    if not len(seeds):
        return {"observed": "", "verdict": NOT_RUN, "note": f"no seed was trained at {SLOW:g} and {FAST:g}"}
    slow, fast = slow.loc[seeds], fast.loc[seeds]
    observed = "; ".join(f"{format_rate(rate)}: clipped in {', '.join(f'{share:.0%}' for share in part['clipped'])} of "
                         f"steps, {int(part['diverged'].sum())} of {len(part)} runs diverged"
                         for rate, part in ((SLOW, slow), (FAST, fast)))
    if prediction_type != "epsilon":
        return {"observed": observed, "verdict": NOT_TESTABLE, "note": "the claim speaks of a base that predicts the "
                f"noise; this one's prediction type is {prediction_type}"}
    return {"observed": observed, "verdict": _verdict(slow, fast), "note": ""}


def _verdict(slow: pd.DataFrame, fast: pd.DataFrame) -> str:
    """As the criterion says, both at every seed; one worse refutes it; equal ones decide nothing."""
    fewer = [slow[name].astype(float) - fast[name].astype(float) for name in ("clipped", "diverged")]
    if all((difference < 0).all() for difference in fewer):
        return REPRODUCED
    return NOT_REPRODUCED if any((difference > 0).any() for difference in fewer) else UNDERPOWERED


def artefact_claim(rates: pd.DataFrame) -> pd.DataFrame:
    """The rates that the claim about artefacts is judged by.

    Args:
        rates: From `artefacts.artefact_rates`.

    Returns:
        One row a set: `set`, `rate`, `low`, `high` of pairs with any artefact, for `claims.evaluate_claims` as
        `artefacts`.
    """
    return rates.loc[rates["artefact"] == "any", ["set", "rate", "low", "high"]].reset_index(drop=True)
