"""Training and asking every classifier of the experiment; what is done is loaded, a killed run continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mammorgb_utils.diffusion.engine.model_folder import array_sha256
from mammorgb_utils.diffusion.engine.progress import progress_bar
from mammorgb_utils.experiments.utility import logistic, siamese
from mammorgb_utils.experiments.utility.arms import AUGMENTED, LOGISTIC, REAL, Cell, asked_items, training_items
from mammorgb_utils.experiments.utility.pool import Items, Pool
from mammorgb_utils.experiments.utility.tasks import Task
from mammorgb_utils.output.records import samples_digests
from mammorgb_utils.runs import Run, atomic_path, digest, exclusive, sha256

Scores = dict[str, np.ndarray]  # by what was asked, of each of its items


def run_cells(run: Run, pool: Pool, tasks: Sequence[Task], cells: Sequence[Cell], *, steps: int,
              progress: bool = True) -> dict[Cell, Scores]:
    """The scores of every cell, each computed once, to `appendices/B3/<task>/<learner>/`.

    Args:
        pool, tasks, cells: What `study_pool`, `study_tasks` and `plan` gave; a probe of the source asks with the first
            task's patients.
        steps: Optimiser steps of every network.
    """
    by_name, found = {task.name: task for task in tasks}, {}
    with exclusive(run.appendix("B3")):
        known = {"steps": steps, "pairs": sha256(run.pairs), "samples": samples_digests(run.root),
                 "anatomy": digest({"rows": pd.util.hash_pandas_object(pool.anatomy).astype(str).tolist()}),
                 "network": siamese.settings(), "logistic": logistic.settings()}
        with progress_bar("classifiers", len(cells), show=progress, unit="classifier") as bar:
            for cell in cells:
                task = by_name.get(cell.task, tasks[0])
                real = found.get(cell._replace(arm=REAL, set="", added=0), {})
                found[cell] = _scores(run, pool, task, cell, real, known, steps)
                bar.update()
    return found


def _scores(run: Run, pool: Pool, task: Task, cell: Cell, real: Scores, known: Mapping[str, object],
            steps: int) -> Scores:
    learned, asked = training_items(pool, task, cell, real), asked_items(pool, task, cell)
    content = {name: [array_sha256(column) for column in items]
               for name, items in ({"learned": learned} | asked).items()}
    identity = digest({"cell": cell._asdict(), "items": content, **known})
    name = "-".join(str(part).replace(" ", "_") for part in (cell.arm, cell.set, cell.n, cell.seed) if part != "")
    file = run.appendix("B3") / cell.task / cell.learner / f"{name}.safetensors"
    scores = _stored(file, identity)
    if not scores:
        scores = _answers(pool, cell, learned, asked, steps)
        with atomic_path(file) as temporary:
            save_file(scores, temporary, metadata={"digest": identity})
    return scores


def _stored(file: Path, identity: str) -> Scores:
    """What a finished cell of this very identity said; empty where there is none."""
    try:
        with safe_open(file, framework="numpy") as stored:
            whole = stored.metadata().get("digest") == identity
            return {name: stored.get_tensor(name) for name in stored.keys()} if whole else {}
    except (OSError, SafetensorError):
        return {}


def _answers(pool: Pool, cell: Cell, learned: Items, asked: Mapping[str, Items], steps: int) -> Scores:
    if cell.learner == LOGISTIC:
        model = logistic.fit_logistic(pool, learned)
        return {name: logistic.score_logistic(model, pool, items) for name, items in asked.items()}
    model = siamese.fit_siamese(pool, learned, steps=steps, seed=cell.seed, augment=cell.arm == AUGMENTED)
    return {name: siamese.score_siamese(model, pool, items) for name, items in asked.items()}
