"""How much a study of this size can see, by simulation, and how many patients and trainings would be needed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t

from mammorgb_utils.evaluation.statistics.tables import MIN_POWER
from mammorgb_utils.experiments.utility.estimates import welch
from mammorgb_utils.streams import Stream, generator

SEEDS = (3, 5, 10, 20)  # trainings an arm that a plan looks at
MOST_PATIENTS = 100_000  # held-out ones; beyond it more trainings are needed, no more patients
_DRAWS = 2000  # simulated experiments


def power(se_patients: float, sd_seeds: float, patients: int, seeds: int, *, margin: float, alpha: float, tests: int,
          seed: int = 0) -> tuple[float, float]:
    """Share of simulated experiments that see a gain of the margin, and of those that show that there is none.

    Each draws the means of `seeds` trainings whose luck has the standard deviation `sd_seeds`, and one error that they
    share, `se_patients`, from the choice of held-out patients; it is judged as the study judges.

    Args:
        margin, alpha: A gain is a difference of at least the margin; equivalence is shown at alpha.
        tests: Contrasts under Holm; a gain must pass the first and strictest step.

    Returns:
        Power where the truth is the margin, and power of equivalence where the truth is 0; NaN for one training.
    """
    if seeds < 2 or not np.isfinite(sd_seeds):
        return float("nan"), float("nan")
    rng = generator(seed, Stream.UTILITY_POWER)
    luck = rng.normal(0.0, sd_seeds, (_DRAWS, seeds))
    mean = rng.normal(0.0, se_patients, _DRAWS) + luck.mean(axis=1)
    error, df = welch(se_patients, luck.std(axis=1, ddof=1), patients, seeds)
    seen = margin + mean > t.isf(alpha / tests / 2.0, df) * error  # none where an arm does exactly as the other
    alike = np.abs(mean) + t.isf(alpha, df) * error < margin
    return float(seen.mean()), float(alike.mean())


def plan_table(contrasts: pd.DataFrame, *, margin: float, alpha: float, seed: int) -> pd.DataFrame:
    """What each task, learner and number of real patients needs.

    Args:
        contrasts: Of `contrast_table`; the variances of its primary rows are pooled.

    Returns:
        One row each and number of `seeds` (the study's own and `SEEDS`): `patients` held out, `sd_patients` (of one
        patient), `sd_seeds` (of one training), `power_gain`, `power_equivalence`; `patients_needed` for both to reach
        `MIN_POWER`, by doubling, NaN where not even `MOST_PATIENTS` do.
    """
    rows, primary = [], contrasts[contrasts["family"] == "primary"]
    for (task, learner, n), part in primary.groupby(["task", "learner", "n"], sort=False):
        patients, own = int(part["patients"].iloc[0]), int(part["seeds"].iloc[0])
        unit = float(np.sqrt((part["se_patients"] ** 2).mean() * patients))
        luck, tests = float(np.sqrt((part["sd_seeds"] ** 2).mean())), int(part["tests"].iloc[0])
        for seeds in sorted({own, *SEEDS}):
            def both(held_out: int, seeds: int = seeds, unit: float = unit, luck: float = luck,
                     tests: int = tests) -> tuple[float, float]:
                return power(unit / np.sqrt(held_out), luck, held_out, seeds, margin=margin, alpha=alpha, tests=tests,
                             seed=seed)
            gain, alike = both(patients)
            tried = (patients * 2**i for i in range(64) if patients * 2**i <= max(MOST_PATIENTS, patients))
            needed = next((count for count in tried if min(both(count)) >= MIN_POWER), np.nan)
            rows.append({"task": task, "learner": learner, "n": n, "seeds": seeds, "patients": patients,
                         "sd_patients": unit, "sd_seeds": luck, "power_gain": gain, "power_equivalence": alike,
                         "patients_needed": needed})
    return pd.DataFrame(rows, columns=["task", "learner", "n", "seeds", "patients", "sd_patients", "sd_seeds",
                                       "power_gain", "power_equivalence", "patients_needed"])
