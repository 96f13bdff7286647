"""The tables of the experiment: areas by arm, differences to real pairs alone, and real-patient equivalents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from sklearn.isotonic import isotonic_regression

from mammorgb_utils.data.pairs import HELDOUT
from mammorgb_utils.evaluation.statistics import LEVEL, benjamini_hochberg, holm
from mammorgb_utils.evaluation.statistics.tables import MIN_POWER
from mammorgb_utils.experiments.utility import arms
from mammorgb_utils.experiments.utility.cells import Scores
from mammorgb_utils.experiments.utility.estimates import Estimate, area_draws, estimate, item_weights
from mammorgb_utils.experiments.utility.planning import power
from mammorgb_utils.experiments.utility.pool import Pool
from mammorgb_utils.experiments.utility.tasks import PAIRING, Task
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

Key = tuple[str, str, str, str, int, int]  # a cell without its seed
GAIN, LOSS, EQUIVALENT, UNDERPOWERED, INCONCLUSIVE = "gain", "loss", "equivalent", "underpowered", "inconclusive"
MATCHED = "matched"  # by a control, which does surely as well but for less than the margin
FLAT = "the curve of real pairs doesn't surely rise"
PRIMARY = PAIRING, arms.CNN  # the one question that the answer rests on: every cohort can be asked it
_KEYS = ["task", "learner", "arm", "set", "n", "added"]
_CONTRAST_COLUMNS = (*_KEYS, "family", "seeds", "patients", "difference", "difference_low", "difference_high",
                     "control", "lead", "lead_low", "lead_high", "se_patients", "sd_seeds", "p", "p_holm", "p_bh",
                     "tests", "power", "verdict")


@dataclass(frozen=True)
class Areas:
    """Areas under the ROC curve on held-out patients: by cell but for its seed `(seeds, 1 + draws)`, and by task how
    many patients were asked."""

    draws: Mapping[Key, np.ndarray]
    patients: Mapping[str, int]

    def of(self, key: Key) -> Estimate:
        """The mean area of an arm."""
        return estimate(list(self.draws[key]), self.patients[key[0]])

    def over(self, key: Key, other: Key) -> Estimate:
        """The mean difference to another arm of the task, seed by seed."""
        return estimate(list(self.draws[key] - self.draws[other]), self.patients[key[0]])

    def over_real(self, key: Key) -> Estimate:
        """The mean difference to the real arm with the same patients to learn from."""
        return self.over(key, (*key[:2], arms.REAL, "", key[4], 0))

    def over_controls(self, key: Key) -> dict[str, Estimate]:
        """Of synthetic pairs as they are the lead over what adds as many and should teach nothing: the same real pairs
        repeated and, for pairing, the same synthetic ones with their views shuffled."""
        others = {arms.DUPLICATED: (*key[:2], arms.DUPLICATED, "", *key[4:]),
                  arms.SHUFFLED: (*key[:2], arms.SHUFFLED, *key[3:])}
        return {arm: self.over(key, other) for arm, other in others.items()
                if key[2] == arms.SYNTHETIC and other in self.draws}


def measured_areas(pool: Pool, tasks: Sequence[Task], scores: Mapping[arms.Cell, Scores], protocol: Protocol) -> Areas:
    """Every cell's area and its draws; all cells of a task meet the same draws of the same held-out patients."""
    draws, patients = {}, {}
    for task in tasks:
        items = arms.asked_items(pool, task, arms.Cell(task.name, "", arms.REAL, "", 0, 0, 0))[HELDOUT]
        weights, patients[task.name] = item_weights(pool, items, n_bootstrap=protocol.n_bootstrap, seed=protocol.seed)
        mine = sorted((cell for cell in scores if cell.task == task.name), key=lambda cell: cell[:-1])
        for key, cells in groupby(mine, key=lambda cell: cell[:-1]):
            draws[key] = np.stack([area_draws(scores[cell][HELDOUT], items.label, weights) for cell in cells])
    return Areas(draws, patients)


def area_table(areas: Areas, cells: Sequence[arms.Cell], protocol: Protocol) -> pd.DataFrame:
    """The area under the ROC curve of every arm, and what its gain is worth in real patients.

    Returns:
        One row an arm, task, learner and number of real patients `n`, in the cells' order: `added` pairs, `seeds`,
        `patients` held out, `auc` with `auc_low`, `auc_high` (95 %, see `Estimate`); `equivalent` (the number of real
        patients with which real pairs alone reach that area, on a rising learning curve) with its bounds,
        `worth` ((equivalent − n) / added: real patients that one added pair saves), `note`.
    """
    keys, rows = dict.fromkeys(cell[:-1] for cell in cells if cell.task != arms.SOURCE), []
    curves = {where: _Curve.of(areas, *where, protocol) for where in dict.fromkeys(key[:2] for key in keys)}
    for key in keys:
        found = areas.of(key)
        low, high = np.clip(found.interval()[1:], 0.0, 1.0)
        rows.append(dict(zip(_KEYS, key, strict=True)) | {
            "seeds": found.seeds, "patients": found.patients, "auc": found.value, "auc_low": low, "auc_high": high,
            **curves[key[:2]].read(areas.draws[key], key[4], key[5])})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Curve:
    """A learning curve of real pairs alone: areas that rise with the number of patients, as found and in each draw."""

    numbers: np.ndarray  # `(K,)` ascending
    areas: np.ndarray  # `(K, 1 + draws)`
    seeds: np.ndarray  # `(draws, seeds)`, the trainings of each draw
    rises: bool  # surely, from its first number to its last

    @classmethod
    def of(cls, areas: Areas, task: str, learner: str, protocol: Protocol) -> _Curve:
        known = {key[4] + key[5]: draws for key, draws in areas.draws.items()
                 if key[:2] == (task, learner) and key[2] in (arms.REAL, arms.MORE)}
        numbers = np.array(sorted(known))
        trainings, columns = known[numbers[0]].shape
        rng = generator(protocol.seed, Stream.UTILITY_BOOTSTRAP, 1)
        seeds = rng.integers(trainings, size=(columns - 1, trainings))
        means = np.stack([_means(known[n], seeds) for n in numbers])
        rises = estimate(list(known[numbers[-1]] - known[numbers[0]]), areas.patients[task]).interval().low > 0.0
        return cls(numbers, np.stack([isotonic_regression(column) for column in means.T], axis=1), seeds, bool(rises))

    def read(self, draws: np.ndarray, n: int, added: int) -> dict[str, object]:
        """Where an arm's area lies on the curve; at its ends no more is known than *at most* or *at least*."""
        blank = dict.fromkeys(("equivalent", "equivalent_low", "equivalent_high", "worth"), np.nan)
        if not self.rises:
            return blank | {"note": FLAT}
        found, first, last = _means(draws, self.seeds), *np.log(self.numbers[[0, -1]])
        logarithms = np.array([np.interp(value, curve, np.log(self.numbers))
                               for value, curve in zip(found, self.areas.T, strict=True)])
        values = np.exp(logarithms)
        low, high = np.nanquantile(values[1:], [0.5 - LEVEL / 2.0, 0.5 + LEVEL / 2.0])
        note = "at most" if logarithms[0] == first else "at least" if logarithms[0] == last else ""
        return {"equivalent": values[0], "equivalent_low": low, "equivalent_high": high,
                "worth": (values[0] - n) / added if added else np.nan, "note": note}


def _means(draws: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """`(1 + draws,)` means over trainings, as found, then over those drawn with each draw of patients."""
    return np.concatenate([[draws[:, 0].mean()], np.take_along_axis(draws[:, 1:].T, seeds, axis=1).mean(axis=1)])


def contrast_table(areas: Areas, cells: Sequence[arms.Cell], protocol: Protocol, *, margin: float) -> pd.DataFrame:
    """Every arm against real pairs alone, and synthetic pairs as they are against their controls, too.

    Args:
        margin: Of the area under the ROC curve, fixed beforehand.

    Returns:
        `_CONTRAST_COLUMNS`, one row an arm, task, learner and number of real patients. `difference` to real pairs alone
        has a 95 % interval; `lead` is that over the `control` (see `over_controls`) of which it is least sure, and `p`
        that of the less sure of the two. `family` is primary for synthetic pairs as they are in the task and with the
        learner of `PRIMARY`, whose `p_holm` is over encodings and numbers of patients (`tests`), and exploratory
        (`p_bh`, within task and learner) for the rest. `se_patients`, `sd_seeds`: the largest of these differences.
        `power` is that to see a gain of the margin. `verdict`: `equivalent` (the 90 % interval lies inside the margin),
        else `gain` or `loss` (adjusted p below alpha; no gain without a lead), else `matched` (a lead over a control is
        surely below the margin), else `underpowered` where power is below 80 %, else `inconclusive`.
    """
    rows = []
    for key in dict.fromkeys(cell[:-1] for cell in cells if cell.task != arms.SOURCE and cell.arm != arms.REAL):
        found, controls = areas.over_real(key), areas.over_controls(key)
        rows.append(dict(zip(_KEYS, key, strict=True)) | found.interval().columns("difference") | {
            "family": "primary" if key[:3] == (*PRIMARY, arms.SYNTHETIC) else "exploratory", "seeds": found.seeds,
            "patients": found.patients, "p": found.p(), "inner": found.interval(1.0 - 2.0 * protocol.alpha),
            **{name: max(getattr(one, name) for one in (found, *controls.values()))
               for name in ("se_patients", "sd_seeds")}, **_lead(found, controls, protocol.alpha)})
    table = pd.DataFrame(rows).assign(p_holm=np.nan, p_bh=np.nan, tests=1)
    for (_, _, family), places in table.groupby(["task", "learner", "family"]).groups.items():
        name, adjust = ("p_holm", holm) if family == "primary" else ("p_bh", benjamini_hochberg)
        table.loc[places, name] = adjust(table.loc[places, "p"])
        table.loc[places, "tests"] = len(places)
    table["power"] = [power(row.se_patients, row.sd_seeds, row.patients, row.seeds, margin=margin, alpha=protocol.alpha,
                            tests=row.tests, seed=protocol.seed)[0] for row in table.itertuples()]
    table["verdict"] = [_verdict(row, margin, protocol.alpha) for row in table.to_dict("records")]
    return table[list(_CONTRAST_COLUMNS)]


def _lead(found: Estimate, controls: Mapping[str, Estimate], alpha: float) -> dict[str, object]:
    """Over the control of which it is least sure; a gain over real pairs is no surer than that (a loss needs none)."""
    if not controls:
        return {"control": "", "lead": np.nan, "lead_low": np.nan, "lead_high": np.nan, "most": np.nan}
    doubt = {name: one.p() if one.value > 0 else 1.0 for name, one in controls.items()}
    name = max(doubt, key=lambda name: (doubt[name], -controls[name].value))
    most = min(one.interval(1.0 - 2.0 * alpha / len(controls)).high for one in controls.values())
    p = found.p() if found.value <= 0 else max(found.p(), doubt[name])
    return {"control": name, "p": p, "most": most} | controls[name].interval().columns("lead")


def _verdict(row: Mapping[str, object], margin: float, alpha: float) -> str:
    if -margin < row["inner"].low and row["inner"].high < margin:
        return EQUIVALENT
    if np.fmin(row["p_holm"], row["p_bh"]) < alpha:
        return GAIN if row["difference"] > 0 else LOSS
    if row["most"] < margin:
        return MATCHED
    return INCONCLUSIVE if row["power"] >= MIN_POWER else UNDERPOWERED
