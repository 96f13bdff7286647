"""The whole evaluation of one set of pairs from anywhere, against the real pairs of a study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.comparison import (
    MEASURES,
    MIN_PAIRS,
    PRIMARY,
    distance_table,
    effect_table,
    overlap_summary,
)
from mammorgb_utils.evaluation.consistency import NEAREST_AREA, nearest_area_overlap, shuffled_overlap
from mammorgb_utils.evaluation.consistency_summary import consistency_table
from mammorgb_utils.evaluation.overlap import PairMasks, pair_masks, pair_metrics, plausible
from mammorgb_utils.evaluation.resampling import CANDIDATE
from mammorgb_utils.protocol import Protocol

SETS = ("real", CANDIDATE)


class ScoreError(ValueError):
    """Pairs can't be scored; the message says why and what to do."""


@dataclass(frozen=True)
class ScoredSets:
    """What every measure of a score works on; both sets by name.

    Attributes:
        pairs: `(N, 2, H, W)` float32 in [0, 1], CC first.
        masks: Of these pairs, by the protocol's method.
        names, patients: `(N,)` text.
        train: `(N, 2, H, W)` the study's training pairs.
        protocol: The study's.
    """

    pairs: dict[str, np.ndarray]
    masks: dict[str, PairMasks]
    names: dict[str, np.ndarray]
    patients: dict[str, np.ndarray]
    train: np.ndarray
    protocol: Protocol


def scored_sets(candidate: np.ndarray, real: np.ndarray, index: pd.DataFrame, train: np.ndarray, protocol: Protocol, *,
                patients: np.ndarray | None = None) -> ScoredSets:
    """Put candidate and real pairs side by side and find their masks.

    Args:
        candidate: `(N, 2, H, W)` float in [0, 1], CC first, chest wall on the left.
        real: `(M, 2, H, W)` real pairs of the study.
        index: Row by row `pair` and `patient` of `real`.
        train: Training pairs of the study.
        protocol: The study's.
        patients: `(N,)` who belongs together in `candidate`; by default each pair is a patient.

    Raises:
        ScoreError: Sizes differ, or a set is too small for any test.
    """
    for name, pairs in (("candidate", candidate), ("real", real)):
        if len(pairs) < MIN_PAIRS:
            raise ScoreError(f"{len(pairs)} {name} pairs; at least {MIN_PAIRS} are needed, and some hundreds for "
                             "intervals that say something")
    if len(index) != len(real):
        raise ScoreError(f"the study's index names {len(index)} real pairs, its array {len(real)}: one of them is "
                         "of another study; run 01_preprocess again")
    if candidate.shape[1:] != real.shape[1:]:
        raise ScoreError(f"candidate pairs are {candidate.shape[2]} × {candidate.shape[3]}, the study's "
                         f"{real.shape[2]} × {real.shape[3]}; score them against a study of their size")
    owner = np.arange(len(candidate)) if patients is None else np.asarray(patients)
    return ScoredSets(
        pairs={"real": real, CANDIDATE: candidate},
        masks={name: pair_masks(pairs, protocol.mask_method) for name, pairs in zip(SETS, (real, candidate),
                                                                                   strict=True)},
        names={"real": index["pair"].to_numpy(str), CANDIDATE: _numbered(np.arange(len(candidate)))},
        patients={"real": index["patient"].to_numpy(str), CANDIDATE: _numbered(owner)}, train=train, protocol=protocol)


def _numbered(numbers: np.ndarray) -> np.ndarray:
    return np.array([f"{CANDIDATE}-{number:05d}" for number in numbers])


def score_tables(sets: ScoredSets, progress: Callable[[str], None] = lambda step: None) -> dict[str, pd.DataFrame]:
    """Every table of a score.

    Args:
        sets: From `scored_sets`.
        progress: Called with the name of each step before it begins.

    Returns:
        By name: `overlap` and `shuffled` (a row a pair of the candidate), `overlap_summary`, `distances`, `effects`,
        `consistency` as in the study, and `card`, the figures to report.
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
    "overlap": _overlap, "shuffled pairs": _shuffled, "comparison with real": _compared}


def score_card(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The figures that a score is reported by, each with its interval and what real pairs give.

    Args:
        tables: What the steps of `score_tables` returned.

    Returns:
        One row a figure: `figure`, `value`, `low`, `high` (95 % interval; of a distance the 95 % null band), `real`
        (the same of real pairs; of a distance the median noise floor, real against real), `p`, `n`, `note`.
    """
    rows = [*_overlap_rows(tables), *_distance_rows(tables["distances"]), *_effect_rows(tables["effects"]),
            *_consistency_rows(tables["consistency"])]
    table = pd.DataFrame(rows, columns=["figure", "value", "low", "high", "real", "p", "n", "note"])
    return table.assign(n=table["n"].astype(int), note=table["note"].fillna(""))


def _overlap_rows(tables: dict[str, pd.DataFrame]) -> list[dict[str, object]]:
    summary = tables["overlap_summary"].set_index("set")
    own, real = (summary.loc[name].to_dict() for name in (CANDIDATE, "real"))
    missing = f"{own['n_nan']} of {own['n']} pairs without a breast mask" if own["n_nan"] else ""
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
    return [{"figure": name, "value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"], "real": 0.0,
             "p": row["p"] if name == "cliffs_delta" else np.nan, "n": row["n"],
             "note": "; ".join(filter(None, notes)) if name == "hodges_lehmann" else ""}
            for name in ("hodges_lehmann", "cliffs_delta")]


def _consistency_rows(table: pd.DataFrame) -> list[dict[str, object]]:
    rows = table[table["measure"] == PRIMARY].set_index("set").reindex(
        columns=["n", "gain", "gain_low", "gain_high", "p", "score", "score_low", "score_high", "nearest_area_median",
                 "paired_median"])
    own, real = rows.loc[CANDIDATE], rows.loc["real"]
    size = real["nearest_area_median"] >= real["paired_median"]
    return [{"figure": "gain", "value": own["gain"], "low": own["gain_low"], "high": own["gain_high"],
             "real": real["gain"], "p": own["p"], "n": own["n"]},
            {"figure": "consistency_score", "value": own["score"], "low": own["score_low"], "high": own["score_high"],
             "real": 1.0, "n": own["n"],
             "note": "a real CC overlaps the nearest-area MLO of another breast as much as its own: IoU says only "
                     "'same size'" if size else ""}]

