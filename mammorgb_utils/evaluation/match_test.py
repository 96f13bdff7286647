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

from mammorgb_utils.evaluation.anatomy import PROFILES, anatomy
from mammorgb_utils.evaluation.anatomy_consistency import strata_of
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.resampling import patient_of, patient_weights, sets_in
from mammorgb_utils.evaluation.third_channel import NULLS
from mammorgb_utils.protocol import Protocol

STREAM = 22  # of the bootstrap
CANDIDATES = (2, 5, 10)  # K: the own MLO and K − 1 strangers'
FEATURES = {"anatomy": ("area", "nipple_line", "centroid", "dense", "mass_depth"), "area": ("area",)}
PENALTY = 10.0  # of the ridge regression, on standardised features
MIN_FIT = 20  # pairs to fit on
FOLDS = 5  # where no training pairs are given
MAX_DRAWS = 2000  # bootstrap draws
LEVEL = 0.95  # coverage of the intervals
_COLUMNS = ("set", "features", "null", "k", "chance", "n", "n_nan", "accuracy", "low", "high", "note")


@dataclass(frozen=True)
class Matcher:
    """Predicts MLO features from CC features; a candidate scores by how much likelier it is than any MLO.

    Attributes:
        names: Names of its features, without the view.
        regression: From CC features to MLO features that `target` has standardised.
        target: Fills and standardises MLO features.
        precision, usual: Inverse covariance of the regression's residuals, and of MLO features.
    """

    names: tuple[str, ...]
    regression: Pipeline
    target: Pipeline
    precision: np.ndarray
    usual: np.ndarray

    def scores(self, frame: pd.DataFrame, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """`(len(rows), N)` log likelihood ratio, up to a constant, of every pair's MLO for the CC of each of `rows`."""
        mlo = self.target.transform(_values(frame, "mlo", self.names))
        expected = self.regression.predict(_values(frame, "cc", self.names)[rows]).reshape(-1, mlo.shape[1])
        cross, own = expected @ self.precision @ mlo.T, np.einsum("ij,jk,ik->i", mlo, self.precision, mlo)
        return cross - 0.5 * own + 0.5 * np.einsum("ij,jk,ik->i", mlo, self.usual, mlo)


def fit_matcher(train: pd.DataFrame, features: str = "anatomy") -> Matcher:
    """Learn from training pairs how CC and MLO features of one breast go together.

    Args:
        train: Anatomy of at least `MIN_FIT` pairs, disjoint in patients from those it will be used on.
        features: A name in `FEATURES`; `anatomy` includes the depth profile.

    Raises:
        ValueError: Too few pairs.
    """
    names = FEATURES[features] + (tuple(c.removeprefix("cc_") for c in PROFILES["cc"]) if features == "anatomy" else ())
    seen = train[[f"{view}_area" for view in ("cc", "mlo")]].notna().all(axis=1)
    train = train[seen]
    if len(train) < MIN_FIT:
        raise ValueError(f"match test: {len(train)} pairs to learn from, at least {MIN_FIT} are needed")
    regression, target = (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()) for _ in range(2))
    regression.steps.append(("ridge", Ridge(PENALTY)))
    mlo = target.fit_transform(_values(train, "mlo", names))
    cc = _values(train, "cc", names)
    residual = mlo - regression.fit(cc, mlo).predict(cc).reshape(mlo.shape)
    return Matcher(names, regression, target, *(LedoitWolf().fit(x).precision_ for x in (residual, mlo)))


def match_test(pairs: np.ndarray, masks: PairMasks, patients: Sequence, *, seed: int, matcher: Matcher | None = None,
               candidates: Sequence[int] = CANDIDATES, n_bootstrap: int = MAX_DRAWS) -> pd.DataFrame:
    """Top-1 accuracy of picking each CC's own MLO among K, for any set of pairs.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first.
        masks: Masks of these pairs.
        patients: Patient of each pair.
        seed: Seed of the bootstrap.
        matcher: Fitted on other patients' pairs; without one, it is fitted in `FOLDS` folds of these patients.
        candidates: The K.
        n_bootstrap: Bootstrap draws over patients.

    Returns:
        One row a null (`global`; `strata`: strangers of like area and density) and K: `null`, `k`, `chance`, `n`,
        `n_nan`, `accuracy` with `low`, `high`, `note`.

    Raises:
        ValueError: No matcher and too few pairs to fit one.
    """
    frame = anatomy(pairs, masks).assign(pair=np.arange(len(pairs)), patient=np.asarray(patients).astype(str))
    scores = _cross_fitted(frame, "anatomy") if matcher is None else matcher.scores(frame)
    return pd.DataFrame(_rows(frame, scores, seed, candidates, n_bootstrap))


def match_table(measured: pd.DataFrame, protocol: Protocol, *, candidates: Sequence[int] = CANDIDATES) -> pd.DataFrame:
    """The match test on real and synthetic sets, by anatomy and, to compare with, by area alone.

    Args:
        measured: metrics/anatomy.csv; the matcher learns from its set `train`, or, where that is too small or is
            among the real pairs, from the other folds of each set.
        protocol: Gives encodings, bootstrap draws and seed.
        candidates: The K.

    Returns:
        `set`, `features` (`anatomy` | `area`), and the columns of `match_test`.
    """
    train, rows = measured[measured["set"] == "train"], []
    for features in FEATURES:
        own_folds = len(train) < MIN_FIT or protocol.real_split != "heldout"
        matcher = None if own_folds else fit_matcher(train, features)
        for name in sets_in(measured, protocol, with_real=True):
            frame = measured[measured["set"] == name].reset_index(drop=True)
            label = {"set": name, "features": features}
            if len(frame) < MIN_FIT:
                rows.append(label | {"n": len(frame), "note": f"fewer than {MIN_FIT} pairs"})
                continue
            scores = _cross_fitted(frame, features) if matcher is None else matcher.scores(frame)
            draws = min(protocol.n_bootstrap, MAX_DRAWS)
            rows += [label | row for row in _rows(frame, scores, protocol.seed, candidates, draws)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _values(frame: pd.DataFrame, view: str, names: Sequence[str]) -> np.ndarray:
    return frame[[f"{view}_{name}" for name in names]].to_numpy(float)


def _cross_fitted(frame: pd.DataFrame, features: str) -> np.ndarray:
    """Scores of each CC by a matcher that hasn't seen its patient."""
    owners, scores = patient_of(frame), np.full((len(frame), len(frame)), np.nan)
    folds = min(FOLDS, len(np.unique(owners)))
    if folds < 2:
        raise ValueError("match test: all pairs are of one patient; others are needed to learn from")
    for fit, rows in GroupKFold(folds).split(frame, groups=owners):
        scores[rows] = fit_matcher(frame.iloc[fit], features).scores(frame, rows)
    return scores


def _rows(frame: pd.DataFrame, scores: np.ndarray, seed: int, candidates: Sequence[int], draws: int) -> list[dict]:
    known = frame[["cc_area", "mlo_area"]].notna().all(axis=1).to_numpy()
    scores, frame = scores[np.ix_(known, known)], frame[known].reset_index(drop=True)
    owner, rows = np.unique(patient_of(frame), return_inverse=True)[1], []
    for null in NULLS:
        strangers = owner[:, None] != owner[None, :]
        if null == "strata":
            stratum = strata_of(frame)
            strangers &= stratum[:, None] == stratum[None, :]
        wins = np.where(strangers, (scores < scores.diagonal()[:, None]) + 0.5 * (scores == scores.diagonal()[:, None]),
                        0.0).astype(np.float32)
        rows += _accuracies(null, wins, strangers.astype(np.float32), owner, seed, candidates, draws,
                            int((~known).sum()))
    return rows


def _accuracies(null: str, wins: np.ndarray, strangers: np.ndarray, owner: np.ndarray, seed: int,
                candidates: Sequence[int], draws: int, missing: int) -> list[dict]:
    """Accuracy for each K: the chance that K − 1 strangers, drawn independently, all score below the own MLO."""
    rng, found = np.random.default_rng([seed, STREAM, NULLS.index(null)]), []
    counts = [np.ones((1, owner.max() + 1), int)] if len(owner) else []
    for weights in [*counts, *patient_weights(owner.max() + 1, draws, rng, block=500)]:
        weight = weights[:, owner].astype(np.float32)
        among = weight @ strangers.T
        beaten = np.divide(weight @ wins.T, among, out=np.zeros_like(among), where=among > 0)
        usable = weight * (among > 0)
        total = np.maximum(usable.sum(axis=1), 1e-9)
        found.append(np.stack([(usable * beaten ** (k - 1)).sum(axis=1) / total for k in candidates], axis=1))
    found, tail = np.concatenate(found), (1.0 - LEVEL) / 2.0
    low, high = np.quantile(found[1:], [tail, 1.0 - tail], axis=0)
    # Strangers drawn twice make a power of their share larger on average: that much is taken off.
    low, high = (np.clip(bound - found[1:].mean(axis=0) + found[0], 0.0, 1.0) for bound in (low, high))
    return [{"null": null, "k": k, "chance": 1.0 / k, "n": len(owner), "n_nan": missing, "accuracy": found[0, i],
             "low": low[i], "high": high[i], "note": ""} for i, k in enumerate(candidates)]
