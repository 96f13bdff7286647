"""What B1 trains and draws: one conditional model under the study's matching, and one on views that aren't matched."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import HELDOUT, TRAIN, load_pairs
from mammorgb_utils.diffusion.conditioning import FEWEST, GRADES
from mammorgb_utils.diffusion.engine.loop import CHECKPOINTS
from mammorgb_utils.diffusion.engine.sample_store import sample_study
from mammorgb_utils.diffusion.training import train
from mammorgb_utils.evaluation.anatomy import true_anatomy
from mammorgb_utils.evaluation.sets import Indexed
from mammorgb_utils.experiments.preprocessing.variants import STUDY, Variant, preprocess_variants
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run

FEWEST_HELDOUT = 5  # held-out pairs of a grade: with fewer it can't be judged, and so isn't learned
UNMATCHED = "none"  # the scope that leaves a view's intensities as they are
Drawn = dict[tuple[float, str], np.ndarray]  # by guidance and grade; of guidance 0 one set, of no grade


def grades_of(study: Run, index: pd.DataFrame) -> np.ndarray:
    """`(N,)` density of each pair, A to D or empty where unknown: the manifest's, or else that of the phantoms."""
    if "density" in index:
        known = index["density"]
    else:
        truth = true_anatomy(study, with_artefacts=True)
        known = index["pair"].map(dict(zip(truth["pair"], truth.get("birads_density", []), strict=True)))
    known = known.astype(object).fillna("").astype(str).str.upper()
    return known.where(known.isin(GRADES), "").to_numpy(str)


def runs_by_matching(study: Run, *, progress: bool = True) -> dict[str, Run]:
    """The study by its own `match_scope` and, beside it, its views without any matching.

    The latter are those of A3, in `appendices/A3/match-none/`: what is there is loaded.
    """
    variants = [Variant(STUDY, STUDY, "as it is")]
    if study.protocol.match_scope != UNMATCHED:
        variants.append(Variant(f"match-{UNMATCHED}", "match_scope", UNMATCHED))
    return {run.protocol.match_scope: run for run in preprocess_variants(study, variants, progress=progress).values()}


def graded(study: Run, run: Run, split: str, chosen: Iterable[str]) -> Indexed:
    """A split's pairs and their index with the column `grade`, which is empty for grades that aren't `chosen`."""
    pairs, index = load_pairs(run, split)
    grades = grades_of(study, index)
    return pairs, index.assign(grade=np.where(np.isin(grades, list(chosen)), grades, ""))


def grade_counts(study: Run) -> pd.DataFrame:
    """How many training and held-out pairs a grade has, `unknown` last, and whether both suffice for it to be `learned`
    and judged."""
    found = {split: grades_of(study, load_pairs(study, split)[1]) for split in (TRAIN, HELDOUT)}
    counts = {split: [int((grades == grade).sum()) for grade in (*GRADES, "")] for split, grades in found.items()}
    table = pd.DataFrame({"grade": [*GRADES, "unknown"], **counts})
    enough = (table[TRAIN] >= FEWEST) & (table[HELDOUT] >= FEWEST_HELDOUT)
    return table.assign(learned=enough & (table["grade"] != "unknown"))


def model_folder(study: Run, match_scope: str, encoding: str) -> Path:
    """Below which training, model and samples of a matching lie."""
    return study.appendix("B1") / f"{match_scope}-{encoding}"


def draw(study: Run, run: Run, chosen: Sequence[str], budget: Protocol, encoding: str, weights: Sequence[float], *,
         progress: bool = True) -> Drawn:
    """Train one model on labelled pairs and draw each grade at each guidance; what is finished is loaded.

    Image i of every set starts from the same noise.

    Args:
        study, run: Whose grades and whose views are learned; `model_folder` gets training, model and samples.
        chosen: Grades that are learned; other pairs are trained on without a label.
        budget: The study's protocol with the appendix's `epochs` and `n_synthetic`, the number of each set.
        weights: Guidance; at 0 one set is drawn, of no grade.

    Returns:
        `(n, 2, H, W)` float32 in [0, 1] by (guidance, grade), memory-mapped.
    """
    folder = model_folder(study, run.protocol.match_scope, encoding)
    pairs, index = graded(study, run, TRAIN, chosen)
    asked = budget.changed(condition="density")
    model = train(pairs, asked, encoding, folder / "training", model_dir=folder / "model", grades=index["grade"],
                  progress=progress)
    shutil.rmtree(folder / "training" / CHECKPOINTS, ignore_errors=True)
    sets = [(weight, grade) for weight in weights for grade in (chosen if weight else ("",))]
    return {(weight, grade): sample_study(model, asked, folder / "samples" / f"{weight:g}{grade}" / "pairs.npy",
                                          grade=grade, guidance=weight, progress=progress) for weight, grade in sets}
