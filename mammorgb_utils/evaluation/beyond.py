"""What silhouettes can't show, a row a pair of all sets: anatomy, third channel, texture, nearest training pair."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import HELDOUT, TRAIN
from mammorgb_utils.evaluation.anatomy import anatomy, height_over_width, strata_of, third_residuals
from mammorgb_utils.evaluation.consistency import profile_distances
from mammorgb_utils.evaluation.fidelity import nearest_training, planted_copies, texture_features
from mammorgb_utils.evaluation.sets import REAL, StudySets, indexed

MAX_TRAIN = 1000  # training pairs that the match test learns from: more cost time alone


def anatomy_rows(sets: StudySets) -> pd.DataFrame:
    """Anatomy of every pair, and of the first `MAX_TRAIN` training pairs, from which a match test learns:
    metrics/anatomy.csv."""
    measure = partial(anatomy, ratio=height_over_width(sets.protocol))
    pairs, index = (part[:MAX_TRAIN] for part in sets.train)
    learned = StudySets.of({TRAIN: (pairs, index)} if len(index) else {}, sets.protocol)
    return pd.concat([part.rows(measure) for part in (sets, learned) if part.pairs], ignore_index=True)


def third_rows(sets: StudySets, thirds: Mapping[str, np.ndarray | None], anatomy: pd.DataFrame) -> pd.DataFrame:
    """Drawn against computed third channel, own and strangers': metrics/third_residuals.csv.

    Args:
        sets: What is compared.
        thirds: By encoding what `load_third` gives for its samples.
        anatomy: From `anatomy_rows`; it tells which strangers are of like area and density.

    Returns:
        The columns of `third_residuals` and `set`; for each encoding the real pairs, whose channel is computed, first.
    """
    strata, parts = {name: strata_of(anatomy[anatomy["set"] == name]) for name in (REAL, *thirds)}, []
    for encoding, third in thirds.items():
        for name, channel in ((REAL, None), (encoding, third)):
            who = {"names": sets.index[name]["pair"], "patients": sets.index[name]["patient"], "strata": strata[name]}
            rows = third_residuals(sets.pairs[name], channel, sets.masks[name], encoding, sets.protocol, **who)
            parts.append(rows.assign(set=name))
    return pd.concat(parts, ignore_index=True)


def texture_rows(sets: StudySets) -> pd.DataFrame:
    """Texture of every pair inside its masks: metrics/texture.csv."""
    return sets.rows(texture_features)


def profile_rows(sets: StudySets) -> pd.DataFrame:
    """How alike the depth profiles of own and of strangers' views are: metrics/profiles.csv."""
    rows = [profile_distances(pairs, sets.masks[name], seed=sets.protocol.seed, names=sets.index[name]["pair"],
                              patients=sets.patients[name]).assign(set=name) for name, pairs in sets.pairs.items()]
    return pd.concat(rows, ignore_index=True)


def nearest_rows(sets: StudySets, *, planted: bool = False) -> pd.DataFrame:
    """The nearest training pair of every held-out and synthetic pair: metrics/nearest_training.csv.

    With `planted` copies of training pairs, too, to show what would be found. Without training pairs, or pairs held out
    of training, a ValueError says so.
    """
    searched = {TRAIN: sets.train, HELDOUT: sets.heldout}
    searched |= {name: (pairs, sets.index[name]) for name, pairs in sets.pairs.items() if name not in (REAL, TRAIN)}
    if planted:
        copies = planted_copies(sets.train[0], seed=sets.protocol.seed)
        searched |= {name: indexed(name, pairs) for name, pairs in copies.items()}
    return nearest_training({name: pairs for name, (pairs, _) in searched.items()},
                            {name: index["pair"] for name, (_, index) in searched.items()})
