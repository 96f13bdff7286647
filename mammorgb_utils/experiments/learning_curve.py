"""How far a study's models have learned: loss on held-out pairs, and whether they tell a pair from a stranger's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from tqdm import tqdm

from mammorgb_utils.data.pairs import HELDOUT, load_pairs
from mammorgb_utils.diffusion.engine.looks import strip_steps
from mammorgb_utils.diffusion.engine.model_folder import RECORD, array_sha256, milestone_dir
from mammorgb_utils.diffusion.training import training_steps
from mammorgb_utils.experiments import pairing_gain
from mammorgb_utils.output import style
from mammorgb_utils.output.records import read_json
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, digest, exclusive, write_csv

TIMESTEPS = (50, *pairing_gain.MIDDLE, 900)  # grain, what two views share, almost noise
FALL = 0.01  # of the middle timesteps' loss in the last sixth of a training: more than that is still learning
STILL, UNKNOWN = "still learning", "end not measured"
ONE_TRAINING = "one run each, so that another seed may answer otherwise"  # of a verdict that rests on one model
_COLUMNS = ("encoding", "step", "timestep", "n", "loss", "gain", "gain_low", "gain_high", "fall", "note")
_GROUPS = (30, 50)  # one couple of breasts in so many held-out pairs, and at most: minutes of a CPU for all models


def moments(protocol: Protocol, n_pairs: int) -> frozenset[int]:
    """Steps whose models are kept to be measured beside the last one: evenly spaced, as the strips of samples."""
    steps = training_steps(protocol, n_pairs)
    return strip_steps(steps) - {steps}


def learning_curve(run: Run, encoding: str, *, progress: bool = True) -> pd.DataFrame:
    """Loss and pairing gain of an encoding's models on held-out pairs, from the base (step 0) to the last model.

    Computed once, to `training/<encoding>/learning_curve.csv`, and anew for other models or pairs. Every model meets
    the same pairs and noise; a CC's stranger is the breast that is nearest to it in area.

    Returns:
        One row a step and timestep, `middle` (mean over `MIDDLE`) last: `encoding`, `step`, `timestep`, `n` (pairs),
        `loss` (mean squared error of the prediction of both views), `gain` (how much lower it is beside the own MLO
        than beside the stranger's, a share) with `gain_low`, `gain_high` (95 %; none of fewer than three couples);
        `fall` (how much lower the loss is than at the moment before, a share); `note`, of the last middle row: `STILL`
        where that is more than `FALL`, `UNKNOWN` where no model of the last quarter was kept. Without held-out pairs
        there is no row.
    """
    pairs, index = load_pairs(run, HELDOUT)
    n_groups = int(np.clip(len(pairs) // _GROUPS[0], 1, _GROUPS[1]))
    groups = pairing_gain.groups_of_like_area(pairs, index["patient"].to_numpy(), 2, n_groups, run.protocol)
    models, file = _models(run, encoding), _file(run, encoding)
    digests = [pairing_gain.model_digest(run, folder) for folder in models.values()]
    made_from = {"models": digests, "timesteps": TIMESTEPS, "channels": "views", "seed": run.protocol.seed,
                 "pairs": array_sha256(np.asarray(pairs[groups.ravel()]))}
    known = digest(made_from)
    with exclusive(file.parent):
        if not file.is_file() or not pd.read_csv(file)["made_from"].eq(known).all():
            rows = []
            for step, folder in tqdm(models.items(), f"learning, {encoding}", unit="model", disable=not progress):
                if len(groups):
                    losses = pairing_gain.group_losses(pairing_gain.open_any(run, folder), pairs, groups, encoding,
                                                       run.protocol, TIMESTEPS)
                    rows += _rows(step, losses, run.protocol)
            write_csv(file, _with_falls(rows, encoding).assign(made_from=known))
    return read_curves(run, [encoding])


def read_curves(run: Run, encodings: Iterable[str]) -> pd.DataFrame:
    """What `learning_curve` found for some encodings."""
    tables = [pd.read_csv(_file(run, encoding), dtype={"timestep": str, "note": str}) for encoding in encodings]
    return pd.concat(tables, ignore_index=True)[list(_COLUMNS)].fillna({"note": ""})


def _file(run: Run, encoding: str) -> Path:
    return run.training(encoding) / "learning_curve.csv"


def _models(run: Run, encoding: str) -> dict[int, Path | None]:
    """Folder by step; None is the base. A model that was trained without moments has a start and an end alone."""
    last = read_json(run.model(encoding) / RECORD)["steps"]
    kept = {step: milestone_dir(run.training(encoding), step) for step in sorted(strip_steps(last) - {last})}
    kept = {step: folder for step, folder in kept.items() if (folder / RECORD).is_file()}
    return {0: None, **kept, last: run.model(encoding)}


def _rows(step: int, losses: np.ndarray, protocol: Protocol) -> list[dict[str, object]]:
    parts = {str(t): losses[..., place] for place, t in enumerate(TIMESTEPS)}
    parts["middle"] = losses[..., np.isin(TIMESTEPS, pairing_gain.MIDDLE)].mean(axis=-1)
    found = {t: pairing_gain.gain_row(part, protocol) for t, part in parts.items()}
    return [{"step": step, "timestep": t, "loss": row["own"]}
            | {name: row[name] for name in ("n", "gain", "gain_low", "gain_high")} for t, row in found.items()]


def _with_falls(rows: list[dict[str, object]], encoding: str) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=None if rows else list(_COLUMNS)).assign(encoding=encoding)
    if rows:
        table["fall"] = -table.groupby("timestep")["loss"].pct_change()
        *_, before, end = sorted({0, *table["step"]})
        last = (table["step"] == end) & (table["timestep"] == "middle")
        said = UNKNOWN if before < 0.75 * end else STILL
        table["note"] = np.where(last & ((table["fall"] > FALL) | (said == UNKNOWN)), said, "")
    return table[list(_COLUMNS)]


@style.styled
def figure(curves: pd.DataFrame) -> Figure:
    """How far models have learned, from rows of `learning_curve`.

    Loss on held-out pairs at the middle timesteps over the steps, an open end where it still falls; the same at the
    lowest and the highest timestep, over the base's; and the pairing gain with its interval.
    """
    drawn = style.new_figure(style.DOUBLE_COLUMN, 68.0)
    panels = drawn.subplots(1, 3)
    names = style.present_sets(curves["encoding"])
    for name in names:
        parts = dict(list(curves[curves["encoding"] == name].groupby("timestep")))
        middle, mark = parts["middle"], style.mark(name)
        ends = [mark["color"]] * (len(middle) - 1) + ["white" if (middle["note"] != "").any() else mark["color"]]
        for axes, column in ((panels[0], "loss"), (panels[2], "gain")):
            axes.plot(middle["step"], middle[column], color=mark["color"], linestyle=style.LINES[name], zorder=2)
            axes.scatter(middle["step"], middle[column], s=20, marker=mark["marker"], color=ends, zorder=3,
                         edgecolor=style.EDGE, linewidth=0.6, clip_on=False)
        panels[2].vlines(middle["step"], middle["gain_low"], middle["gain_high"], color=style.EDGE, linewidth=0.7)
        for timestep, width in ((TIMESTEPS[0], 0.8), (TIMESTEPS[-1], 1.6)):
            other = parts[str(timestep)]
            panels[1].plot(other["step"], other["loss"] / other["loss"].iloc[0], color=mark["color"], linewidth=width,
                           linestyle=style.LINES[name])
    for axes, label in zip(panels, ("Loss at middle timesteps, held out", "Loss over the base's",
                                    "Loss lower beside the own MLO"), strict=True):
        axes.set(xlabel="Training step", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[0].set_ylim(0, None)
    panels[2].axhline(0.0, **style.DASHED)
    panels[2].yaxis.set_major_formatter(PercentFormatter(1.0))
    handles = [Line2D([], [], linestyle=style.LINES[name], label=style.LABELS[name], **style.mark(name))
               for name in names]
    handles.append(Line2D([], [], linestyle="", label="Open end: not seen to be flat",
                          **style.mark("real") | {"color": "white"}))
    handles.append(Line2D([], [], color=style.EDGE, linewidth=0.8,
                          label=f"b: thin t = {TIMESTEPS[0]}, bold t = {TIMESTEPS[-1]}"))
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=3.0, columnspacing=1.0)
    style.panel_letters(panels)
    return drawn
