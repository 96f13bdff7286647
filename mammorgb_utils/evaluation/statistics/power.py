"""What a Kolmogorov–Smirnov test can tell, and what the paper's own numbers imply."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import kstwo

from mammorgb_utils.evaluation.statistics.rates import wilson
from mammorgb_utils.streams import Stream, generator

MIN_POWER = 0.80  # a test below it prints *underpowered*


def ks_p(statistic: float, n: int, m: int) -> float:
    """Large-sample p-value of a two-sample Kolmogorov–Smirnov statistic."""
    return float(kstwo.sf(statistic, round(n * m / (n + m))))


def ks_critical(n: int, m: int, *, alpha: float = 0.05) -> float:
    """Large-sample critical value of the two-sample Kolmogorov–Smirnov statistic."""
    return float(kstwo.isf(alpha, round(n * m / (n + m))))


def ks_power(n: int, m: int, shift_sd: float, *, alpha: float = 0.05, n_draws: int = 400, seed: int = 0) -> float:
    """Power of the Kolmogorov–Smirnov test against a shift of two normal samples, by simulation.

    Args:
        n, m: Sample sizes.
        shift_sd: Shift in standard deviations.
        alpha: Level of the test.
        n_draws: Simulated studies.
        seed: Seed of the simulation.

    Returns:
        Share of the studies that reject equality.
    """
    rng = generator(seed, Stream.KS_POWER)
    statistics = _ks_rows(rng.normal(shift_sd, 1.0, (n_draws, n)), rng.normal(0.0, 1.0, (n_draws, m)))
    return float(np.mean(statistics >= ks_critical(n, m, alpha=alpha)))


def ks_null_mean(n: int, m: int, *, n_draws: int = 2000, seed: int = 0) -> float:
    """Mean Kolmogorov–Smirnov statistic of two samples from one continuous population."""
    rng = generator(seed, Stream.KS_NULL_MEAN)
    return float(np.mean(_ks_rows(rng.random((n_draws, n)), rng.random((n_draws, m)))))


def _ks_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kolmogorov–Smirnov statistic of each row of `x` against the same row of `y`; no ties."""
    n, m = x.shape[1], y.shape[1]
    is_x = np.argsort(np.concatenate([x, y], axis=1), axis=1) < n
    return np.abs(np.cumsum(np.where(is_x, 1.0 / n, -1.0 / m), axis=1)).max(axis=1)


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
