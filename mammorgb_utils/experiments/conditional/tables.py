"""B1's tables: what matching leaves of density, whether pairs follow a grade, what it costs in variety; its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import pearsonr

from mammorgb_utils.data.pairs import HELDOUT
from mammorgb_utils.evaluation.anatomy import truth_table, validity
from mammorgb_utils.evaluation.anatomy.measure import VIEWS
from mammorgb_utils.evaluation.anatomy.truth import MIN_KNOWN, MIN_R
from mammorgb_utils.evaluation.fidelity import fidelity_table
from mammorgb_utils.evaluation.statistics import CANDIDATE, Effect
from mammorgb_utils.experiments.conditional.judging import GROUPS, Judged, fit_graders, over, sets_of
from mammorgb_utils.protocol import Protocol

PLAIN = {"dense": "dense share", "mean": "mean intensity"}  # measures that a denser breast should raise
CALIBRATED = ("grade", "dense", "area", "nipple_line", "centroid")  # the grader's, and measures of A7
JUDGES = {f"grader, {group}": group for group in GROUPS}
PRIMARY = "grader, tissue"  # density is what tissue shows; that dense breasts are small can be followed without it
VARIETY = ("kid", "coverage", "diversity")
DIFFERENCE = "MLO − CC"


def _with_bounds(*names: str) -> list[str]:
    return [column for name in names for column in (name, f"{name}_low", f"{name}_high")]


LEFT = ["match_scope", "judge", "view", "n", *_with_bounds("accuracy"), "chance", *_with_bounds("concordance", "r"),
        "valid"]
OBEDIENCE = ["match_scope", "judge", "set", "guidance", "view", "n",
             *_with_bounds("accuracy", "concordance", "obedience", "slope", "agreement")]
CALIBRATION = ["match_scope", "guidance", "view", "measure", "valid", "grade", "n", "n_real",
               *_with_bounds("real", "drawn")]
VARIED = ["match_scope", "guidance", "metric", "value", "low", "high", "null_low", "null_median", "null_high",
          "against_null", "n", "n_real", "n_nan", "n_subset", "feature_set", "note"]


class Tables(NamedTuple):
    """What B1 shows; without rows where nothing could be trained."""

    left: pd.DataFrame
    obedience: pd.DataFrame
    calibration: pd.DataFrame
    variety: pd.DataFrame


def tables_of(rows: Mapping[str, pd.DataFrame], truth: pd.DataFrame, weights: Sequence[float],
              protocols: Mapping[str, Protocol]) -> Tables:
    """All tables, the matchings one below the other.

    Args:
        rows: What `measured` gave, by matching; none where no model could be trained.
        truth: What `true_anatomy` gives.
        weights: Guidance.
        protocols: By matching; they name it, and give `alpha`, draws and seed.
    """
    parts = [(left_table(part, truth, protocols[scope]), obedience_table(part, weights, protocols[scope]),
              calibration_table(part, truth, weights, protocols[scope]), variety_table(part, weights, protocols[scope]))
             for scope, part in rows.items()]
    columns = (LEFT, OBEDIENCE, CALIBRATION, VARIED)
    return Tables(*(pd.concat([part[i] for part in parts], ignore_index=True)[order] if parts
                    else pd.DataFrame(columns=order) for i, order in enumerate(columns)))


def left_table(rows: pd.DataFrame, truth: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """What real held-out views still show of their grade: to graders, and in plain measures.

    Args:
        rows: What `measured` gave.
        truth: What `true_anatomy` gives.
        protocol: Names the matching; `alpha`, draws and seed of the intervals over patients.

    Returns:
        One row a judge and view: `match_scope`, `judge` (graders by all features, by tissue less what size
        says of it, or by size; measures), `view`, `n`, `accuracy` (of graders) and `concordance` with their bounds,
        `chance` (of accuracy), `r` (Pearson's with the phantom's density in that view) with its 95 % bounds, `valid`
        (yes | no | no truth) by `MIN_R`.
    """
    real, table = sets_of(rows, ())[HELDOUT], []
    known = real.merge(truth, on="pair", how="left")
    judges = {judge: (fit_graders(rows, group), group) for judge, group in JUDGES.items()}
    judges |= {PLAIN[name]: (name, "") for name in PLAIN}
    for judge, (scorer, group) in judges.items():
        judged = Judged.of(real, scorer, protocol, group)
        for view in VIEWS:
            found = {"concordance": judged.concordance(view)}
            if judged.calls:
                found["accuracy"] = judged.accuracy(view)
            row = {"match_scope": protocol.match_scope, "judge": judge, "view": view.upper(), "n": len(real),
                   "chance": 1.0 / max(len(judged.present), 1)}
            table.append(row | _columns(found, protocol.alpha) | _agreement(judged.scores[view], known, view))
    return pd.DataFrame(table).reindex(columns=LEFT)


def _agreement(score: np.ndarray, known: pd.DataFrame, view: str) -> dict[str, object]:
    """Correlation of a score with the phantom's density in a view."""
    true = pd.to_numeric(known.get(f"{view}_density", pd.Series(np.nan, known.index))).to_numpy(float)
    both = np.isfinite(true) & np.isfinite(score)
    if both.sum() < MIN_KNOWN:
        return {"valid": "no truth"}
    found = pearsonr(score[both], true[both])
    low, high = found.confidence_interval(0.95)
    return {"r": found.statistic, "r_low": low, "r_high": high, "valid": "yes" if found.statistic >= MIN_R else "no"}


def obedience_table(rows: pd.DataFrame, weights: Sequence[float], protocol: Protocol) -> pd.DataFrame:
    """Whether drawn pairs follow the grade that was asked for, as graders of real pairs see it.

    Returns:
        One row a judge of `JUDGES`, set (real held-out pairs, and drawn ones by `guidance`) and view, `DIFFERENCE`
        among them: `n`; `accuracy`, `concordance` of `Judged`; `obedience`, the drawn concordance above chance over the
        real one of the same grades; `slope` of the drawn mean score over the real one from grade to grade, 1 where a
        step is as large as among real pairs; `agreement` of the two views, in the row of the difference. Bounds
        hold at 1 − alpha for all weights together (Bonferroni), by bootstrap over patients of real and over the noise
        of drawn pairs.
    """
    sets, table = sets_of(rows, weights), []
    for judge, group in JUDGES.items():
        graders = fit_graders(rows, group)
        real = Judged.of(sets[HELDOUT], graders, protocol, group)
        for name, part in sets.items():
            judged = real if name == HELDOUT else Judged.of(part, graders, protocol, group)
            usual = None if name == HELDOUT else real.only(judged.present)
            found = {view: _followed(judged, usual, view) for view in VIEWS}
            cc, mlo = (found[view] for view in VIEWS)
            found[DIFFERENCE] = {key: mlo[key] - cc[key] for key in cc} | {"agreement": judged.agreement()}
            facts = {"match_scope": protocol.match_scope, "judge": judge, "n": len(judged.grades)}
            facts |= {"set": "real"} if name == HELDOUT else {"set": "drawn", "guidance": name}
            table += [facts | {"view": view.upper()} | _columns(values, protocol.alpha / max(len(sets) - 1, 1))
                      for view, values in found.items()]
    return pd.DataFrame(table).reindex(columns=OBEDIENCE)


def _followed(judged: Judged, real: Judged | None, view: str) -> dict[str, np.ndarray]:
    """What a view shows of its grade and, for drawn pairs, how that compares with real ones of the same grades."""
    concordance, accuracy = judged.concordance(view), judged.accuracy(view)
    if real is None:
        return {"accuracy": accuracy, "concordance": concordance}
    steps, usual = judged.by_grade(judged.scores[view]), real.by_grade(real.scores[view])
    above, real_above = concordance - 0.5, real.concordance(view) - 0.5
    surely = np.quantile(real_above[1:], 0.025) > 0 if real_above.size > 1 else False
    off = usual - usual.mean(axis=0)
    return {"accuracy": accuracy, "concordance": concordance,
            "obedience": above / real_above if surely else np.full(above.size, np.nan),
            "slope": over((off * (steps - steps.mean(axis=0))).sum(axis=0), (off**2).sum(axis=0))}


def calibration_table(rows: pd.DataFrame, truth: pd.DataFrame, weights: Sequence[float],
                      protocol: Protocol) -> pd.DataFrame:
    """Means of drawn pairs beside those of real pairs, grade by grade.

    Returns:
        One row a guidance, view, measure of `CALIBRATED` and grade: `valid` (whether the measure agrees with the truth
        in both views; graders learned theirs), `n`, `n_real`, `real` and `drawn` with bounds at 1 − alpha. The measure
        `grade` is the mean place that the grader of `PRIMARY` gives, from 0 for A to 3 for D.
    """
    graders, sets, table = fit_graders(rows, JUDGES[PRIMARY]), sets_of(rows, weights), []
    valid = {"grade": "learned"} | validity(truth_table(rows.assign(set=rows["set"].replace(HELDOUT, "real")), truth,
                                                        protocol))
    for measure in CALIBRATED:
        scorer = graders if measure == "grade" else measure
        judged = {name: Judged.of(part, scorer, protocol, JUDGES[PRIMARY]) for name, part in sets.items()}
        real = judged.pop(HELDOUT)
        for view in VIEWS:
            usual = real.by_grade(real.scores[view])
            for weight, drawn in judged.items():
                found = drawn.by_grade(drawn.scores[view])
                table += [{"match_scope": protocol.match_scope, "guidance": weight, "view": view.upper(),
                           "measure": measure, "valid": valid.get(measure, "no truth"), "grade": grade,
                           "n": int((drawn.grades == grade).sum()), "n_real": int((real.grades == grade).sum()),
                           **_columns({"real": usual[real.present.index(grade)],
                                       "drawn": found[drawn.present.index(grade)]}, protocol.alpha)}
                          for grade in real.present if grade in drawn.present]
    return pd.DataFrame(table)


def variety_table(rows: pd.DataFrame, weights: Sequence[float], protocol: Protocol) -> pd.DataFrame:
    """Distance to real, coverage and diversity at each guidance, of pairs whose grades are as frequent as real ones.

    Returns:
        `match_scope`, `guidance` and the columns of `fidelity_table`; each noise gives one pair.
    """
    real = rows[rows["set"] == HELDOUT]
    table = []
    for weight in weights:
        drawn = as_frequent(rows[rows["guidance"] == weight], real["grade"])
        both = pd.concat([real.assign(set="real"), drawn.assign(set=CANDIDATE)])
        found = fidelity_table(both, protocol)
        table.append(found[found["metric"].isin(VARIETY)].assign(guidance=weight, match_scope=protocol.match_scope))
    return pd.concat(table, ignore_index=True)


def as_frequent(drawn: pd.DataFrame, real: pd.Series) -> pd.DataFrame:
    """One drawn pair of each noise, its grade as frequent as among real pairs; drawn pairs of no grade as they are."""
    if (drawn["grade"] == "").all():
        return drawn
    shares = real[real != ""].value_counts(normalize=True).reindex(sorted(drawn["grade"].unique()), fill_value=0.0)
    noises = sorted(drawn["patient"].unique())
    places = np.searchsorted(shares.cumsum().to_numpy() - 1e-9, (np.arange(len(noises)) + 0.5) / len(noises))
    wanted = dict(zip(noises, shares.index[places], strict=True))
    return drawn[drawn["grade"] == drawn["patient"].map(wanted)]


def _columns(found: Mapping[str, np.ndarray], alpha: float) -> dict[str, float]:
    """Each quantity's estimate, first of its draws, and percentile bounds."""
    columns = {}
    for name, values in found.items():
        draws = values[1:][np.isfinite(values[1:])]
        low, high = np.quantile(draws, (alpha / 2, 1 - alpha / 2)) if draws.size else (np.nan, np.nan)
        columns |= Effect(values[0], low, high).columns(name)
    return columns
