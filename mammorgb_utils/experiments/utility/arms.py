"""The arms of the experiment: what is put beside the real pairs, and what each cell learns from and is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mammorgb_utils.data.pairs import HELDOUT, TRAIN
from mammorgb_utils.diffusion.randomness import control_order
from mammorgb_utils.experiments.utility.pool import Items, Pool, label_items, pairing_items
from mammorgb_utils.experiments.utility.tasks import FEWEST, PAIRING, Task, UtilityError, patient_order, sizes
from mammorgb_utils.streams import Stream, generator

REAL, AUGMENTED, DUPLICATED, MORE = "real", "augmented", "duplicated", "more real"
SYNTHETIC, SHUFFLED, ONLY = "synthetic", "shuffled", "synthetic only"
SOURCE = "source"  # the probe's task and arm: which pairs are synthetic
CNN, LOGISTIC = "cnn", "logistic"
LEARNERS = (CNN, LOGISTIC)
HELD_BACK = 0.25  # share of each synthetic set that no classifier learns from: what the probes are asked about


class Cell(NamedTuple):
    """One classifier: a row of the experiment."""

    task: str
    learner: str
    arm: str
    set: str  # encoding of the synthetic pairs, empty without
    n: int  # real patients
    added: int  # pairs besides: synthetic, repeated, or of more real patients
    seed: int


def plan(pool: Pool, tasks: Sequence[Task], n_real: Sequence[int], *, seeds: Sequence[int], added: float) -> list[Cell]:
    """Every cell; the real arm of a task, size and seed comes before those that need its scores.

    Args:
        n_real: Numbers of real patients; all there are is tried too.
        seeds: One classifier each.
        added: Synthetic pairs for each real patient, as far as there are so many.

    Raises:
        UtilityError: As `sizes`; or a synthetic set has too few pairs, or `added` asks for too few.
    """
    sets = [name for name in pool.parts if name not in (TRAIN, HELDOUT)]
    _require_synthetic(pool, sets)
    most, cells = min(len(learned_from(pool, name)) for name in sets), []
    for task in tasks:
        numbers = sizes(pool, task, n_real)
        for n in numbers:
            m = min(round(added * n), most)
            if m < FEWEST:
                raise UtilityError(f"added: {added:g} for each of {n} real patients are {m} synthetic pairs; {FEWEST} "
                                   "are the least, so ask for more")
            counts = {MORE: min(m, numbers[-1] - n), REAL: 0, AUGMENTED: 0}
            for learner in LEARNERS:
                cells += [Cell(task.name, learner, arm, name, n, counts.get(arm, m), seed)
                          for arm, name in _arms(task, learner, sets) if arm != MORE or counts[MORE]
                          for seed in seeds]
    k = min(most, len(patient_order(pool, tasks[0], 0)))
    return cells + [Cell(SOURCE, learner, SOURCE, name, k, k, seed) for learner in LEARNERS for name in sets
                    for seed in seeds]


def _require_synthetic(pool: Pool, sets: Sequence[str]) -> None:
    for name in sets:
        if min(len(learned_from(pool, name)), len(held_back(pool, name))) < FEWEST:
            raise UtilityError(f"samples/{name}: {len(pool.rows(name))} of {len(pool.parts[name])} pairs have masks in "
                               "both views, too few to learn from and to ask about; draw more (n_synthetic), or leave "
                               "the encoding out of encodings")


def _arms(task: Task, learner: str, sets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Arm and synthetic set. Single pairs have no pairing to shuffle, and a label that only real pairs can give;
    measured anatomy can't be augmented."""
    yield from ((arm, "") for arm in (REAL, AUGMENTED, DUPLICATED, MORE) if arm != AUGMENTED or learner == CNN)
    for arm in (SYNTHETIC, SHUFFLED, ONLY) if task.name == PAIRING else (SYNTHETIC,):
        yield from ((arm, name) for name in sets)


def learned_from(pool: Pool, name: str) -> np.ndarray:
    """Rows of a synthetic set that classifiers may learn from."""
    rows = pool.rows(name)
    return rows[:len(rows) - round(HELD_BACK * len(rows))]


def held_back(pool: Pool, name: str) -> np.ndarray:
    """The other rows of a synthetic set."""
    return pool.rows(name)[len(learned_from(pool, name)):]


def training_items(pool: Pool, task: Task, cell: Cell, scores: Mapping[str, np.ndarray]) -> Items:
    """What a cell learns from.

    Args:
        task: The cell's; of a probe, pairing.
        scores: Of the real arm of the same task, learner, size and seed: by synthetic set, of its rows in
            `learned_from`. They alone say what label a synthetic pair gets.
    """
    order = patient_order(pool, task, cell.seed)
    real = task.items(pool, order[:cell.n])
    if cell.arm in (REAL, AUGMENTED):
        return real
    if cell.arm == DUPLICATED:
        return real.repeated((cell.n + cell.added) / cell.n, generator(cell.seed, Stream.UTILITY_PATIENTS, 2))
    if cell.arm == MORE:
        return task.items(pool, order[:cell.n + cell.added])
    places = generator(cell.seed, Stream.UTILITY_PATIENTS, 1).permutation(len(learned_from(pool, cell.set)))
    rows, places = learned_from(pool, cell.set)[places[:cell.added]], places[:cell.added]
    if cell.arm == SOURCE:
        return label_items(np.concatenate([order[:cell.n], rows]), np.arange(cell.n + len(rows)) >= cell.n)
    if task.label is not None:
        return Items.joined(real, label_items(rows, _pseudo_labels(scores[cell.set][places], real.label.mean())))
    partners = rows[control_order(len(rows), cell.seed)] if cell.arm == SHUFFLED else None
    drawn = pairing_items(pool, rows, partners)
    return drawn if cell.arm == ONLY else Items.joined(real, drawn)


def _pseudo_labels(scores: np.ndarray, share: float) -> np.ndarray:
    """The highest scores are positive, in the same share as real pairs are: both classes grow alike."""
    return np.argsort(np.argsort(-scores, kind="stable")) < np.clip(round(share * len(scores)), 1, len(scores) - 1)


def asked_items(pool: Pool, task: Task, cell: Cell) -> dict[str, Items]:
    """What a cell is asked: of held-out patients always, and of the synthetic sets that probes or labels need."""
    if cell.arm == SOURCE:
        rows = [pool.rows(HELDOUT), held_back(pool, cell.set)]
        return {HELDOUT: label_items(np.concatenate(rows), np.repeat([False, True], [len(part) for part in rows]))}
    asked = {HELDOUT: task.items(pool, task.known(pool, HELDOUT))}
    sets = [name for name in pool.parts if name not in (TRAIN, HELDOUT)] if cell.arm == REAL else [cell.set]
    for name in sets if cell.arm in (REAL, SYNTHETIC) else []:
        if task.label is None:
            asked[name] = pairing_items(pool, held_back(pool, name))
        elif cell.arm == REAL:
            rows = learned_from(pool, name)
            asked[name] = label_items(rows, np.zeros(len(rows)))
    return asked
