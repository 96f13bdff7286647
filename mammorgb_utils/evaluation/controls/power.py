"""How often the study's criteria see a fault: real pairs, degraded or not, scored again and again as if synthetic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.beyond import MAX_TRAIN
from mammorgb_utils.evaluation.controls.criteria import CRITERIA, LABELS, Reference
from mammorgb_utils.evaluation.controls.degrade import CONTROLS, NONE, Part, Parts, composed, measured_pairs
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.sets import Indexed
from mammorgb_utils.evaluation.statistics import MIN_PAIRS, UNKNOWN, wilson
from mammorgb_utils.evaluation.threads import on_every_core
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

SEES = 0.8  # of the draws: a criterion that fires as often sees the fault
_DRAWN_OF = 2 / 3  # of the held-out pairs, at most, play the synthetic ones
_LARGEST = 200, 300  # pairs that play the synthetic ones, and real ones: minutes; a larger study sees no less


def control_table(heldout: Indexed, train: Indexed, protocol: Protocol) -> pd.DataFrame:
    """Share of repeated draws in which each of the study's criteria sees each control at each dose.

    A draw takes `n_synthetic` pairs of those held out of training (at most two thirds of them) for the synthetic ones,
    and as many others, of either split, as the study's real set has; of larger studies 200 and 300, so that what is
    seen is the least that the study sees. No model takes part.

    Args:
        heldout, train: Real pairs and their index, patients apart. Without one of them the other plays both parts, and
            nothing is said about memorisation.
        protocol: Gives sizes, mask method, alpha and seed; `n_bootstrap` / 100 draws are made.

    Returns:
        One row a measure, `control` and `dose` of `CONTROLS`: `n`, `n_real` (of memorised: the held-out pairs that set
        the threshold), `draws` in which the criterion could be applied, `seen` (share of them) with `low`, `high`
        (Wilson), `note`: `sees nothing` for a measure that sees no fault at any dose in `SEES` of the draws,
        `false alarms` for one that surely sees real pairs as they are more often than `alpha`, `too few pairs`.

    Source:
        Each measure by the study's own criterion, see docs/statistics.md; with fewer random draws behind each.
    """
    if not len(heldout[0]):
        heldout, train = train, heldout
    n = min(protocol.n_synthetic, int(_DRAWN_OF * len(heldout[0])), _LARGEST[0])
    n_real = {"heldout": len(heldout[0]), "train": len(train[0]), "all": len(heldout[0]) + len(train[0])}
    n_real = min(protocol.n_real or n_real[protocol.real_split], len(heldout[0]) + len(train[0]) - n, _LARGEST[1])
    if n < MIN_PAIRS:
        return _shares(pd.DataFrame([{"measure": measure, "control": control, "dose": dose, "n": n, "n_real": n_real,
                                      "seen": np.nan} for measure in LABELS.values()
                                     for control, doses in CONTROLS.items() for dose in doses]), protocol.alpha)
    parts = measured_pairs(heldout, train, 2 * n, protocol)
    light = protocol.changed(n_bootstrap=min(protocol.n_bootstrap, 200))
    draws = range(max(2, protocol.n_bootstrap // 100))
    found = pd.DataFrame([row for rows in on_every_core(lambda draw: list(_draw(draw, parts, n, n_real, light)), draws)
                          for row in rows])
    return _shares(found, protocol.alpha)


def _draw(number: int, parts: Parts, n: int, n_real: int, protocol: Protocol) -> Iterator[dict]:
    """What every criterion says of every control, in one draw of patients."""
    whole, n_changed = parts[NONE], min(len(part.rows) for part in parts.values())
    rng = generator(protocol.seed, Stream.CONTROLS, 2, number)
    owner = np.unique(whole.rows["patient"], return_inverse=True)[1]
    order = np.argsort(rng.permutation(owner.max() + 1)[owner], kind="stable")  # pairs of a patient follow one another
    own = order[order < n_changed][:n]
    others = order[~np.isin(owner[order], owner[own])]
    real, rest = others[:n_real], others[n_real:]
    rest = rest[~np.isin(owner[rest], owner[real])][:MAX_TRAIN]
    held = whole.rows.iloc[np.sort(others)]
    against = Reference(whole.take(real), whole.rows.iloc[rest], held[held["heldout"]], protocol,
                        protocol.seed + number)
    for control, doses in CONTROLS.items():
        for dose in doses:
            taken = [parts[key].take(rows) for key, rows in composed(control, dose, rng.permutation(own)).items()]
            rows = pd.concat([part.rows for part in taken], ignore_index=True)
            rows["pair"] = [f"{place:05d}" for place in range(len(rows))]
            if control == "collapse":  # what a model repeats counts as a patient each time, as all that it draws
                rows["patient"] = rows["pair"]
            candidate = Part(rows, PairMasks.joined(part.masks for part in taken))
            for criteria in CRITERIA:
                for measure, seen in criteria(candidate, against).items():
                    yield {"measure": LABELS[measure], "control": control, "dose": dose, "n": len(rows),
                           "n_real": len(against.held if measure == "memorised" else real), "seen": seen}


def _shares(found: pd.DataFrame, alpha: float) -> pd.DataFrame:
    rows = []
    for (measure, control, dose), part in found.groupby(["measure", "control", "dose"], sort=False):
        known = part["seen"].dropna().astype(bool)
        share = wilson(int(known.sum()), len(known)) if len(known) else UNKNOWN
        rows.append({"measure": measure, "control": control, "dose": dose, "n": int(part["n"].max()),
                     "n_real": int(part["n_real"].max()), "draws": len(known)} | share.columns("seen"))
    table = pd.DataFrame(rows).rename(columns={"seen_low": "low", "seen_high": "high"})
    table = table.sort_values("measure", key=lambda names: names.map(list(LABELS.values()).index), kind="stable",
                              ignore_index=True)
    real = table["control"] == NONE[0]
    blind = table.assign(faults=table["seen"].where(~real)).groupby("measure")["faults"].max() < SEES
    alarms = table[real].set_index("measure")["low"] > alpha
    tested = table.groupby("measure")["draws"].max() > 0
    notes = {name: "; ".join(["sees nothing"] * bool(blind[name]) + ["false alarms"] * bool(alarms[name]))
             if tested[name] else "too few pairs" for name in blind.index}
    return table.assign(note=table["measure"].map(notes))


def smallest_doses(table: pd.DataFrame) -> pd.DataFrame:
    """Of each measure, how often it sees real pairs as they are, and each control's smallest dose that it sees.

    Returns:
        One row a measure: `measure`, `false_alarms`, a column a control (NaN where it sees none), `note`.
    """
    faults = table[(table["control"] != NONE[0]) & (table["seen"] >= SEES)]
    smallest = faults.groupby(["measure", "control"])["dose"].min().unstack()
    real = table[table["control"] == NONE[0]].set_index("measure")
    shown = pd.DataFrame({"false_alarms": real["seen"]})
    shown = shown.join(smallest.reindex(columns=[name for name in CONTROLS if name != NONE[0]]))
    return shown.join(real["note"]).reset_index()
