"""One trial of an appendix: train, draw, measure; a finished one is loaded, a killed one continues."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammorgb_utils.diffusion.encoding import CONTROLS, THIRD_CHANNELS
from mammorgb_utils.diffusion.engine.base import base_sha256
from mammorgb_utils.diffusion.engine.loop import CHECKPOINTS, STATS
from mammorgb_utils.diffusion.engine.model_folder import RECORD, array_sha256, milestone_dir
from mammorgb_utils.diffusion.engine.sample_store import sample_study
from mammorgb_utils.diffusion.engine.state import Diverged
from mammorgb_utils.diffusion.sampling import open_for_sampling
from mammorgb_utils.diffusion.training import train, training_steps
from mammorgb_utils.evaluation.overlap import plausible
from mammorgb_utils.evaluation.sets import Indexed, StudySets, overlap_table, shuffled_table
from mammorgb_utils.evaluation.statistics import NoiseFloor, emd, noise_floor
from mammorgb_utils.experiments.pairing_gain import CANDIDATES, MIDDLE, gain_row, group_losses, groups_of_like_area
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import differences, exclusive, write_csv, write_json

CHANNELS = (*THIRD_CHANNELS, *CONTROLS)
QUALITY = ("iou_median", "shuffled_median", "gain", "emd", "plausible")
PAIRING = ("views_gain", "views_gain_low", "views_gain_high", "views_top1_relative")
_GROUPS = 10  # of held-out breasts on which a trial's own loss is measured: some seconds
DRAWN = "drawn"  # name of the set that a trial draws
TRIAL = "trial.json"
_COLUMNS = ("encoding", "seed", "learning_rate", "step", "epoch", "n", "n_nan", *QUALITY, "diverged",
            "training_seconds")
_HEAVY = (f"training/{CHECKPOINTS}", "training/milestones", "model", "samples")


class TrialError(ValueError):
    """A trial's folder can't be used; the message says why and what to do."""


def quality(drawn: pd.DataFrame, shuffled: pd.DataFrame, real: pd.DataFrame) -> dict[str, float]:
    """A synthetic set in the numbers of `QUALITY`, from its own rows of `overlap_table` and `shuffled_table` and the
    real ones of `overlap_table`; NaN where no pair has a mask."""
    known, to_real = drawn["iou"].dropna(), real["iou"].dropna()
    median, strangers = known.median(), shuffled["iou"].median()
    return {"iou_median": float(median), "shuffled_median": float(strangers), "gain": float(median - strangers),
            "emd": emd(known, to_real) if len(known) and len(to_real) else float("nan"),
            "plausible": float(plausible(drawn, real).mean())}


def real_floor(real: pd.DataFrame, n: int, protocol: Protocol) -> NoiseFloor:
    """EMD of IoU between `n` real patients (at most half of `overlap_table`'s) and all others: a perfect model's."""
    known = real.dropna(subset=["iou"])
    n = max(1, min(n, known["patient"].nunique() // 2))
    return noise_floor(known["iou"], n, emd, n_draws=protocol.n_permutations, seed=protocol.seed,
                       groups=known["patient"])


def run_trial(pairs: np.ndarray, real: pd.DataFrame, protocol: Protocol, encoding: str, folder: Path, *,
              heldout: Indexed | None = None, milestones: int = 1, keep_models: bool = False,
              progress: bool = True) -> pd.DataFrame:
    """Train one model, draw from it, measure what was drawn; at once when the folder holds this very trial.

    Args:
        pairs: `(N, 2, H, W)` float32 in [0, 1], the training pairs.
        real: The real set's rows of `overlap_table`.
        protocol: Budget, seed and learning rate; `n_synthetic` pairs are drawn at each milestone.
        encoding: A name in `CHANNELS`.
        folder: Gets `trial.json`, `overlap.csv` (one row a drawn pair) and `training/stats.jsonl`.
        heldout: Pairs that weren't learned from, with their index, where the model's own loss on them is wanted.
        milestones: Evenly spaced moments at which the model is drawn from; the last one is the end.
        keep_models: Whether checkpoints, models and samples stay when the trial is finished.

    Returns:
        One row a milestone: `encoding`, `seed`, `learning_rate`, `step`, `epoch`, `n`, `n_nan` (pairs without a mask);
        `iou_median`, `shuffled_median`, `gain` (their difference), `emd` (of IoU, to real), `plausible` (share, by the
        real areas); `diverged` (loss, gradient or weights were no numbers; milestones that weren't reached have n = 0)
        and `training_seconds` up to the end. With `heldout` the last one has those of `PAIRING`, as `gain_table` says.

    Raises:
        TrialError: The folder holds a trial with another protocol, other pairs or another base.
    """
    folder, steps = Path(folder), training_steps(protocol, len(pairs))
    if not 1 <= milestones <= steps:
        raise ValueError(f"milestones: {milestones} of a training of {steps} steps; use 1 to {steps}")
    moments = [round(steps * (i + 1) / milestones) for i in range(milestones)]
    identity = protocol.model_dump(mode="json") | {
        "encoding": encoding, "milestones": moments, "pairs_sha256": array_sha256(pairs),
        "real_sha256": array_sha256(real["iou"].to_numpy()), "base_sha256": base_sha256(protocol.base_model)}
    with exclusive(folder):
        record = _open(folder / TRIAL, json.loads(json.dumps(identity)))
        if "rows" not in record:
            record["rows"] = _perform(pairs, real, protocol, encoding, folder, moments, heldout, progress)
            write_json(folder / TRIAL, record)
        for part in () if keep_models else _HEAVY:
            shutil.rmtree(folder / part, ignore_errors=True)
    columns = [*_COLUMNS, *(PAIRING if heldout else ())]
    return pd.DataFrame(record["rows"], columns=columns).astype(dict.fromkeys({*QUALITY, *PAIRING} & {*columns}, float))


def _open(file: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The record of a trial that was begun; a folder of another one is refused."""
    if not file.is_file():
        write_json(file, {"identity": identity})
    record = json.loads(file.read_text(encoding="utf-8"))
    if changes := differences(Protocol.completed(record["identity"]), identity):
        raise TrialError(f"{file.parent.name} was begun as another trial ({'; '.join(changes)}); remove its folder "
                         "below appendices/ to do it anew, or go on with the parameters that it has")
    return record


def _perform(pairs: np.ndarray, real: pd.DataFrame, protocol: Protocol, encoding: str, folder: Path, moments: list[int],
             heldout: Indexed | None, progress: bool) -> list[dict[str, Any]]:
    training, model = folder / "training", folder / "model"
    try:
        train(pairs, protocol, encoding, training, model_dir=model, milestones=moments[:-1], progress=progress)
        diverged = False
    except Diverged:  # a result, not a failure
        diverged = True
    stats = pd.read_json(training / STATS, lines=True)
    seconds = float(stats["seconds"].sum()) if len(stats) else 0.0
    rows, tables = [], []
    for step in moments:
        rows.append({"encoding": encoding, "seed": protocol.seed, "learning_rate": protocol.learning_rate, "step": step,
                     "epoch": step * protocol.batch_size / len(pairs), "n": 0, "n_nan": 0, **dict.fromkeys(QUALITY),
                     "diverged": diverged, "training_seconds": seconds})
        then = model if step == moments[-1] else milestone_dir(training, step)
        if not (then / RECORD).is_file():
            continue
        drawn_pairs = sample_study(then, protocol, folder / "samples" / then.name / "pairs.npy", progress=progress)
        sets = StudySets.of({DRAWN: drawn_pairs}, protocol)
        drawn = overlap_table(sets)
        found = quality(drawn, shuffled_table(sets), real)
        tables.append(drawn.drop(columns=["set", "pair", "patient"]).assign(plausible=plausible(drawn, real),
                                                                            step=step))
        rows[-1] |= {"n": len(drawn), "n_nan": int(drawn["iou"].isna().sum()),
                     **{name: value if np.isfinite(value) else None for name, value in found.items()}}
    if tables:
        write_csv(folder / "overlap.csv", pd.concat(tables, ignore_index=True))
    if heldout and (model / RECORD).is_file():
        rows[-1] |= _pairing(model, heldout, encoding, protocol)
    return rows


def _pairing(model: Path, heldout: Indexed, encoding: str, protocol: Protocol) -> dict[str, float]:
    """The columns of `PAIRING`, at the middle timesteps; none where there are too few patients."""
    pairs, index = heldout
    groups = groups_of_like_area(pairs, index["patient"].to_numpy(), CANDIDATES, _GROUPS, protocol)
    if not len(groups):
        return {}
    losses = group_losses(open_for_sampling(model), pairs, groups, encoding, protocol, MIDDLE)
    found = gain_row(losses.mean(axis=-1), protocol)
    return {name: found[name.removeprefix("views_")] for name in PAIRING}
