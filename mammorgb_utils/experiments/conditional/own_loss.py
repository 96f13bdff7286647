"""Whether a model learned the grades at all: its own loss under the true one, without sampling and without a grader."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mammorgb_utils.diffusion.conditioning import labels_of
from mammorgb_utils.diffusion.encoding import encode_batch
from mammorgb_utils.diffusion.learning import denoising_losses
from mammorgb_utils.diffusion.sampling import open_for_sampling
from mammorgb_utils.evaluation.sets import Indexed
from mammorgb_utils.evaluation.statistics import Effect, patient_weights
from mammorgb_utils.experiments.conditional.arms import model_folder
from mammorgb_utils.experiments.conditional.judging import Judged
from mammorgb_utils.experiments.pairing_gain import MIDDLE
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run
from mammorgb_utils.streams import Stream, generator

COLUMNS = ["match_scope", "n", "chance", "gain", "gain_low", "gain_high", "top1", "top1_low", "top1_high"]


def own_loss(study: Run, real: Indexed, chosen: Sequence[str], encoding: str, protocol: Protocol,
             each: int) -> dict[str, object]:
    """How much lower a model's loss is under a pair's own grade than under none, and how often it is the lowest.

    Args:
        study: Whose model, of `arms.draw`.
        real: Held-out pairs of the matching, with the column `grade` in their index.
        chosen, encoding: Grades that the model learned, and what it was trained with.
        protocol: Names the matching; gives the sum's scale, seed and bootstrap draws.
        each: At most so many pairs of a grade are looked at, the first ones, one a patient.

    Returns:
        The values of `COLUMNS`: `gain` is a share of the loss without a label, at the middle timesteps and under the
        same noise; `top1` counts a loss that several grades share as one of so many. Grades count alike, so that
        `chance` is that of a model with one favourite; bounds are percentiles over patients.

    Source:
        A diffusion model as a classifier: Li et al. 2023.
    """
    pairs, index = real
    rows = index[index["grade"].isin(chosen)].drop_duplicates("patient").groupby("grade").head(each).index.to_numpy()
    images = encode_batch(torch.from_numpy(np.array(pairs[rows], np.float32)), encoding, protocol.sum_scale)
    opened = open_for_sampling(model_folder(study, protocol.match_scope, encoding) / "model")
    losses = np.stack([denoising_losses(*opened, images, seed=protocol.seed, timesteps=MIDDLE, label=int(label))
                       for label in labels_of([*chosen, ""])], axis=1).mean(axis=2)
    grades = index["grade"].to_numpy(str)[rows]
    own = losses[np.arange(len(rows)), [chosen.index(grade) for grade in grades]]
    lowest = losses[:, :-1] == losses[:, :-1].min(axis=1, keepdims=True)
    rng = generator(protocol.seed, Stream.GRADES, 1)
    drawn = patient_weights(len(rows), protocol.n_bootstrap, rng, n_values=len(rows))
    weights = np.concatenate([np.ones((len(rows), 1)), *drawn], axis=1)
    judged = Judged({}, {}, grades, rows, weights)
    mean, none, top1 = (judged.by_grade(values).mean(axis=0) for values in (
        own, losses[:, -1], (own == losses[:, :-1].min(axis=1)) / lowest.sum(axis=1)))
    found = {"gain": 1.0 - mean / none, "top1": top1}
    return {"match_scope": protocol.match_scope, "n": len(rows), "chance": 1.0 / len(chosen)} | {
        key: value for name, values in found.items()
        for key, value in Effect(values[0], *np.nanquantile(values[1:], (0.025, 0.975))).columns(name).items()}
