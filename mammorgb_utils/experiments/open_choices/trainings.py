"""Choices of training and drawing that the paper leaves open, each made otherwise in a training of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mammorgb_utils.evaluation.sets import Indexed
from mammorgb_utils.evaluation.statistics import hodges_lehmann, patient_of
from mammorgb_utils.experiments.open_choices.choices import OPEN_FIELDS, study_choice
from mammorgb_utils.experiments.trial import run_trial
from mammorgb_utils.output import style
from mammorgb_utils.protocol import Protocol

# What each field is changed to, where the study hasn't chosen that; else to the second.
OTHERWISE: dict[str, tuple[object, object]] = {
    "sum_scale": (1.0, 0.5), "lr_schedule": ("constant", "cosine"), "sampling_spacing": ("trailing", "quadratic"),
    "sampling_weights": ("raw", "ema"), "ema_decay": (0.98, 0.999), "warmup_steps": (0, 100),
    "weight_decay": (0.1, 0.01), "max_grad_norm": (10.0, 1.0)}
STUDY, SEED = "study", "seed"  # fields of the rows that change nothing, and nothing but luck
_RESULTS = {"shift": "Synthetic − real: IoU", "gain": "Paired − shuffled: IoU", "emd": "EMD of IoU to real"}


def plan(protocol: Protocol, encoding: str, fields: Iterable[str] = ()) -> pd.DataFrame:
    """The trainings: the study's own choices, the same under the next seed, and each of `fields` of `OTHERWISE` alone,
    by default of all; a `ValueError` where there is no such field.

    Returns:
        One row a training: `field`, `choice` (in the words of the map), `changes` (fields for `Protocol.changed`).
        A field that decides nothing in this protocol and encoding has no row: it stays *not run*.
    """
    idle = {"sum_scale": encoding != "sum", "sampling_spacing": "dpmsolver++" not in protocol.sampler,
            "ema_decay": protocol.sampling_weights == "raw", "sampling_weights": protocol.ema_decay == 0.0}
    rows = [(STUDY, "as in the study", {}), (SEED, "another seed", {"seed": protocol.seed + 1})]
    for field in fields or OTHERWISE:
        if field not in OTHERWISE:
            raise ValueError(f"fields: {field!r} is no choice that is trained here; use {', '.join(OTHERWISE)}")
        if not idle.get(field, False):
            changes = {field: next(value for value in OTHERWISE[field] if value != getattr(protocol, field))}
            rows.append((field, study_choice(field, protocol.changed(**changes)), changes))
    return pd.DataFrame(rows, columns=["field", "choice", "changes"])


def run_plan(asked: pd.DataFrame, pairs: np.ndarray, real: pd.DataFrame, protocol: Protocol, encoding: str,
             folder: Path, *, heldout: Indexed | None = None, progress: bool = True) -> pd.DataFrame:
    """Train, draw and measure every row of `plan`; finished ones are loaded, a killed one continues.

    Args:
        asked: Rows of `plan`.
        pairs, real, protocol, encoding, heldout: As `run_trial` takes them; all but the row's change is shared.
        folder: Gets one folder a row.

    Returns:
        One row a training: `field`, `choice`, the columns of `run_trial`, and `shift` (Hodges–Lehmann, drawn − real)
        with `shift_low`, `shift_high` (95 %, over patients: the luck of a training is what another seed's row shows).
    """
    rows = []
    for field, choice, changes in asked.itertuples(index=False):
        own = folder / (field if field in (STUDY, SEED) else f"{field}-{next(iter(changes.values()))}")
        row = run_trial(pairs, real, protocol.changed(**changes), encoding, own, heldout=heldout, progress=progress)
        rows.append({"field": field, "choice": choice} | row.iloc[-1].to_dict() | _shift(own / "overlap.csv", real))
    return pd.DataFrame(rows)


def _shift(file: Path, real: pd.DataFrame) -> dict[str, float]:
    drawn = pd.read_csv(file)["iou"].dropna() if file.is_file() else pd.Series(dtype=float)  # none where it diverged
    if drawn.empty:
        return dict.fromkeys(("shift", "shift_low", "shift_high"), float("nan"))
    known = real[real["iou"].notna()]
    groups = np.concatenate([[f"drawn {i}" for i in range(len(drawn))], patient_of(known)])
    return hodges_lehmann(drawn.to_numpy(), known["iou"].to_numpy(), groups=groups).columns("shift")


@style.styled
def figure(table: pd.DataFrame, *, margin: float) -> Figure:
    """Every training of `run_plan`: what it drew beside what the study's own choices did, twice.

    A row a training; the band reaches from the study's own choices to the same under another seed, and as far to the
    other side: what lies in it may be luck.
    """
    drawn = style.new_figure(style.DOUBLE_COLUMN, 24.0 + 6.4 * len(table))
    panels = drawn.subplots(1, len(_RESULTS), sharey=True)
    fields = table["field"].map(lambda field: f"{OPEN_FIELDS[field]}: " if field in OPEN_FIELDS else "")
    own, other = (table["field"].eq(field) for field in (STUDY, SEED))
    for axes, (result, title) in zip(panels, _RESULTS.items(), strict=True):
        centre = table.loc[own, result].mean()
        luck = abs(table.loc[other, result].mean() - centre)
        axes.axvspan(centre - luck, centre + luck, color=style.BAND, linewidth=0, zorder=0)
        axes.axvline(centre, color=style.QUIET, linewidth=0.6, zorder=1)
        axes.scatter(table[result], range(len(table)), s=16, zorder=4,
                     color=np.where(own | other, style.QUIET, style.EDGE))
        axes.set(title=title, xlabel="IoU")
        axes.margins(x=0.15)
    panels[0].hlines(range(len(table)), table["shift_low"], table["shift_high"], color=style.EDGE, linewidth=0.7)
    for side in (-margin, margin):
        panels[0].axvline(side, **style.DASHED)
    panels[0].set_yticks(range(len(table)), fields + table["choice"])
    panels[0].set_ylim(len(table) - 0.4, -0.6)
    handles = [Line2D([], [], color=style.BAND, linewidth=5, label="As far as another seed moves it"),
               Line2D([], [], **style.DASHED, label=f"Equivalence margin ±{margin:g}")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=2)
    style.panel_letters(panels)
    return drawn
