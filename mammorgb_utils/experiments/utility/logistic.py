"""Logistic regression on measured anatomy: what a few named numbers of each view tell."""

from __future__ import annotations

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mammorgb_utils.evaluation.anatomy.matching import FEATURES
from mammorgb_utils.evaluation.anatomy.measure import PROFILES, VIEWS
from mammorgb_utils.experiments.utility.pool import Items, Pool

INVERSE_PENALTY, ITEMS = 0.1, 250  # of the L2 penalty on standardised features, where so many items are learned from


def fit_logistic(pool: Pool, items: Items) -> Pipeline:
    """Fit to items of both classes, each class with the same weight, to convergence.

    The penalty stands against the mean loss of an item, not the sum: items that are repeated don't weaken it.
    """
    inverse_penalty = INVERSE_PENALTY * ITEMS / len(items.label)
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), FunctionTransformer(_together),
                          StandardScaler(), LogisticRegression(C=inverse_penalty, class_weight="balanced",
                                                               max_iter=1000))
    return model.fit(_measured(pool, items), items.label)


def score_logistic(model: Pipeline, pool: Pool, items: Items) -> np.ndarray:
    """`(M,)` float32 log odds of items."""
    return model.decision_function(_measured(pool, items)).astype(np.float32)


def settings() -> dict[str, object]:
    """What decides a fit beside its items."""
    return {"penalty": [INVERSE_PENALTY, ITEMS], "features": _features()}


def _features() -> dict[str, list[str]]:
    return {view: [*(f"{view}_{name}" for name in FEATURES["anatomy"]), *PROFILES[view]] for view in VIEWS}


def _measured(pool: Pool, items: Items) -> np.ndarray:
    """`(M, 2F)` measures of the CC, then of the MLO."""
    names = _features()
    return np.concatenate([pool.anatomy[names[view]].to_numpy(float)[rows]
                           for view, rows in zip(VIEWS, (items.cc, items.mlo), strict=True)], axis=1)


def _together(both: np.ndarray) -> np.ndarray:
    """Sum and distance of the two views' standardised measures: the order in which they are named says nothing."""
    cc, mlo = np.split(both, 2, axis=1)
    return np.concatenate([cc + mlo, np.abs(cc - mlo)], axis=1)
