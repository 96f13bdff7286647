"""The whole evaluation of one set of pairs from anywhere, against the real pairs of a study."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import HELDOUT
from mammorgb_utils.evaluation import statistics
from mammorgb_utils.evaluation.anatomy import anatomy_table, match_table
from mammorgb_utils.evaluation.artefacts import ANY, artefact_flags, artefact_rates
from mammorgb_utils.evaluation.beyond import anatomy_rows, nearest_rows, profile_rows, texture_rows
from mammorgb_utils.evaluation.consistency import OWN, PROFILE_MEASURES, SHUFFLED, consistency_table, profile_table
from mammorgb_utils.evaluation.fidelity import EITHER, fidelity_table, memorisation_table
from mammorgb_utils.evaluation.sets import REAL, Indexed, StudySets, numbered, overlap_table, shuffled_table
from mammorgb_utils.evaluation.statistics import CANDIDATE
from mammorgb_utils.protocol import Protocol

MATCH_AMONG = 5  # MLO views among which the card's match accuracy is
FIDELITY = ("kid", "coverage", "diversity")  # the metrics on the card
_LIKE_AREA = "strata"  # the null of strangers of like area and density
_SAME_SIZE = ("a real CC doesn't surely overlap its own MLO more than the nearest-area one of another breast: IoU says "
              "only 'same size'")

Tables = dict[str, pd.DataFrame]
Row = dict[str, object]


class ScoreError(ValueError):
    """Pairs can't be scored; the message says why and what to do."""


def candidate_sets(candidate: np.ndarray, real: Indexed, train: np.ndarray, protocol: Protocol, *,
                   patients: np.ndarray | None = None) -> StudySets:
    """Pairs from anywhere, as the set `candidate` beside the real pairs of a study.

    Args:
        candidate: `(N, 2, H, W)` float in [0, 1], CC first, chest wall on the left.
        real: Real pairs of the study and their index.
        train: Training pairs of the study, which stay nameless.
        protocol: The study's.
        patients: `(N,)` who belongs together in `candidate`, by number; by default each pair is a patient.

    Raises:
        ScoreError: Sizes differ, or a set is too small for any test.
    """
    for name, n in ((CANDIDATE, len(candidate)), (REAL, len(real[0]))):
        if n < statistics.MIN_PAIRS:
            raise ScoreError(f"{n} {name} pairs; at least {statistics.MIN_PAIRS} are needed, and some hundreds for "
                             "intervals that say something")
    if len(real[1]) != len(real[0]):
        raise ScoreError(f"the study's index names {len(real[1])} real pairs, its array {len(real[0])}: one of them is "
                         "of another study; run 01_preprocess again")
    if candidate.shape[1:] != real[0].shape[1:]:
        mine, theirs = (" × ".join(map(str, pairs.shape[2:])) for pairs in (candidate, real[0]))
        raise ScoreError(f"candidate pairs are {mine}, the study's {theirs}; score them against a study of their size")
    rows = range(len(candidate))
    index = pd.DataFrame({"pair": numbered(CANDIDATE, rows),
                          "patient": numbered(CANDIDATE, rows if patients is None else patients)})
    return StudySets.of({REAL: real, CANDIDATE: (candidate, index)}, protocol, train=train,
                        heldout=real if protocol.real_split == HELDOUT else None)


def score_tables(sets: StudySets, progress: Callable[[str], None] = lambda step: None) -> Tables:
    """Every table of a score.

    Args:
        sets: From `candidate_sets`.
        progress: Called with the name of each step before it begins.

    Returns:
        By name, as in the study: `overlap`, `shuffled`, `profiles`, `anatomy` and `artefact_flags` (a row a pair),
        `overlap_summary`, `distances`, `effects`, `consistency`, `profile_distances`, `anatomy_consistency`,
        `match_test`, `fidelity`, `artefacts`, and where the real pairs are held out `nearest_training` and
        `memorisation`; and `card`, the figures to report.

    Raises:
        ScoreError: A patient holds more than half of a set.
    """
    progress("overlap")
    overlap = overlap_table(sets)
    progress("shuffled pairs")
    try:
        shuffled = shuffled_table(sets)
    except ValueError as error:
        raise ScoreError(f"no shuffled pairs: {error}") from None
    progress("comparison with real")
    tables = {"overlap": overlap, "overlap_summary": statistics.overlap_summary(overlap), "shuffled": shuffled,
              "distances": statistics.distance_table(overlap, sets.protocol),
              "effects": statistics.effect_table(overlap, sets.protocol),
              "consistency": consistency_table(overlap, shuffled, sets.protocol)}
    for step, measure in (("profiles", _profiles), ("anatomy", _anatomy), ("texture", _texture),
                          ("artefacts", _artefacts)):
        progress(step)
        tables |= measure(sets)
    progress("card")
    return tables | {"card": score_card(tables)}


def _profiles(sets: StudySets) -> Tables:
    rows = profile_rows(sets)
    return {"profiles": rows, "profile_distances": profile_table(rows, sets.protocol)}


def _anatomy(sets: StudySets) -> Tables:
    measured = anatomy_rows(sets)
    return {"anatomy": measured, "anatomy_consistency": anatomy_table(measured, sets.protocol),
            "match_test": match_table(measured, sets.protocol)}


def _texture(sets: StudySets) -> Tables:
    found = {"fidelity": fidelity_table(texture_rows(sets), sets.protocol)}
    if len(sets.train[0]) and len(sets.heldout[0]):
        nearest = nearest_rows(sets)
        found |= {"nearest_training": nearest, "memorisation": memorisation_table(nearest)}
    return found


def _artefacts(sets: StudySets) -> Tables:
    flags = sets.rows(artefact_flags)
    return {"artefact_flags": flags, "artefacts": artefact_rates(flags)}


def score_card(tables: Tables) -> pd.DataFrame:
    """The figures that a score is reported by, each with its interval and what real pairs give.

    Returns:
        One row a figure: `figure`, `value`, `low`, `high` (95 % interval; of a distance the 95 % null band), `real`
        (the same of real pairs; of a distance the median noise floor, real against real), `p`, `n`, `note`.
    """
    rows = [*_overlap_rows(tables["overlap_summary"].set_index("set")), *_distance_rows(tables["distances"]),
            *_effect_rows(tables["effects"]), *_consistency_rows(tables["consistency"]),
            *(_profile_rows(tables["profile_distances"]) if "profile_distances" in tables else []),
            *_match_rows(tables["match_test"]), *_fidelity_rows(tables["fidelity"])]
    if "memorisation" in tables:
        found = tables["memorisation"][tables["memorisation"]["distance"] == EITHER].set_index("set")
        rows.append(_row("memorised", found.loc[CANDIDATE], "flagged", "flagged_", real=found.loc[HELDOUT, "flagged"],
                         note="of the study's training pairs"))
    found = tables["artefacts"][tables["artefacts"]["artefact"] == ANY].set_index("set")
    rows.append(_row("artefacts", found.loc[CANDIDATE], "rate", real=found.loc[REAL, "rate"]))
    table = pd.DataFrame(rows, columns=["figure", "value", "low", "high", "real", "p", "n", "note"])
    return table.assign(n=table["n"].fillna(0).astype(int), note=table["note"].fillna(""))


def _row(figure: str, row: pd.Series, value: str, bounds: str = "", **more: object) -> Row:
    """A figure from a column of a table's row, with the interval in `<bounds>low` and `<bounds>high`."""
    return {"figure": figure, "value": row[value], "low": row[f"{bounds}low"], "high": row[f"{bounds}high"],
            "n": row["n"]} | more


def _overlap_rows(summary: pd.DataFrame) -> list[Row]:
    own, real = (summary.loc[name].to_dict() for name in (CANDIDATE, REAL))
    missing = f"{own['n_nan']:.0f} of {own['n']:.0f} pairs without a breast mask" if own["n_nan"] else ""
    rows = [{"figure": f"{measure}_median", "value": own[f"{measure}_median"], "real": real[f"{measure}_median"],
             "n": own["n"] - own["n_nan"], "note": missing if measure == statistics.PRIMARY else ""}
            for measure in statistics.MEASURES if not measure.startswith("dsc")]
    return [*rows, _row("plausible", own, "plausible", "plausible_", real=real["plausible"])]


def _distance_rows(table: pd.DataFrame) -> list[Row]:
    return [_row(row["statistic"], row, "value", "band_", real=row.get("floor_median", np.nan), p=row["p"],
                 note=row["note"]) for row in table[table["measure"] == statistics.PRIMARY].to_dict("records")]


def _effect_rows(table: pd.DataFrame) -> list[Row]:
    row = table[table["measure"] == statistics.PRIMARY].iloc[0]
    margin = "" if pd.isna(row["margin"]) else f" at a margin of ±{row['margin']:g}"
    shift = {"note": "; ".join(filter(None, [row["equivalence"] + margin, row["note"] or ""]))}
    real = np.nan if pd.isna(row["hodges_lehmann"]) else 0.0
    return [_row(name, row, name, f"{name}_", real=real, **more)
            for name, more in (("hodges_lehmann", shift), ("cliffs_delta", {"p": row["p"]}))]


def _consistency_rows(table: pd.DataFrame) -> list[Row]:
    rows = table[table["measure"] == statistics.PRIMARY].set_index("set").reindex(
        columns=["n", "gain", "gain_low", "gain_high", "p", "score", "score_low", "score_high", "over_area_low"])
    own, real = rows.loc[CANDIDATE], rows.loc[REAL]
    reason = _why_no_score(own, real)
    size = not real["over_area_low"] > 0.0 and not np.isnan(own["gain"])
    return [_row("gain", own, "gain", "gain_", real=real["gain"], p=own["p"],
                 note=reason if np.isnan(own["gain"]) else ""),
            _row("consistency_score", own, "score", "score_", real=np.nan if np.isnan(own["score"]) else 1.0,
                 note="; ".join(filter(None, [reason, _SAME_SIZE if size else ""])))]


def _why_no_score(own: pd.Series, real: pd.Series) -> str:
    if np.isnan(own["gain"]):
        return "no pair and no shuffled pair with a mask to compare"
    if not real["gain"] > 0.0:
        return "pairing adds nothing in the real set"
    return "" if np.isfinite(own["score_low"]) else "the real gain isn't surely above nothing: no interval"


def _profile_rows(table: pd.DataFrame) -> list[Row]:
    """MammoFlow's figures at the best of its alignments."""
    by = table.set_index(["set", "pairing", "measure"])
    rows = []
    for measure in PROFILE_MEASURES:
        own, real = (by.loc[(name, OWN, measure)] for name in (CANDIDATE, REAL))
        strangers = by["mean"].get((CANDIDATE, SHUFFLED, measure), np.nan)
        apart = "{delta:+.0f} % [{delta_low:+.0f}, {delta_high:+.0f}] of real".format(**own).replace("-", "−")
        rows.append(_row(f"profile_{measure}", own, "mean", "mean_", real=real["mean"],
                         note=f"{apart}; strangers' views: {strangers:.4f}" if own["n"] else "no pair with a profile"))
    return rows


def _match_rows(table: pd.DataFrame) -> list[Row]:
    """Of the match test among strangers of like area and density."""
    noted = table["k"].isna()  # the one row of a set that is too small
    wanted = noted | (table["k"].eq(MATCH_AMONG) & table["null"].eq(_LIKE_AREA))
    chosen = table[(table["features"] == "anatomy") & wanted].set_index("set")
    if CANDIDATE not in chosen.index:
        return []
    own = chosen.loc[CANDIDATE]
    note = own["note"] if isinstance(own["note"], str) and own["note"] else f"chance: {own['chance']:g}"
    return [_row("match", own, "accuracy", real=chosen["accuracy"].get(REAL, np.nan), note=note)]


def _fidelity_rows(table: pd.DataFrame) -> list[Row]:
    rows = table.set_index("metric").reindex([name for name in FIDELITY if name in set(table["metric"])])
    return [_row(name, row, "value", real=row["null_median"], note=row["note"]) for name, row in rows.iterrows()]
