"""How far a study's models have learned: loss on held-out pairs, and whether they tell a pair from strangers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mammorgb_utils.diffusion.encoding import encode_batch
from mammorgb_utils.diffusion.engine.base import base_folder, load_base, pick_device
from mammorgb_utils.diffusion.engine.looks import strip_steps
from mammorgb_utils.diffusion.engine.model_folder import RECORD, milestone_dir
from mammorgb_utils.diffusion.learning import TIMESTEPS, denoising_losses
from mammorgb_utils.diffusion.pairing import pairing_losses
from mammorgb_utils.diffusion.sampling import open_for_sampling
from mammorgb_utils.diffusion.training import training_steps
from mammorgb_utils.evaluation.masks import breast_mask
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, read_table, write_csv

MIDDLE = (300, 450, 600)  # timesteps that hold what two views share
CANDIDATES = 8  # own MLO and seven strangers of like area
_CURVE = "learning_curve.csv"


def moments(protocol: Protocol, n_pairs: int) -> frozenset[int]:
    """Steps whose models are kept to be measured beside the last one: evenly spaced, as the strips of samples."""
    steps = training_steps(protocol, n_pairs)
    return strip_steps(steps) - {steps}


def strangers_of_like_area(areas: np.ndarray, patients: np.ndarray, n: int) -> np.ndarray:
    """`(N, 1 + n)` rows of views: each one's own first, then the `n` of other patients whose area is nearest."""
    apart = np.abs(areas[:, None] - areas[None]).astype(float)
    apart[np.asarray(patients)[:, None] == np.asarray(patients)[None]] = np.inf
    return np.column_stack([np.arange(len(areas)), np.argsort(apart, axis=1, kind="stable")[:, :n]])


def learning_curve(run: Run, encoding: str, pairs: np.ndarray, patients: np.ndarray, n: int) -> pd.DataFrame:
    """Loss and pairing gain of an encoding's models, from the base (step 0) to the last; computed once, then read.

    Args:
        run: A study whose encoding is trained.
        encoding: Which.
        pairs, patients: `(N, 2, H, W)` in [0, 1] that no model saw, and their patients.
        n: How many of them are measured, the first ones.

    Returns:
        One row a step and timestep: `encoding`, `step`, `timestep`, `n`, `loss` (mean squared error of the
        prediction), and at the middle timesteps `gain` (how much less the loss is beside the own MLO than beside
        strangers of like area, as a share) and `top1` (share of pairs whose own MLO has the lowest loss of eight).
    """
    file, digest = run.training(encoding) / _CURVE, _record(run.model(encoding))["digest"]
    known = read_table(file) if file.is_file() else pd.DataFrame({"model": []})
    if len(known) and (known["model"] == digest).all() and (known["n"] == n).all():
        return known.drop(columns="model")
    pairs, patients = np.asarray(pairs[:n], np.float32), np.asarray(patients)[:n]
    areas = np.array([breast_mask(view, run.protocol.mask_method).sum() for view in pairs[:, 1]])
    candidates = strangers_of_like_area(areas, patients, CANDIDATES - 1)
    rows = [row for step, folder in _models(run, encoding).items()
            for row in _measured(folder, step, encoding, pairs, candidates, run.protocol)]
    table = pd.DataFrame(rows).assign(encoding=encoding, n=n, model=digest)
    write_csv(file, table)
    return table.drop(columns="model")


def _record(folder: Path) -> dict:
    return json.loads((folder / RECORD).read_text(encoding="utf-8"))


def _models(run: Run, encoding: str) -> dict[int, Path]:
    last = _record(run.model(encoding))["steps"]
    kept = {step: milestone_dir(run.training(encoding), step) for step in sorted(strip_steps(last) - {last})}
    return {0: base_folder(run.protocol.base_model),
            **{step: folder for step, folder in kept.items() if (folder / RECORD).is_file()},
            last: run.model(encoding)}


def _measured(folder: Path, step: int, encoding: str, pairs: np.ndarray, candidates: np.ndarray,
              protocol: Protocol) -> list[dict[str, float]]:
    model = open_for_sampling(folder) if step else load_base(protocol.base_model, protocol.image_size)
    model[0].to(pick_device()).eval()
    images = encode_batch(torch.from_numpy(pairs), encoding, protocol.sum_scale)
    own = denoising_losses(*model, images, seed=protocol.seed).mean(axis=0)
    rows = {t: {"step": step, "timestep": t, "loss": loss} for t, loss in zip(TIMESTEPS, own, strict=True)}
    losses = pairing_losses(model, pairs, candidates, encoding, seed=protocol.seed, sum_scale=protocol.sum_scale,
                            timesteps=MIDDLE)
    for t, those in zip(MIDDLE, np.moveaxis(losses, -1, 0), strict=True):
        others = those[:, 1:].mean(axis=1)
        rows[t] |= {"gain": float(((others - those[:, 0]) / others).mean()),
                    "top1": float((those.argmin(axis=1) == 0).mean())}
    return list(rows.values())
