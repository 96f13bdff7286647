"""A7: do models know which views belong together: their own loss on a pair against that on strangers of like area."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from diffusers import DDPMScheduler, UNet2DModel
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from scipy import stats
from tqdm import tqdm

from mammorgb_utils.data.pairs import HELDOUT, TRAIN, load_pairs
from mammorgb_utils.diffusion.engine.base import base_sha256, load_base, pick_device
from mammorgb_utils.diffusion.engine.model_folder import RECORD, array_sha256
from mammorgb_utils.diffusion.pairing import pairing_losses
from mammorgb_utils.diffusion.sampling import open_for_sampling
from mammorgb_utils.evaluation.anatomy.matching import TooFewPairs, fit_matcher
from mammorgb_utils.evaluation.masks import breast_mask
from mammorgb_utils.evaluation.statistics import Effect, patient_weights, wilson
from mammorgb_utils.output import style
from mammorgb_utils.output.records import read_json
from mammorgb_utils.protocol import SET_ORDER, Protocol
from mammorgb_utils.runs import Run, digest, exclusive, write_array, write_json
from mammorgb_utils.streams import Stream, generator

CANDIDATES = 8  # K: the own MLO and seven strangers'
MIDDLE = (300, 450, 600)  # timesteps that hold what two views share
TIMESTEPS = (*MIDDLE, 750)
BASE, ANATOMY = "base", "anatomy"  # which never saw pairs; what measured anatomy reaches on the same real pairs
_COLUMNS = ("set", "timestep", "k", "chance", "n", "own", "strangers", "gain", "gain_low", "gain_high", "top1",
            "top1_low", "top1_high", "top1_relative", "top1_relative_low", "top1_relative_high")
_LOSSES = ["own", "strangers", "gain", "gain_low", "gain_high"]  # columns that anatomy doesn't have
_LOOKED_AT = 600  # held-out patients among whom breasts of like area are looked for
_GROUPS = (60, 25)  # one group in so many held-out pairs, and at most: minutes of a CPU


def groups_of_like_area(pairs: np.ndarray, patients: np.ndarray, size: int, n: int, protocol: Protocol) -> np.ndarray:
    """Breasts of different patients, alike in the area of both views' masks, drawn by the seed.

    In a group every MLO stands beside each CC, its own and the others', so that an MLO which is easy for a model helps
    own pairs and strangers alike: chance is exactly one in the group's size.

    Returns:
        `(n, size)` rows of `pairs`, smaller breasts first; fewer groups, down to none, where there are fewer patients.
    """
    rows = generator(protocol.seed, Stream.PROBED_PAIRS).permutation(len(pairs))
    rows = rows[~pd.Series(np.asarray(patients)[rows]).duplicated().to_numpy()][:_LOOKED_AT]
    areas = np.array([[breast_mask(view, protocol.mask_method).sum() for view in pairs[row]] for row in rows])
    seen = areas.reshape(-1, 2).all(axis=1)
    order = rows[seen][np.argsort(areas.reshape(-1, 2)[seen].sum(axis=1), kind="stable")]
    groups = order[:len(order) // size * size].reshape(-1, size)
    return groups[np.unique(np.linspace(0, max(len(groups) - 1, 0), min(n, len(groups))).round().astype(int))]


def group_losses(model: tuple[UNet2DModel, DDPMScheduler], pairs: np.ndarray, groups: np.ndarray, encoding: str,
                 protocol: Protocol, timesteps: tuple[int, ...] = TIMESTEPS) -> np.ndarray:
    """`(G, K, K, len(timesteps))` losses of each CC (second axis) of a group beside each of its MLO views (third)."""
    n, size = groups.shape
    if n == 0:
        return np.zeros((0, size, size, len(timesteps)))
    model[0].to(pick_device()).eval()
    places = (np.arange(size)[:, None] + np.arange(size)) % size  # the own one first
    candidates = (size * np.arange(n)[:, None, None] + places).reshape(n * size, size)
    losses = pairing_losses(model, np.asarray(pairs[groups.ravel()], np.float32), candidates, encoding,
                            seed=protocol.seed, sum_scale=protocol.sum_scale, timesteps=timesteps)
    return np.take_along_axis(losses.reshape(n, size, size, -1), np.argsort(places, axis=1)[None, :, :, None], axis=2)


def model_losses(run: Run, *, progress: bool = True) -> tuple[dict[str, np.ndarray], pd.Series]:
    """What the study's models, and the base, say of held-out pairs; of each model computed once a study.

    Returns:
        `(G, K, K, len(TIMESTEPS))`, as `group_losses`, of each encoding and of `BASE`, whose third channel is zero:
        it knows no other; and the names of the pairs, group by group.
    """
    pairs, index = load_pairs(run, HELDOUT)
    groups = groups_of_like_area(pairs, index["patient"].to_numpy(), CANDIDATES,
                                 int(np.clip(len(pairs) // _GROUPS[0], 1, _GROUPS[1])), run.protocol)
    known = {"pairs": array_sha256(np.asarray(pairs[groups.ravel()])), "timesteps": TIMESTEPS,
             "channels": "views", "protocol": {name: getattr(run.protocol, name) for name in ("seed", "sum_scale")}}
    models, found = {BASE: None} | {name: run.model(name) for name in run.encodings()}, {}
    with exclusive(run.appendix("A7")):
        for name, folder in tqdm(models.items(), desc="pairing", unit="model", disable=not progress):
            file, encoding = run.appendix("A7") / f"{name}.npy", "zero" if folder is None else name
            made_from = known | {"encoding": encoding, "model": model_digest(run, folder)}
            if not file.is_file() or read_json(file.with_suffix(".json")).get("digest") != digest(made_from):
                model = open_any(run, folder)
                write_array(file, group_losses(model, pairs, groups, encoding, run.protocol))
                write_json(file.with_suffix(".json"), {"digest": digest(made_from)})
            found[name] = np.load(file)
    return found, index["pair"].iloc[groups.ravel()].reset_index(drop=True)


def model_digest(run: Run, folder: Path | None) -> str:
    """What decides a trained model's weights, or, without a folder, those of the study's base."""
    return base_sha256(run.protocol.base_model) if folder is None else str(read_json(folder / RECORD).get("digest"))


def open_any(run: Run, folder: Path | None) -> tuple[UNet2DModel, DDPMScheduler]:
    """A trained model and its noise schedule, or, without a folder, the study's base."""
    return load_base(run.protocol.base_model, run.protocol.image_size) if folder is None else open_for_sampling(folder)


def anatomy_losses(measured: pd.DataFrame, names: pd.Series) -> np.ndarray:
    """As `model_losses` of one timestep, by measured anatomy: the ceiling that real pairs give.

    Args:
        measured: metrics/anatomy.csv; the matcher learns from its training pairs.
        names: Of the pairs, group by group.

    Returns:
        `(G, K, K, 1)`; no groups where there is too little to learn from, or a pair isn't among the real ones.
    """
    own = measured[measured["set"] == "real"].set_index("pair").reindex(names).reset_index()
    shape = (-1, CANDIDATES)
    train = measured[measured["set"] == TRAIN]
    try:
        scores = -fit_matcher(train).scores(own) if len(own) else np.zeros((0, 0))
    except TooFewPairs:
        return np.zeros((0, CANDIDATES, CANDIDATES, 1))
    rows = np.arange(len(own)).reshape(shape)
    known = own["cc_area"].notna().to_numpy().reshape(shape).all(axis=1)
    return scores[rows[known][:, :, None], rows[known][:, None, :]][..., None]


def gain_table(losses: Mapping[str, np.ndarray], protocol: Protocol) -> pd.DataFrame:
    """How much better a model predicts beside the own MLO, and how often it picks it.

    Args:
        losses: What `model_losses` found, and under `ANATOMY` what `anatomy_losses` did.
        protocol: Gives bootstrap draws over patients, and the seed.

    Returns:
        One row a model and timestep, `middle` (mean over `MIDDLE`) last: `set`, `timestep`, `k`, `chance`, `n` (CC
        views), `own`, `strangers` (mean loss), `gain` (how much lower the own loss is, a share) with `gain_low`,
        `gain_high`; `top1` (how often the own MLO has the lowest loss of K) and `top1_relative` (likewise of the loss
        over the MLO's mean beside all CCs of its group, as the matcher judges), with their bounds. Intervals cover
        95 %: of the gain t's over groups, whose breasts share their MLO views, and none of fewer than three; of the
        others the bootstrap's over patients, at 0 or 1 Wilson's. Losses are of the two views; anatomy has none.
    """
    rows = []
    for name, found in losses.items():
        steps = {"middle": found} if name == ANATOMY else dict(zip(map(str, TIMESTEPS), np.split(
            found, len(TIMESTEPS), axis=-1), strict=True)) | {"middle": found[..., np.isin(TIMESTEPS, MIDDLE)]}
        rows += [{"set": name, "timestep": step} | gain_row(part.mean(axis=-1), protocol)
                 for step, part in steps.items() if len(part)]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    table.loc[table["set"] == ANATOMY, _LOSSES] = np.nan
    return table


def gain_row(losses: np.ndarray, protocol: Protocol) -> dict[str, float]:
    """The columns of `gain_table` from `k` on, of `(G, K, K)` losses."""
    size = losses.shape[1]
    own = np.diagonal(losses, axis1=1, axis2=2)
    strangers = (losses.sum(axis=2) - own) / (size - 1)
    relative = losses - losses.mean(axis=1, keepdims=True)
    rng = generator(protocol.seed, Stream.PAIRING_GAIN)
    weights = np.concatenate(list(patient_weights(own.size, protocol.n_bootstrap, rng, n_values=own.size)), axis=1)
    row = {"k": size, "chance": 1.0 / size, "n": own.size, "own": own.mean(), "strangers": strangers.mean(),
           **_gain(own.mean(axis=1), strangers.mean(axis=1)).columns("gain")}
    for name, part in (("top1", losses), ("top1_relative", relative)):
        lowest = part == part.min(axis=2, keepdims=True)
        picked = (np.diagonal(lowest, axis1=1, axis2=2) / lowest.sum(axis=2)).ravel()
        bounds = np.quantile(picked @ weights / picked.size, [0.025, 0.975])
        if picked.mean() in (0.0, 1.0):
            bounds = wilson(picked.sum(), picked.size)[1:]
        row |= Effect(picked.mean(), *bounds).columns(name)
    return row


def _gain(own: np.ndarray, strangers: np.ndarray) -> Effect:
    """One minus a ratio of means over groups; its error is that of the ratio's residuals."""
    gain, n = 1.0 - own.mean() / strangers.mean(), len(own)
    if n < 3:
        return Effect(gain, np.nan, np.nan)
    error = ((1.0 - gain) * strangers - own).std(ddof=1) / strangers.mean() / np.sqrt(n)
    reach = stats.t.ppf(0.975, n - 1) * error
    return Effect(gain, gain - reach, gain + reach)


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Pairing gain of `gain_table`: how often the own MLO is picked, and the gain by timestep.

    Filled marks judge by the loss itself, open ones by the loss over the MLO's usual one. The base can only guess;
    measured anatomy, which judges the same pairs, is what their views give away.
    """
    drawn = style.new_figure(style.DOUBLE_COLUMN, 72.0)
    picks, gains = drawn.subplots(1, 2, width_ratios=(1.2, 1))
    middle = table[table["timestep"] == "middle"].set_index("set")
    names = [name for name in (BASE, *SET_ORDER, ANATOMY) if name in middle.index]
    for place, name in enumerate(names):
        for beside, column, filled in ((-0.12, "top1", True), (0.12, "top1_relative", False)):
            row, x = middle.loc[name], place + beside
            picks.vlines(x, row[f"{column}_low"], row[f"{column}_high"], color=style.EDGE, linewidth=0.9, zorder=2)
            picks.plot(x, row[column], linestyle="", zorder=3, **_mark(name, filled))
    chance = 1.0 / CANDIDATES
    picks.axhline(chance, **style.DASHED)
    picks.set_xticks(range(len(names)), [style.NAMES[name].replace(" ", "\n") for name in names])
    picks.set(xlim=(-0.5, max(len(names), 1) - 0.5), ylim=(0, None), ylabel=f"Own MLO picked among {CANDIDATES}")
    by_step = table[(table["timestep"] != "middle") & (table["set"] != ANATOMY)]
    for name, rows in by_step.groupby("set", sort=False):
        x = rows["timestep"].astype(int) + 10 * (names.index(name) - 1.5)
        gains.vlines(x, rows["gain_low"], rows["gain_high"], color=style.EDGE, linewidth=0.9, zorder=2)
        gains.plot(x, rows["gain"], linewidth=1.0, linestyle=style.LINES.get(name, "-"), zorder=3, **_mark(name, True))
    gains.axhline(0.0, color=style.QUIET, linewidth=0.5, zorder=0)
    gains.set(xlabel="Timestep of 1,000", ylabel="Loss lower beside the own MLO")
    for axis in (picks.yaxis, gains.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    handles = [Line2D([], [], linestyle="", label=style.NAMES[name], **_mark(name, True))
               for name in names]
    handles += [Line2D([], [], linestyle="", label="Open: over the MLO's usual loss", **_mark("real", False)),
                Line2D([], [], label="Chance", **style.DASHED)]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.0)
    style.panel_letters((picks, gains))
    return drawn


def _mark(name: str, filled: bool) -> dict[str, object]:
    own = {BASE: {"marker": "v", "color": style.QUIET}, ANATOMY: {"marker": "o"}}.get(name, {})
    return style.mark("real" if own else name) | own | ({} if filled else {"color": "white"})
