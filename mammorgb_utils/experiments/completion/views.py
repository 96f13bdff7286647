"""Views drawn beside given ones, and what else could be taken for the other view: baselines, and phantoms anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mammorgb_utils.data.base_views import phantom_view
from mammorgb_utils.data.pairs import HELDOUT, TRAIN, load_pairs
from mammorgb_utils.data.phantom import make_breast
from mammorgb_utils.data.preprocess import load_reference_cdf
from mammorgb_utils.diffusion.engine.sample_store import completed_views
from mammorgb_utils.evaluation.anatomy import true_anatomy
from mammorgb_utils.evaluation.anatomy.agreement import with_masks
from mammorgb_utils.evaluation.sets import REAL
from mammorgb_utils.evaluation.threads import on_every_core
from mammorgb_utils.output.records import read_json
from mammorgb_utils.protocol import VIEWS
from mammorgb_utils.runs import Run, digest, exclusive, read_table, write_array, write_json
from mammorgb_utils.streams import Stream, generator

COMPLETED, UNCONDITIONAL, NEAREST, GIVEN, MIRRORED, MEAN, ANEW = SETS = (
    "completed", "unconditional", "nearest", "given", "mirrored", "mean", "anew")
_BLOCK = 64  # given views whose distances to all training views are held in memory


class CompletionError(ValueError):
    """There is nothing to complete; the message says why."""


@dataclass(frozen=True)
class Asked:
    """Held-out breasts of which one view is given, and all that could be taken for the other.

    Attributes:
        given, asked: CC and MLO, or the other way round.
        real: Anatomy of all held-out pairs with masks, as metrics/anatomy.csv has it: among them the own view is looked
            for.
        rows: `(n,)` rows of `real`: the breasts, one a patient.
        true: `(n, 2, H, W)` float32 in [0, 1], CC first: the pairs themselves.
        views: By set `(n, m, H, W)`, views that stand for the asked one; one each where nothing is drawn. Black where a
            set has none: of phantoms with an artefact, and of patients, none is exposed anew.
    """

    given: str
    asked: str
    real: pd.DataFrame
    rows: np.ndarray
    true: np.ndarray
    views: dict[str, np.ndarray]

    @property
    def direction(self) -> str:
        return f"{self.given} → {self.asked}"


def asked_views(run: Run, given: str, encoding: str, n: int, draws: int, *, progress: bool = True) -> Asked:
    """Complete held-out breasts, and gather what else could be taken for their other view.

    Drawn views and phantoms are kept below `appendices/B2/`; a killed call continues.

    Args:
        run: A study with models, samples and metrics/anatomy.csv.
        given: The view that is given, CC or MLO.
        encoding: Whose model draws.
        n: Breasts, at most; the same ones in both directions.
        draws: Views a breast, of each set that can give several.

    Returns:
        Sets in the order of `SETS`: drawn beside the given view; the study's samples of the same model, drawn beside
        nothing; of training pairs whose given view is nearest; the given view as it is, and turned over from top to
        bottom; the mean of the training pairs; and the phantom itself, positioned and compressed anew.

    Raises:
        CompletionError: No real pair of the study was held out of training.
    """
    encoding = run.encodings(encoding)[0]
    column, folder = VIEWS.index(given), run.appendix("B2") / f"{encoding}-{given}"
    (pairs, index), train = load_pairs(run, HELDOUT), load_pairs(run, TRAIN)[0]
    beside, others = train[:, column], train[:, 1 - column]
    real, rows = _breasts(read_table(run.anatomy), index, n, run)
    if not len(rows):
        raise CompletionError("no held-out pair with masks is among the study's real ones, and a model can be asked "
                              "only for views that it never saw; set real_split to heldout or all")
    true = np.asarray(pairs[index.set_index("pair").index.get_indexer(real["pair"].iloc[rows])], np.float32)
    shown = np.ascontiguousarray(true[:, column])
    drawn = np.load(run.samples(encoding), mmap_mode="r")
    rng = generator(run.protocol.seed, Stream.UNCONDITIONAL_VIEWS, column)
    some = np.array([rng.choice(len(drawn), draws, replace=len(drawn) < draws) for _ in rows]).reshape(-1, draws)
    with exclusive(folder):
        anew = _anew(run, real["pair"].iloc[rows], VIEWS[1 - column], draws, folder / "anew.npy")
    completed = completed_views(run.model(encoding), run.protocol, shown, given, draws, folder / "drawn" / "views.npy",
                                progress=progress)
    mean = others.mean(axis=0, dtype=np.float64).astype(np.float32)
    views = {COMPLETED: completed, UNCONDITIONAL: drawn[:, 1 - column][some],
             NEAREST: others[_nearest(shown, beside, draws)], GIVEN: shown[:, None], MIRRORED: shown[:, None, ::-1],
             MEAN: np.broadcast_to(mean, shown[:, None].shape), ANEW: anew}
    return Asked(given, VIEWS[1 - column], real, rows, true, views)


def _breasts(measured: pd.DataFrame, index: pd.DataFrame, n: int, run: Run) -> tuple[pd.DataFrame, np.ndarray]:
    """Held-out pairs with masks, and the rows of those that are completed: one a patient, drawn by the seed."""
    real = measured[(measured["set"] == REAL) & measured["pair"].isin(index["pair"])]
    real = real[with_masks(real)].reset_index(drop=True)
    order = generator(run.protocol.seed, Stream.COMPLETED_BREASTS).permutation(len(real))
    return real, order[~real["patient"].iloc[order].duplicated().to_numpy()][:n]


def _nearest(shown: np.ndarray, train: np.ndarray, n: int) -> np.ndarray:
    """`(len(shown), n)` rows of the training views that differ least in their pixels, the nearest first."""
    flat, found = np.asarray(train, np.float32).reshape(len(train), -1), []
    squares = (flat**2).sum(axis=1)
    for start in range(0, len(shown), _BLOCK):
        block = shown[start:start + _BLOCK].reshape(-1, flat.shape[1])
        found.append(np.argsort(squares - 2.0 * block @ flat.T, axis=1, kind="stable")[:, :n])
    return np.concatenate([np.zeros((0, min(n, len(train))), int), *found])


def _anew(run: Run, names: pd.Series, view: str, draws: int, file: Path) -> np.ndarray:
    """`(n, draws, H, W)` of the same phantoms, exposed anew."""
    keys = names.map(true_anatomy(run).set_index("pair").get("seed_key", pd.Series(dtype=object)))
    reference, size = load_reference_cdf(run.protocol), run.protocol.image_size
    made_from = digest({"keys": [str(key) for key in keys], "view": view, "draws": draws,
                        "protocol": run.protocol.model_dump(mode="json"), "reference": reference.sha256})
    if read_json(file.with_suffix(".json")).get("digest") != made_from or not file.is_file():
        def exposed(key: object) -> np.ndarray:
            if not isinstance(key, str):
                return np.zeros((draws, size, size), np.float32)
            numbers = [int(part) for part in key.split()]
            return np.stack([phantom_view(make_breast(numbers, exposure=exposure), view, reference, run.protocol)
                             for exposure in range(1, draws + 1)])

        views = list(on_every_core(exposed, keys))
        write_array(file, np.stack(views) if views else np.zeros((0, draws, size, size), np.float32))
        write_json(file.with_suffix(".json"), {"digest": made_from})
    return np.load(file, mmap_mode="r")
