"""B1's answer in words: do pairs follow the density that they were asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mammorgb_utils.diffusion.conditioning import FEWEST
from mammorgb_utils.experiments.conditional.arms import FEWEST_HELDOUT
from mammorgb_utils.experiments.conditional.tables import PRIMARY
from mammorgb_utils.experiments.learning_curve import ONE_TRAINING, UNKNOWN
from mammorgb_utils.reporting.claims import NOT_TESTABLE, UNDERPOWERED, Judgement
from mammorgb_utils.reporting.ledger import ANSWERED

CHANCE = 0.5  # of concordance
HALF = 0.5  # of the real concordance above chance: what surely exceeds it follows, what surely stays below it doesn't
NOISES = 20  # pairs of a grade, below which an interval over noises says nothing
_VIEWS = ("CC", "MLO")
_SHOWN = "{view} {concordance:.2f} [{concordance_low:.2f}, {concordance_high:.2f}]"
_SHARE = ", {obedience:.0%} [{obedience_low:.0%}, {obedience_high:.0%}] of real"


def conditional_answer(left: pd.DataFrame, obedience: pd.DataFrame, losses: pd.DataFrame, chosen: Sequence[str],
                       match_scope: str) -> Judgement:
    """The verdict about the study's own matching.

    Args:
        left, obedience: The tables of `conditional.tables.tables_of`.
        losses: A row of `own_loss` a matching.
        chosen: Grades that were learned.
        match_scope: The study's.

    Returns:
        By the grader of tissue alone: answered, where the model's own loss surely knows the grade and, at some
        guidance, the obedience of both views surely lies above `HALF` (they follow) or, at every guidance, that of a
        view surely below it (they don't); or where matched real tissue doesn't surely tell its grade, and surely less
        of it than unmatched tissue (matching leaves nothing to follow). Not testable without two grades to learn, or
        where real tissue doesn't tell otherwise. Else underpowered: also with fewer noises than `NOISES`, and with a
        model that hasn't learned the grade, of which it would be a verdict about training. The note says which and, of
        drawn pairs, that they are of one training whose curve wasn't measured.
    """
    obedience = obedience[obedience["judge"] == PRIMARY]
    if len(chosen) < 2 or obedience.empty:
        return Judgement("", NOT_TESTABLE, f"two grades of density with {FEWEST} training and {FEWEST_HELDOUT} "
                                           f"held-out pairs each are needed; there are {len(chosen)}")
    real = {scope: rows.set_index("view") for scope, rows in left[left["judge"] == PRIMARY].groupby("match_scope")}
    observed = f"grades {', '.join(chosen)}; " + "; ".join(_observed(obedience, scope) for scope in real)
    own = real[match_scope]
    if not (own["concordance_low"] > CHANCE).all():
        if any((own["concordance_high"] < rows["concordance_low"]).all() for rows in real.values()):
            return Judgement(observed, ANSWERED, "histogram matching leaves nothing to follow: matched tissue doesn't "
                                                 "surely tell its grade, and surely less of it than unmatched tissue")
        return Judgement(observed, NOT_TESTABLE, "the tissue of real breasts doesn't surely tell its grade")
    rows = obedience[(obedience["match_scope"] == match_scope) & (obedience["set"] == "drawn")]
    verdict, note = _of_drawn(rows, losses.set_index("match_scope").loc[match_scope], len(chosen))
    return Judgement(observed, verdict, f"{note}; {ONE_TRAINING}; the model: {UNKNOWN}")


def _of_drawn(rows: pd.DataFrame, loss: pd.Series, n_grades: int) -> tuple[str, str]:
    """Verdict and note of the drawn pairs of a matching; `loss` is its model's row of `own_loss`."""
    if (noises := int(rows["n"].min()) // n_grades) < NOISES:
        return UNDERPOWERED, f"{noises} pairs a grade were drawn, at least {NOISES} are needed"
    if not loss["top1_low"] > loss["chance"]:
        return UNDERPOWERED, ("the model hasn't surely learned the grade: its own loss is lowest under the true one in "
                              "{top1:.0%} of {n:.0f} pairs, by chance in {chance:.0%}".format(**loss))
    bounds = rows.set_index(["guidance", "view"]).unstack("view")
    low, high, above = (bounds[name][list(_VIEWS)] for name in ("obedience_low", "obedience_high", "concordance_low"))
    if following := _where((low > HALF).all(axis=1)):
        return ANSWERED, _follow(rows, following)
    if (high < HALF).any(axis=1).all():
        partly = _listed(_where((above > CHANCE).all(axis=1)))
        return ANSWERED, ("they don't follow: at every guidance a view reaches less than half of what sets real grades "
                          f"apart{f'; both are surely above chance at w = {partly}' if partly else ''}")
    return UNDERPOWERED, "neither surely above half of what sets real grades apart in both views nor surely below it"


def _where(true: pd.Series) -> list[float]:
    return list(true.index[true])


def _listed(weights: Sequence[float]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)


def _observed(obedience: pd.DataFrame, scope: str) -> str:
    parts = []
    for (kind, weight), rows in obedience[obedience["match_scope"] == scope].groupby(["set", "guidance"], dropna=False,
                                                                                   sort=False):
        views = ", ".join((_SHOWN + (_SHARE if pd.notna(row["obedience"]) else "")).format(**row)
                          for row in rows[rows["view"].isin(_VIEWS)].to_dict("records"))
        parts.append(f"{'real' if kind == 'real' else f'w = {weight:g}'} {views}")
    return f"matching {scope}, concordance of tissue: {'; '.join(parts)}"


def _follow(rows: pd.DataFrame, following: list[float]) -> str:
    """At which guidance both views follow, and whether they do so alike."""
    apart = rows[~rows["view"].isin(_VIEWS) & rows["guidance"].isin(following)]
    unlike = apart[(apart["concordance_low"] > 0) | (apart["concordance_high"] < 0)]
    words = [f"w = {row.guidance:g}: MLO {'more' if row.concordance > 0 else 'less'} than CC"
             for row in unlike.itertuples()]
    return (f"they follow at w = {_listed(following)}"
            f"{'; ' + '; '.join(words) if words else ', and no difference between the views is seen'}")
