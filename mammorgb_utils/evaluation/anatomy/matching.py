"""Whether a CC view's own MLO can be picked among strangers' by its anatomy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.covariance import LedoitWolf
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mammorgb_utils.evaluation.anatomy.agreement import NULLS, strata_of, with_masks
from mammorgb_utils.evaluation.anatomy.measure import PROFILES
from mammorgb_utils.evaluation.statistics import patient_of, patient_weights, sets_in, wilson
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

CANDIDATES = (2, 5, 10)  # K: the own MLO and K − 1 strangers'
FEATURES = {"anatomy": ("area", "nipple_line", "centroid", "dense", "mass_depth"), "area": ("area",)}
PENALTY = 10.0  # of the ridge regression, on standardised features
MIN_FIT = 20  # pairs to fit on
FOLDS = 5  # where no training pairs are given
MAX_DRAWS = 2000  # bootstrap draws
LEVEL = 0.95  # coverage of the intervals
_COLUMNS = ("set", "features", "null", "k", "chance", "n", "n_nan", "accuracy", "low", "high", "note")


class TooFewPairs(ValueError):
    """Nothing to learn a matcher from."""


@dataclass(frozen=True)
class Matcher:
    """Predicts MLO features from CC features; a candidate scores by how much likelier it is than any MLO."""

    names: tuple[str, ...]  # of its features, without the view
    regression: Pipeline  # from CC features to MLO features that `target` has filled and standardised
    target: Pipeline
    precision: np.ndarray  # inverse covariance of the regression's residuals
    usual: np.ndarray  # that of MLO features

    def scores(self, frame: pd.DataFrame, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """`(len(rows), N)` log likelihood ratio, up to a constant, of every pair's MLO for the CC of each of `rows`."""
        expected = self.regression.predict(_values(frame, "cc", self.names)[rows])
        return self.scores_beside(expected.reshape(-1, len(self.names)), frame)

    def standardised(self, frame: pd.DataFrame) -> np.ndarray:
        """`(N, features)` of every pair's MLO, filled and standardised as those that it learned from."""
        return self.target.transform(_values(frame, "mlo", self.names))

    def scores_beside(self, expected: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
        """As `scores`, where the `(n, features)` standardised MLO features are expected by something else."""
        mlo = self.standardised(frame)
        cross, own = expected @ self.precision @ mlo.T, np.einsum("ij,jk,ik->i", mlo, self.precision, mlo)
        return cross - 0.5 * own + 0.5 * np.einsum("ij,jk,ik->i", mlo, self.usual, mlo)


def fit_matcher(train: pd.DataFrame, features: str = "anatomy") -> Matcher:
    """Learn from pairs of other patients how CC and MLO features of one breast go together."""
    names = FEATURES[features] + (tuple(c.removeprefix("cc_") for c in PROFILES["cc"]) if features == "anatomy" else ())
    train = train[with_masks(train)]
    if len(train) < MIN_FIT:
        raise TooFewPairs(f"{len(train)} pairs to learn from, at least {MIN_FIT} are needed")
    regression, target = (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()) for _ in range(2))
    regression.steps.append(("ridge", Ridge(PENALTY)))
    mlo = target.fit_transform(_values(train, "mlo", names))
    cc = _values(train, "cc", names)
    residual = mlo - regression.fit(cc, mlo).predict(cc).reshape(mlo.shape)
    return Matcher(names, regression, target, *(LedoitWolf().fit(x).precision_ for x in (residual, mlo)))


def match_table(measured: pd.DataFrame, protocol: Protocol, *, candidates: Sequence[int] = CANDIDATES) -> pd.DataFrame:
    """Top-1 accuracy of picking each CC's own MLO among K, by anatomy and, to compare with, by area alone.

    Args:
        measured: metrics/anatomy.csv; the matcher learns from its set `train`, or, where that is too small or is among
            the real pairs, from the other folds of each set. Pairs without a mask count for nothing.
        protocol: Gives encodings, bootstrap draws over patients and seed.
        candidates: The K.

    Returns:
        One row a set, `features` (`anatomy` | `area`), null (`global`; `strata`: strangers of like area and density)
        and K: `chance`, `n`, `n_nan`, `accuracy` with `low`, `high` (95 %; at an accuracy of 0 or 1 Wilson's, with
        patients as its number), `note`. NaN where no CC has a stranger to be told from. A set that is too small, or too
        small to learn from, has one row whose `note` says so.
    """
    train, rows = measured[measured["set"] == "train"], []
    own_folds = with_masks(train).sum() < MIN_FIT or protocol.real_split != "heldout"
    for features in FEATURES:
        matcher = None if own_folds else fit_matcher(train, features)
        for name in sets_in(measured, protocol, with_real=True):
            whole = measured[measured["set"] == name]
            frame = whole[with_masks(whole)].reset_index(drop=True)
            facts = {"set": name, "features": features, "n": len(frame), "n_nan": len(whole) - len(frame)}
            try:
                scores = match_scores(frame, features, matcher)
            except TooFewPairs as error:
                rows.append(facts | {"note": str(error)})
                continue
            rows += [facts | row for row in match_rows(frame, scores, protocol, candidates)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _values(frame: pd.DataFrame, view: str, names: Sequence[str]) -> np.ndarray:
    return frame[[f"{view}_{name}" for name in names]].to_numpy(float)


def match_scores(frame: pd.DataFrame, features: str, matcher: Matcher | None) -> np.ndarray:
    """`(N, N)` scores of every MLO for each CC; without a matcher by those that haven't seen the CC's patient."""
    if len(frame) < MIN_FIT:
        raise TooFewPairs(f"fewer than {MIN_FIT} pairs")
    if matcher is not None:
        return matcher.scores(frame)
    owners, scores = patient_of(frame), np.zeros((len(frame), len(frame)))
    folds = min(FOLDS, len(np.unique(owners)))
    if folds < 2:
        raise TooFewPairs("pairs of two patients are needed, so that one can be learned from")
    for fit, rows in GroupKFold(folds).split(owners, groups=owners):
        scores[rows] = fit_matcher(frame.iloc[fit], features).scores(frame, rows)
    return scores


def match_rows(frame: pd.DataFrame, scores: np.ndarray, protocol: Protocol, candidates: Sequence[int],
               asked: np.ndarray | None = None) -> list[dict]:
    """The columns of `match_table` from `null` on, of pairs of one set, and `blind`, the accuracy of who can't tell: it
    lies above `chance` where strangers are so few that one is drawn twice.

    Args:
        frame: N pairs with anatomy.
        scores: `(n, N)` of every MLO for each CC that is asked for.
        protocol, candidates: As `match_table` takes them.
        asked: `(n,)` rows of these CCs; by default all.
    """
    asked = np.arange(len(frame)) if asked is None else asked
    owner, stratum, rows = np.unique(patient_of(frame), return_inverse=True)[1], strata_of(frame), []
    own = np.take_along_axis(scores, asked[:, None], axis=1)
    for null in NULLS:
        strangers = owner[asked, None] != owner[None, :]
        if null == "strata":
            strangers &= (stratum[asked, None] == stratum[None, :]) & (stratum >= 0)
        wins = np.where(strangers, (scores < own) + 0.5 * (scores == own), 0.0).astype(np.float32)
        rows += _accuracies(null, wins, strangers.astype(np.float32), owner, asked, protocol, candidates)
    return rows


def _accuracies(null: str, wins: np.ndarray, strangers: np.ndarray, owner: np.ndarray, asked: np.ndarray,
                protocol: Protocol, candidates: Sequence[int]) -> list[dict]:
    """Accuracy for each K: the chance that K − 1 strangers, drawn independently, all score below the own MLO."""
    rows = [{"null": null, "k": k, "chance": 1.0 / k, "note": "no strangers to tell from"} for k in candidates]
    if not strangers.any():
        return rows
    rng = generator(protocol.seed, Stream.ANATOMY_MATCHING, NULLS.index(null))
    found = _drawn(wins, strangers, owner, asked, rng, candidates, min(protocol.n_bootstrap, MAX_DRAWS))
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.nanquantile(found[1:], [tail, 1.0 - tail], axis=0)
    # Strangers drawn twice make a power of their share larger on average: that much is taken off.
    low, high = (np.clip(bound - np.nanmean(found[1:], axis=0) + found[0], 0.0, 1.0) for bound in (low, high))
    n_patients = len(np.unique(owner[asked][strangers.any(axis=1)]))
    for row, accuracy, *bounds in zip(rows, found[0], low, high, strict=True):
        if accuracy in (0.0, 1.0):  # every draw gives the same, which says nothing about the next patient
            bounds = wilson(accuracy * n_patients, n_patients, level=LEVEL)[1:]
        row |= {"accuracy": accuracy, "low": bounds[0], "high": bounds[1], "note": "",
                "blind": _blind(strangers.sum(axis=1), row["k"])}
    return rows


def _blind(strangers: np.ndarray, k: int) -> float:
    """Accuracy where the own MLO's place among `(n,)` strangers each is any."""
    numbers, counts = np.unique(strangers[strangers > 0].astype(int), return_counts=True)
    return float(np.average([(np.linspace(0.0, 1.0, n + 1) ** (k - 1)).mean() for n in numbers], weights=counts))


def _drawn(wins: np.ndarray, strangers: np.ndarray, owner: np.ndarray, asked: np.ndarray, rng: np.random.Generator,
           candidates: Sequence[int], draws: int) -> np.ndarray:
    """`(1 + draws, K)`: the accuracies found, then those of each bootstrap draw; NaN where it has no strangers."""
    found, n_patients = [], int(owner.max()) + 1
    for weights in [np.ones((n_patients, 1), int), *patient_weights(n_patients, draws, rng, n_values=owner.size)]:
        weight = weights[owner].astype(np.float32)
        among = strangers @ weight
        beaten = np.divide(wins @ weight, among, out=np.zeros_like(among), where=among > 0)
        usable = weight[asked] * (among > 0)
        total = usable.sum(axis=0)
        total[total == 0] = np.nan
        found.append(np.stack([(usable * beaten ** (k - 1)).sum(axis=0) / total for k in candidates], axis=1))
    return np.concatenate(found)
