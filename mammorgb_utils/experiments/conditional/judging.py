"""How B1 judges a pair: graders that learned from real training pairs, and how surely they order what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mammorgb_utils.data.pairs import HELDOUT, TRAIN
from mammorgb_utils.diffusion.conditioning import GRADES
from mammorgb_utils.evaluation.anatomy import PROFILES, anatomy, height_over_width
from mammorgb_utils.evaluation.anatomy.measure import VIEWS
from mammorgb_utils.evaluation.fidelity import FEATURES, texture_features
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.sets import Indexed, StudySets, numbered
from mammorgb_utils.evaluation.statistics import patient_weights
from mammorgb_utils.experiments.conditional.arms import Drawn
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

DRAWN = "drawn"
PENALTY = 0.1  # inverse strength of the graders' ridge, on standardised features
SIZE = ("area", "nipple_line")
TISSUE = (*FEATURES, "dense", "centroid", *(name.removeprefix("cc_") for name in PROFILES["cc"]))
# of features: size is how large a breast is shown, and tissue is freed of it, for which it has to be known
GROUPS = {"all": (*SIZE, *TISSUE), "tissue": (*SIZE, *TISSUE), "size": SIZE}
Graders = Mapping[str, Pipeline]  # by view


def measured(train: Indexed, real: Indexed, drawn: Drawn, protocol: Protocol) -> pd.DataFrame:
    """Anatomy and texture of every pair.

    Args:
        train, real: What graders learn from, and real pairs of other patients; their index has the column `grade`.
        drawn: What `arms.draw` gave.
        protocol: Decides masks and aspect.

    Returns:
        One row a pair: `set` (`train`, `heldout`, `drawn`), `guidance`, `grade`, `pair`, `patient` (of a drawn pair its
        noise, which it shares with one of every other grade), and the columns of `anatomy` and `texture_features`.
    """
    ratio = height_over_width(protocol)

    def measure(pairs: np.ndarray, masks: PairMasks) -> pd.DataFrame:
        return pd.concat([anatomy(pairs, masks, ratio=ratio), texture_features(pairs, masks)], axis=1)

    def rows_of(kind: str, given: Indexed, weight: float = np.nan) -> pd.DataFrame:
        rows = StudySets.of({kind: given}, protocol).rows(measure)
        return rows.assign(guidance=weight, grade=given[1]["grade"].to_numpy(str))

    parts = [rows_of(TRAIN, train), rows_of(HELDOUT, real)]
    for (weight, grade), pairs in drawn.items():
        number = range(len(pairs))
        index = {"pair": numbered(f"{DRAWN}-{weight:g}{grade}", number), "patient": numbered("noise", number)}
        parts.append(rows_of(DRAWN, (pairs, pd.DataFrame(index).assign(grade=grade)), weight))
    return pd.concat(parts, ignore_index=True)


class WithoutSize(TransformerMixin, BaseEstimator):
    """Features less what size says of them among breasts of one grade; the first columns are those of `SIZE`.

    Most texture tells how large a breast is. Slopes are those within grades, as in an analysis of covariance: pairs
    that are smaller the denser, and follow in nothing else, then look alike to a grader, while what dense breasts have
    beside their size stays.
    """

    def fit(self, x: np.ndarray, y: np.ndarray) -> WithoutSize:
        centred = x - pd.DataFrame(x).groupby(np.asarray(y)).transform("mean").to_numpy()
        self.slopes_ = LinearRegression().fit(*np.split(centred, [len(SIZE)], axis=1))
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        size, features = np.split(x, [len(SIZE)], axis=1)
        return features - self.slopes_.predict(size)


def fit_graders(rows: pd.DataFrame, group: str) -> Graders:
    """For each view a logistic regression from its features to the grade, learned from the training pairs of
    `measured`; grades count alike, however many pairs they have. That of tissue is learned `WithoutSize`."""
    train = seen(rows[(rows["set"] == TRAIN) & (rows["grade"] != "")])
    return {view: make_pipeline(
        SimpleImputer(keep_empty_features=True), WithoutSize() if group == "tissue" else "passthrough",
        StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=2000)).fit(
            _features(train, view, group), train["grade"]) for view in VIEWS}


def seen(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows in which both views have a breast."""
    return rows[rows[[f"{view}_area" for view in VIEWS]].notna().all(axis=1)]


def _features(rows: pd.DataFrame, view: str, group: str) -> np.ndarray:
    return rows[[f"{view}_{name}" for name in GROUPS[group]]].to_numpy(float)


@dataclass(frozen=True)
class Judged:
    """Pairs of several grades with a score a view, and the bootstrap draws of their patients, or of their noise.

    Every method gives `(1 + draws,)` values, the first one of the pairs as they are.
    """

    scores: Mapping[str, np.ndarray]  # (N,) by view: the denser the higher
    calls: Mapping[str, np.ndarray]  # (N,) by view: the grade that a view is taken for; empty for a plain measure
    grades: np.ndarray  # (N,) as asked for, or as real
    owners: np.ndarray  # (N,) number of the patient, or of the noise
    weights: np.ndarray  # (N, 1 + draws)

    @classmethod
    def of(cls, rows: pd.DataFrame, scorer: Graders | str, protocol: Protocol, group: str = "") -> Judged:
        """Rows of `measured` by graders of a group of features, or by a measure such as `dense`; those without a breast
        are left out."""
        rows = seen(rows)
        owner = np.unique(rows["patient"], return_inverse=True)[1]
        n = int(owner.max()) + 1 if len(owner) else 0
        rng = generator(protocol.seed, Stream.GRADES)
        drawn = [np.ones((n, 1)), *patient_weights(n, protocol.n_bootstrap, rng, n_values=len(rows))] if n else []
        weights = np.concatenate(drawn, axis=1)[owner].astype(np.float32) if n else np.ones((0, 1), np.float32)
        grades = rows["grade"].to_numpy(str)
        if isinstance(scorer, str):
            return cls({view: rows[f"{view}_{scorer}"].to_numpy(float) for view in VIEWS}, {}, grades, owner, weights)
        chances = {view: grader.predict_proba(_features(rows, view, group)) if n else np.zeros((0, 1))
                   for view, grader in scorer.items()}
        known = {view: grader.classes_ for view, grader in scorer.items()}
        places = {view: np.array([GRADES.index(grade) for grade in names]) for view, names in known.items()}
        return cls({view: chance @ places[view] for view, chance in chances.items()},
                   {view: known[view][chance.argmax(axis=1)] for view, chance in chances.items()}, grades, owner,
                   weights)

    @property
    def present(self) -> list[str]:
        return [grade for grade in GRADES if (self.grades == grade).any()]

    def concordance(self, view: str) -> np.ndarray:
        """How often the denser of two pairs has the higher score, every two grades counting alike; chance is 1/2.

        Two pairs of one patient, or of one noise, aren't compared: from one noise a label without any effect worth the
        name still moves all scores one way.

        Source:
            Hand and Till 2001, whose M this is for one score.
        """
        found = []
        for first, second in combinations(self.present, 2):
            rows, others = self.grades == first, self.grades == second
            a, b = self.scores[view][rows], self.scores[view][others]
            compared = (self.owners[rows][:, None] != self.owners[others]).astype(np.float32)
            wins = compared * ((a[:, None] < b) + 0.5 * (a[:, None] == b)).astype(np.float32)
            found.append(over(*((which.T @ self.weights[rows] * self.weights[others]).sum(axis=0)
                                for which in (wins, compared))))
        return np.mean(found, axis=0) if found else np.full(self.weights.shape[1], np.nan)

    def accuracy(self, view: str) -> np.ndarray:
        """Share of pairs taken for their grade, grades counting alike; chance is one in their number."""
        return self.by_grade(self.calls[view] == self.grades).mean(axis=0)

    def agreement(self) -> np.ndarray:
        """Share of pairs whose two views are taken for one grade, grades counting alike."""
        return self.by_grade(np.equal(*(self.calls[view] for view in VIEWS))).mean(axis=0)

    def only(self, grades: Sequence[str]) -> Judged:
        """The pairs of some grades."""
        rows = np.isin(self.grades, grades)
        scores, calls = ({view: values[rows] for view, values in part.items()} for part in (self.scores, self.calls))
        return replace(self, scores=scores, calls=calls, grades=self.grades[rows], owners=self.owners[rows],
                       weights=self.weights[rows])

    def by_grade(self, values: np.ndarray) -> np.ndarray:
        """`(grades, 1 + draws)` means of `(N,)` values of each grade that is present; NaN values count for nothing."""
        known = np.isfinite(values)
        found = [over(values[rows] @ self.weights[rows], self.weights[rows].sum(axis=0))
                 for rows in (known & (self.grades == grade) for grade in self.present)]
        return np.array(found).reshape(-1, self.weights.shape[1])


def over(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part over whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def sets_of(rows: pd.DataFrame, weights: Sequence[float]) -> dict[float | str, pd.DataFrame]:
    """Real held-out pairs of known grade under `HELDOUT`, and the drawn ones of each guidance above 0 whose grade is
    among them; all with a breast in both views."""
    rows = seen(rows)
    real = rows[(rows["set"] == HELDOUT) & (rows["grade"] != "")]
    judged = rows[rows["grade"].isin(real["grade"])]
    return {HELDOUT: real} | {weight: judged[judged["guidance"] == weight] for weight in weights if weight}
