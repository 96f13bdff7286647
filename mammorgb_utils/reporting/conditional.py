"""B1's answer in words: do pairs follow the density that they were asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mammorgb_utils.diffusion.conditioning import FEWEST
from mammorgb_utils.experiments.conditional.tables import PRIMARY
from mammorgb_utils.reporting.claims import NOT_TESTABLE, UNDERPOWERED, Judgement
from mammorgb_utils.reporting.ledger import ANSWERED

CHANCE = 0.5  # of concordance
HALF = 0.5  # of the real concordance above chance: what surely stays below it doesn't follow
NOISES = 20  # pairs of a grade, below which an interval over noises says nothing
_VIEWS = ("CC", "MLO")


def conditional_answer(left: pd.DataFrame, obedience: pd.DataFrame, losses: pd.DataFrame, chosen: Sequence[str],
                       match_scope: str) -> Judgement:
    """The verdict about the study's own matching, fixed before it was first run.

    Args:
        left, obedience: The tables of `conditional.tables.tables_of`.
        losses: A row of `own_loss` a matching.
        chosen: Grades that were learned.
        match_scope: The study's.

    Returns:
        By the grader of tissue alone: answered, where at some guidance the concordance of both views surely lies above
        chance (they follow); where the model's own loss surely knows the grade and yet, at every guidance, a view's
        concordance surely reaches less than `HALF` of the real one (they don't); or where matched real tissue doesn't
        surely tell its grade, and surely less of it than unmatched tissue (matching leaves nothing to follow). Not
        testable without two grades to learn, or where real tissue doesn't tell otherwise. Else underpowered: also with
        fewer noises than `NOISES`, and with a model that hasn't learned the grade, of which it would be a verdict about
        training. The note says which.
    """
    obedience = obedience[obedience["judge"] == PRIMARY]
    if len(chosen) < 2 or obedience.empty:
        return Judgement("", NOT_TESTABLE, f"two grades of density with {FEWEST} training pairs each are needed; there "
                                           f"are {len(chosen)}")
    real = {scope: rows.set_index("view") for scope, rows in left[left["judge"] == PRIMARY].groupby("match_scope")}
    observed = f"grades {', '.join(chosen)}; " + "; ".join(_observed(obedience, scope) for scope in real)
    own = real[match_scope]
    if not (own["concordance_low"] > CHANCE).all():
        if any((own["concordance_high"] < rows["concordance_low"]).all() for rows in real.values()):
            return Judgement(observed, ANSWERED, "histogram matching leaves nothing to follow: matched tissue doesn't "
                                                 "surely tell its grade, and surely less of it than unmatched tissue")
        return Judgement(observed, NOT_TESTABLE, "the tissue of real breasts doesn't surely tell its grade")
    rows = obedience[(obedience["match_scope"] == match_scope) & (obedience["set"] == "drawn")]
    if (noises := int(rows["n"].min()) // len(chosen)) < NOISES:
        return Judgement(observed, UNDERPOWERED, f"{noises} pairs a grade were drawn, at least {NOISES} are needed")
    above = rows.set_index(["guidance", "view"])["concordance_low"].unstack("view")[list(_VIEWS)] > CHANCE
    if following := list(above.index[above.all(axis=1)]):
        return Judgement(observed, ANSWERED, _follow(rows, following))
    knows = losses.set_index("match_scope").loc[match_scope]
    if not knows["top1_low"] > knows["chance"]:
        return Judgement(observed, UNDERPOWERED, "the model hasn't surely learned the grade: its own loss is lowest "
                         "under the true one in {top1:.0%} of {n:.0f} pairs, by chance in {chance:.0%}".format(**knows))
    reach = rows.set_index(["guidance", "view"])["obedience_high"].unstack("view")[list(_VIEWS)]
    if (reach < HALF).any(axis=1).all():
        return Judgement(observed, ANSWERED, "they don't follow: at every guidance a view reaches less than half of "
                                             "what sets real grades apart")
    return Judgement(observed, UNDERPOWERED, "neither surely above chance in both views nor surely below half of real")


def _observed(obedience: pd.DataFrame, scope: str) -> str:
    parts = []
    for (kind, weight), rows in obedience[obedience["match_scope"] == scope].groupby(["set", "guidance"], dropna=False,
                                                                                   sort=False):
        views = ", ".join("{view} {concordance:.2f} [{concordance_low:.2f}, {concordance_high:.2f}]".format(**row)
                          for row in rows[rows["view"].isin(_VIEWS)].to_dict("records"))
        parts.append(f"{'real' if kind == 'real' else f'w = {weight:g}'} {views}")
    return f"matching {scope}, concordance of tissue: {'; '.join(parts)}"


def _follow(rows: pd.DataFrame, following: list[float]) -> str:
    """At which guidance both views follow, and whether they do so alike."""
    apart = rows[~rows["view"].isin(_VIEWS) & rows["guidance"].isin(following)]
    unlike = apart[(apart["concordance_low"] > 0) | (apart["concordance_high"] < 0)]
    words = [f"w = {row.guidance:g}: MLO {'more' if row.concordance > 0 else 'less'} than CC"
             for row in unlike.itertuples()]
    return (f"they follow at w = {', '.join(f'{weight:g}' for weight in following)}"
            f"{'; ' + '; '.join(words) if words else ', and no difference between the views is seen'}")
