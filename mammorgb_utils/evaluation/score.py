"""The whole evaluation of one set of pairs from anywhere, against the real pairs of a study."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.consistency import (
    NEAREST_AREA,
    consistency_table,
    nearest_area_overlap,
    shuffled_overlap,
)
from mammorgb_utils.evaluation.overlap import pair_metrics, plausible
from mammorgb_utils.evaluation.score_steps import (
    artefact_rows,
    fidelity_rows,
    match_rows,
    measure_anatomy,
    measure_artefacts,
    measure_texture,
    memorisation_rows,
)
from mammorgb_utils.evaluation.sets import SETS, ScoredSets, ScoreError, scored_sets
from mammorgb_utils.evaluation.statistics import (
    CANDIDATE,
    MEASURES,
    PRIMARY,
    distance_table,
    effect_table,
    overlap_summary,
)

_SAME_SIZE = ("a real CC overlaps the nearest-area MLO of another breast as much as its own: IoU says only "
              "'same size'")
__all__ = ["ScoreError", "score_card", "score_tables", "scored_sets"]


def score_tables(sets: ScoredSets, progress: Callable[[str], None] = lambda step: None) -> dict[str, pd.DataFrame]:
    """Every table of a score.

    Args:
        sets: From `scored_sets`.
        progress: Called with the name of each step before it begins.

    Returns:
        By name, as in the study: `overlap`, `shuffled`, `anatomy` and `artefact_flags` (a row a pair),
        `overlap_summary`, `distances`, `effects`, `consistency`, `anatomy_consistency`, `match_test`, `fidelity`,
        `artefacts`, and where the real pairs are held out `nearest_training` and `memorisation`; and `card`, the
        figures to report.
    """
    tables: dict[str, pd.DataFrame] = {}
    for name, step in STEPS.items():
        progress(name)
        tables |= step(sets, tables)
    progress("card")
    return tables | {"card": score_card(tables)}


def _overlap(sets: ScoredSets, tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    frames = {name: pair_metrics(sets.pairs[name], masks=sets.masks[name]) for name in SETS}
    frames = [frame.assign(set=name, pair=sets.names[name], patient=sets.patients[name],
                           plausible=plausible(frame, frames["real"])) for name, frame in frames.items()]
    overlap = pd.concat(frames, ignore_index=True)
    return {"overlap": overlap, "overlap_summary": overlap_summary(overlap)}


def _shuffled(sets: ScoredSets, tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    options = {"n_draws": sets.protocol.n_derangements, "seed": sets.protocol.seed}
    who = {name: {"pairs": sets.names[name], "patients": sets.patients[name]} for name in SETS}
    try:
        parts = [shuffled_overlap(sets.masks[name], **who[name], **options).assign(set=name) for name in SETS]
        parts.append(nearest_area_overlap(sets.masks["real"], **who["real"]).assign(set=NEAREST_AREA))
    except ValueError as error:
        raise ScoreError(f"no shuffled pairs: {error}") from None
    return {"shuffled": pd.concat(parts, ignore_index=True)}


def _compared(sets: ScoredSets, tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {"distances": distance_table(tables["overlap"], sets.protocol),
            "effects": effect_table(tables["overlap"], sets.protocol),
            "consistency": consistency_table(tables["overlap"], tables["shuffled"], sets.protocol)}


STEPS: dict[str, Callable[[ScoredSets, dict[str, pd.DataFrame]], dict[str, pd.DataFrame]]] = {
    "overlap": _overlap, "shuffled pairs": _shuffled, "comparison with real": _compared, "anatomy": measure_anatomy,
    "texture": measure_texture, "artefacts": measure_artefacts}


def score_card(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The figures that a score is reported by, each with its interval and what real pairs give.

    Args:
        tables: What the steps of `score_tables` returned.

    Returns:
        One row a figure: `figure`, `value`, `low`, `high` (95 % interval; of a distance the 95 % null band), `real`
        (the same of real pairs; of a distance the median noise floor, real against real), `p`, `n`, `note`.
    """
    rows = [*_overlap_rows(tables), *_distance_rows(tables["distances"]), *_effect_rows(tables["effects"]),
            *_consistency_rows(tables["consistency"]), *match_rows(tables["match_test"]),
            *fidelity_rows(tables["fidelity"]), *memorisation_rows(tables.get("memorisation")),
            *artefact_rows(tables["artefacts"])]
    table = pd.DataFrame(rows, columns=["figure", "value", "low", "high", "real", "p", "n", "note"])
    return table.assign(n=table["n"].fillna(0).astype(int), note=table["note"].fillna(""))


def _overlap_rows(tables: dict[str, pd.DataFrame]) -> list[dict[str, object]]:
    summary = tables["overlap_summary"].set_index("set")
    own, real = (summary.loc[name].to_dict() for name in (CANDIDATE, "real"))
    missing = f"{own['n_nan']:.0f} of {own['n']:.0f} pairs without a breast mask" if own["n_nan"] else ""
    rows = [{"figure": f"{measure}_median", "value": own[f"{measure}_median"], "real": real[f"{measure}_median"],
             "n": own["n"] - own["n_nan"], "note": missing if measure == PRIMARY else ""}
            for measure in MEASURES if not measure.startswith("dsc")]
    return [*rows, {"figure": "plausible", "value": own["plausible"], "low": own["plausible_low"],
                    "high": own["plausible_high"], "real": real["plausible"], "n": own["n"]}]


def _distance_rows(table: pd.DataFrame) -> list[dict[str, object]]:
    rows = table[table["measure"] == PRIMARY].to_dict("records")
    return [{"figure": row["statistic"], "value": row["value"], "low": row["band_low"], "high": row["band_high"],
             "real": row.get("floor_median", np.nan), "p": row["p"], "n": row["n"], "note": row["note"]}
            for row in rows]


def _effect_rows(table: pd.DataFrame) -> list[dict[str, object]]:
    row = table[table["measure"] == PRIMARY].iloc[0]
    margin = "" if pd.isna(row["margin"]) else f" at a margin of ±{row['margin']:g}"
    notes = [row["equivalence"] + margin, row["note"] or ""]
    real = np.nan if pd.isna(row["hodges_lehmann"]) else 0.0
    return [{"figure": name, "value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"], "real": real,
             "p": row["p"] if name == "cliffs_delta" else np.nan, "n": row["n"],
             "note": "; ".join(filter(None, notes)) if name == "hodges_lehmann" else ""}
            for name in ("hodges_lehmann", "cliffs_delta")]


def _consistency_rows(table: pd.DataFrame) -> list[dict[str, object]]:
    rows = table[table["measure"] == PRIMARY].set_index("set").reindex(
        columns=["n", "gain", "gain_low", "gain_high", "p", "score", "score_low", "score_high", "nearest_area_median",
                 "paired_median"])
    own, real = rows.loc[CANDIDATE], rows.loc["real"]
    reason = _why_no_score(own, real)
    size = real["nearest_area_median"] >= real["paired_median"] and not np.isnan(own["gain"])
    return [{"figure": "gain", "value": own["gain"], "low": own["gain_low"], "high": own["gain_high"],
             "real": real["gain"], "p": own["p"], "n": own["n"], "note": reason if np.isnan(own["gain"]) else ""},
            {"figure": "consistency_score", "value": own["score"], "low": own["score_low"], "high": own["score_high"],
             "real": np.nan if np.isnan(own["score"]) else 1.0, "n": own["n"],
             "note": "; ".join(filter(None, [reason, _SAME_SIZE if size else ""]))}]


def _why_no_score(own: pd.Series, real: pd.Series) -> str:
    if np.isnan(own["gain"]):
        return "no pair and no shuffled pair with a mask to compare"
    if not real["gain"] > 0.0:
        return "pairing adds nothing in the real set"
    return "" if np.isfinite(own["score_low"]) else "the real gain isn't surely above nothing: no interval"
