"""What becomes of the claims under each mask method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from mammorgb_utils.evaluation.consistency import consistency_table
from mammorgb_utils.evaluation.statistics import contrast_table, distance_table, effect_table
from mammorgb_utils.output.records import require_unchanged
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.claims import cohort_source, evaluate_claims
from mammorgb_utils.runs import Run, read_table

MAX_DRAWS = 2000  # permutations and bootstrap draws under other methods than the study's: they show a change of verdict
MASK_CLAIMS = ("C1", "C2", "C3", "C4", "C7")  # those that masks decide
_TABLES = ("distances", "effects", "contrasts", "consistency")
_EFFECTS = ["mask_method", "set", "n", "median", *(f"{name}{end}" for name in ("shift", "gain", "score")
                                                   for end in ("", "_low", "_high")), "emd", "ks"]


class MaskVerdicts(NamedTuple):
    """Both tables of `verdicts_by_method`."""

    verdicts: pd.DataFrame
    effects: pd.DataFrame


def verdicts_of_study(study: Run) -> MaskVerdicts:
    """`verdicts_by_method` for a study whose notebooks 04 and 05 are done; refuses tables changed since."""
    for name in _TABLES:
        require_unchanged(study.tables / f"{name}.csv", "05_stats")
    own = {name: read_table(study.tables / f"{name}.csv") for name in _TABLES}
    return verdicts_by_method(read_table(study.by_method("overlap")), read_table(study.by_method("shuffled")),
                              study.protocol, cohort_source=cohort_source(study), own=own)


def verdicts_by_method(overlap: pd.DataFrame, shuffled: pd.DataFrame, protocol: Protocol, *,
                       cohort_source: str, own: Mapping[str, pd.DataFrame] | None = None) -> MaskVerdicts:
    """Distances, effects, contrasts and consistency under every mask method, judged as the ledger judges them.

    Args:
        overlap, shuffled: What `overlap_by_method` returned.
        protocol: As in notebook 05; other methods than its own get at most `MAX_DRAWS` draws.
        cohort_source: As for `evaluate_claims`.
        own: The study's tables `distances`, `effects`, `contrasts` and `consistency`, which hold for its own method;
            made anew where they aren't given.

    Returns:
        `verdicts`: one row a claim of `MASK_CLAIMS` and method: `id`, `claim`, `mask_method`, `study` (the study's own
        method), `observed`, `verdict`, `changed` (another verdict than under the study's method). `effects`: one row
        a method and set: `mask_method`, `set`, `n`, `median` (IoU), `shift` (Hodges–Lehmann, to real), `gain` (paired
        − shuffled), `score`, each with 95 % interval where it has one; `emd`, `ks`, to real.
    """
    if protocol.mask_method not in set(overlap["mask_method"]):
        raise ValueError(f"metrics/overlap_by_method.csv: no rows of the study's own mask method "
                         f"{protocol.mask_method!r}; run 04_metrics again")
    fewer = protocol.changed(n_permutations=min(protocol.n_permutations, MAX_DRAWS),
                             n_bootstrap=min(protocol.n_bootstrap, MAX_DRAWS))
    verdicts, effects = [], []
    for method, rows in overlap.groupby("mask_method", sort=False):
        is_own = method == protocol.mask_method
        strangers = shuffled[shuffled["mask_method"] == method]
        results = own if is_own and own else _results(rows, strangers, protocol if is_own else fewer)
        claims = evaluate_claims(results, cohort_source=cohort_source, protocol=protocol)
        verdicts.append(claims[claims["id"].isin(MASK_CLAIMS)].assign(mask_method=method))
        effects.append(_effects(results).assign(mask_method=method)[_EFFECTS])
    return MaskVerdicts(_compared(pd.concat(verdicts, ignore_index=True), protocol.mask_method),
                        pd.concat(effects, ignore_index=True))


def _results(overlap: pd.DataFrame, shuffled: pd.DataFrame, protocol: Protocol) -> dict[str, pd.DataFrame]:
    return {"distances": distance_table(overlap, protocol), "effects": effect_table(overlap, protocol),
            "contrasts": contrast_table(overlap, protocol),
            "consistency": consistency_table(overlap, shuffled, protocol)}


def _compared(verdicts: pd.DataFrame, own: str) -> pd.DataFrame:
    """Claim by claim, the study's own method first, each verdict held against that method's."""
    theirs = verdicts[verdicts["mask_method"] == own].set_index("id")["verdict"]
    verdicts = verdicts.assign(study=verdicts["mask_method"] == own,
                               changed=verdicts["verdict"] != verdicts["id"].map(theirs))
    verdicts = verdicts.sort_values(["id", "study"], ascending=[True, False], kind="stable", ignore_index=True)
    return verdicts[["id", "claim", "mask_method", "study", "observed", "verdict", "changed"]]


def _effects(results: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a set of the figures that the map of open choices shows."""
    of_iou = {name: table[table["measure"] == "iou"] for name, table in results.items()}
    table = of_iou["consistency"].set_index("set").rename(columns={"paired_median": "median"})
    shifts = of_iou["effects"].set_index("set").filter(like="hodges_lehmann")
    shifts = shifts.rename(columns=lambda name: name.replace("hodges_lehmann", "shift"))
    distances = of_iou["distances"].pivot(index="set", columns="statistic", values="value")
    return table.join(shifts).join(distances).reset_index(names="set")
