"""What the paper's own numbers imply, computed from its figures."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mammorgb_utils.evaluation.statistics.effects import ks_critical, ks_null_mean, ks_p, wilson


def paper_arithmetic(figures: Mapping[str, float], *, alpha: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """Lines that put the paper's KS and artefact rates beside their sampling error.

    Args:
        figures: The paper's figures by name, as `reporting.claims.paper_figures` reads them from `claims.yaml`:
            `ks`, `n_synthetic`, `n_real`, `artefact_rate_low`, `artefact_rate_high`.
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
    p, critical = ks_p(statistic, n, m), ks_critical(n, m, alpha=alpha)
    rejects = "rejects equality" if p < alpha else "doesn't reject equality"
    sizes = f"{n} against {m}"
    rows = [(f"p-value of the KS statistic, {sizes}", statistic, p, None, None, f"taken at its word, it {rejects}"),
            (f"critical KS at {alpha:.0%}, {sizes}", statistic, critical, None, None,
             "the figure lies above it" if statistic > critical else "the figure lies below it"),
            (f"mean KS of two identical populations, {sizes}", statistic, ks_null_mean(n, m, seed=seed), None, None,
             "what equality gives on average")]
    for name in ("artefact_rate_low", "artefact_rate_high"):
        rate = wilson(round(figures[name] * n), n, level=1.0 - alpha)
        rows.append((f"artefact rate of {n} pairs (size assumed)", figures[name], rate.estimate, rate.low, rate.high,
                     f"{1.0 - alpha:.0%} Wilson interval"))
    return pd.DataFrame(rows, columns=["quantity", "paper", "value", "low", "high", "reading"])
