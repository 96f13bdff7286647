"""Can synthetic pairs be told from real ones, do classifiers believe their pairing, and do errors follow the source?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import HELDOUT
from mammorgb_utils.evaluation.statistics import Effect
from mammorgb_utils.experiments.utility.arms import REAL, SOURCE, SYNTHETIC, Cell, asked_items
from mammorgb_utils.experiments.utility.cells import Scores
from mammorgb_utils.experiments.utility.estimates import Estimate, area_draws, estimate, item_weights
from mammorgb_utils.experiments.utility.pool import Items, Pool
from mammorgb_utils.experiments.utility.tasks import PAIRING, Task
from mammorgb_utils.protocol import Protocol


def source_table(pool: Pool, tasks: Sequence[Task], scores: Mapping[Cell, Scores], protocol: Protocol) -> pd.DataFrame:
    """What the probes say of each synthetic set, by classifiers that learned from all real patients.

    Synthetic pairs that are asked about were learned from by no classifier.

    Returns:
        One row a set and learner: `n_synthetic` pairs asked about; areas under the ROC curve with 95 % intervals, means
        over trainings: `told` (synthetic against held-out real pairs); `pairing_real` (own MLO against strangers'
        among held-out real pairs, by those that learned from real pairs alone), `pairing_synthetic` (the same ones,
        among synthetic pairs), `pairing_mixed` (those that learned from both, among synthetic pairs); `source_effect`
        (by those that learned from both, whether an own pair scores higher where it is synthetic; 0.5: it doesn't
        matter), and `errors_follow` (yes where its interval leaves 0.5 out).
    """
    task, rows = next(task for task in tasks if task.name == PAIRING), []
    most = max(cell.n for cell in scores if cell.task == PAIRING)
    probes = dict.fromkeys(cell[:-1] for cell in scores if cell.task == SOURCE)
    for _, learner, _, name, n, added in probes:
        chosen = {arm: [cell for cell in scores if cell.task == PAIRING and cell.learner == learner and cell.arm == arm
                        and cell.n == most and cell.set in ("", name)] for arm in (REAL, SYNTHETIC)}
        told = [cell for cell in scores if cell[:-1] == (SOURCE, learner, SOURCE, name, n, added)]
        asked = asked_items(pool, task, chosen[SYNTHETIC][0])
        row = {"set": name, "learner": learner, "n_synthetic": int(asked[name].label.sum())}
        found = {"told": _area(pool, told, asked_items(pool, task, told[0])[HELDOUT], HELDOUT, scores, protocol),
                 "pairing_real": _area(pool, chosen[REAL], asked[HELDOUT], HELDOUT, scores, protocol),
                 "pairing_synthetic": _area(pool, chosen[REAL], asked[name], name, scores, protocol),
                 "pairing_mixed": _area(pool, chosen[SYNTHETIC], asked[name], name, scores, protocol),
                 "source_effect": _effect(pool, chosen[SYNTHETIC], asked, name, scores, protocol)}
        for label, value in found.items():
            row |= Effect(*np.clip(value.interval(), 0.0, 1.0)).columns(label)  # an area, and so are its bounds
        low, high = found["source_effect"].interval()[1:]
        rows.append(row | {"errors_follow": "" if np.isnan(low) else "yes" if low > 0.5 or high < 0.5 else "no"})
    return pd.DataFrame(rows)


def _area(pool: Pool, cells: Sequence[Cell], items: Items, asked: str, scores: Mapping[Cell, Scores],
          protocol: Protocol) -> Estimate:
    weights, patients = item_weights(pool, items, n_bootstrap=protocol.n_bootstrap, seed=protocol.seed)
    return estimate([area_draws(scores[cell][asked], items.label, weights) for cell in cells], patients)


def _effect(pool: Pool, cells: Sequence[Cell], asked: Mapping[str, Items], name: str, scores: Mapping[Cell, Scores],
            protocol: Protocol) -> Estimate:
    """Own pairs of both sources, told apart by the scores of another question."""
    own = {part: asked[part].label for part in (name, HELDOUT)}
    cc, mlo = (np.concatenate([rows[own[part]] for part, rows in ((part, asked[part][i]) for part in own)])
               for i in (0, 1))
    items = Items(cc, mlo, np.arange(len(cc)) < own[name].sum())
    weights, patients = item_weights(pool, items, n_bootstrap=protocol.n_bootstrap, seed=protocol.seed)
    return estimate([area_draws(np.concatenate([scores[cell][part][own[part]] for part in own]), items.label, weights)
                     for cell in cells], patients)
