"""A6: fast samplers against the reference that walks every step: from how many steps on are they safe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from mammorgb_utils.diffusion.engine.sample_store import sample_study
from mammorgb_utils.evaluation import statistics
from mammorgb_utils.evaluation.fidelity.metrics import NEIGHBOURS, coverage, kid, standardised
from mammorgb_utils.evaluation.fidelity.texture import texture_features
from mammorgb_utils.evaluation.sets import REAL, StudySets, overlap_table
from mammorgb_utils.output import style
from mammorgb_utils.protocol import Protocol

REFERENCE = "reference"
BATCH = 16  # pairs denoised together, so that a kill costs little of a walk of 1,000 steps
_COLUMNS = ("sampler", "steps", "n", "n_nan", "n_reference", "iou_median", "iou_median_reference", "emd", "band_low",
            "band_high", "p", "hodges_lehmann", "hodges_lehmann_low", "hodges_lehmann_high", "margin", "equivalence",
            "pixel_difference", "kid", "kid_reference", "coverage", "coverage_reference", "safe")
TRAILING = "trailing"  # after a sampler's name: evenly spaced steps, where the study's are spaced otherwise
_MARKS = {"ddim": ("#1B4F93", "s", 0.95), "dpmsolver++": ("#D5622B", "^", 1.05),  # colour, marker, shift beside
          "sde-dpmsolver++": ("#E6B640", "D", 1.0), f"dpmsolver++ {TRAILING}": ("#8A2F17", "v", 1.1),
          f"sde-dpmsolver++ {TRAILING}": ("#8C6D1F", "P", 0.91)}


def draw_with(model_dir: Path, protocol: Protocol, folder: Path, sampler: str, steps: int, n: int, *,
              progress: bool = True) -> np.ndarray:
    """Pairs of one sampler, `(n, 2, H, W)` in [0, 1], each from the noise that it has under every other one.

    They are drawn once to `<sampler>-<steps>/pairs.npy`; a killed run continues at the batch it was in. A sampler whose
    name `TRAILING` follows takes evenly spaced steps.
    """
    name, _, spacing = sampler.partition(" ")
    asked = {"sampler": name, "sampling_steps": steps, "n_synthetic": n, "sampling_batch": BATCH,
             "sampling_spacing": spacing or protocol.sampling_spacing}
    out = Path(folder) / f"{sampler}-{steps}" / "pairs.npy"
    return sample_study(model_dir, protocol.changed(**asked), out, progress=progress)


def sampler_table(drawn: Mapping[tuple[str, int], np.ndarray], reference: np.ndarray, real: np.ndarray,
                  protocol: Protocol) -> pd.DataFrame:
    """Each sampler and step count beside the reference, and both beside real pairs.

    The sets share their starting noise but are tested as if independent, which makes equivalence harder to show.

    Args:
        drawn: `(N, 2, H, W)` by sampler and steps, image i from the noise of the reference's image i.
        reference: The same number of pairs of the reference.
        real: `(N, 2, H, W)` float in [0, 1]; texture is held against as many of them, the first, as were drawn.

    Returns:
        One row a choice, `_COLUMNS`: `emd` (of IoU, to the reference) with its band and `p` (labels permuted);
        `hodges_lehmann` (− reference) with interval, `margin` and `equivalence`; `pixel_difference` (mean absolute, of
        equal noise); `kid`, `coverage` (of texture, to real, as `fidelity_table` has them) beside the reference's own;
        `safe`: equivalent within the margin, and no farther than chance, in IoU alone, with about as many masks. With
        fewer than three usable pairs nothing is safe, and `equivalence` is empty.
    """
    for pairs in drawn.values():
        if pairs.shape != reference.shape:
            raise ValueError(f"drawn {pairs.shape} against a reference of {reference.shape}; draw equal numbers")
    sets = {REFERENCE: reference} | {f"{sampler}-{steps}": pairs for (sampler, steps), pairs in drawn.items()}
    of_sets = StudySets.of(sets | {REAL: real[:len(reference)]}, protocol)
    iou = {name: rows["iou"] for name, rows in overlap_table(of_sets).groupby("set")}
    texture = _texture(of_sets)
    rows = [{"sampler": sampler, "steps": steps, "pixel_difference": float(np.abs(pairs - reference).mean())}
            | {f"{name}_reference": value for name, value in texture[REFERENCE].items()}
            | texture[f"{sampler}-{steps}"] | _row(iou[f"{sampler}-{steps}"], iou[REFERENCE], protocol)
            for (sampler, steps), pairs in drawn.items()]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _texture(sets: StudySets) -> dict[str, dict[str, float]]:
    """KID and coverage of every set against the real one; empty where too few pairs have a texture."""
    table = sets.rows(texture_features)
    parts = {name: standardised(rows, table[table["set"] == REAL])[0] for name, rows in table.groupby("set")}
    real = parts.pop(REAL)
    return {name: {"kid": kid(real, part), "coverage": coverage(real, part)}
            if min(len(real), len(part)) > NEIGHBOURS else {} for name, part in parts.items()}


def _row(iou: pd.Series, reference: pd.Series, protocol: Protocol) -> dict[str, object]:
    usable, known = iou.dropna().to_numpy(), reference.dropna().to_numpy()
    row = {"n": usable.size, "n_nan": int(iou.isna().sum()), "n_reference": known.size,
           "margin": protocol.equivalence_margin}
    if min(usable.size, known.size) < statistics.MIN_PAIRS:
        return row | {"equivalence": "", "safe": False}
    band = statistics.null_band(usable, known, statistics.emd, n_draws=protocol.n_permutations, level=statistics.LEVEL,
                                seed=protocol.seed)
    verdict = statistics.equivalence(usable, known, margin=protocol.equivalence_margin, alpha=protocol.alpha)
    distance = statistics.emd(usable, known)
    return row | {"iou_median": np.median(usable), "iou_median_reference": np.median(known), "emd": distance,
                  "band_low": band.low, "band_high": band.high, "p": band.p, "equivalence": verdict,
                  **statistics.hodges_lehmann(usable, known, level=statistics.LEVEL).columns("hodges_lehmann"),
                  "safe": bool(verdict == "equivalent" and distance <= band.high
                               and iou.isna().mean() <= reference.isna().mean() + statistics.MOST_LOST)}


def safe_from(table: pd.DataFrame) -> pd.DataFrame:
    """For each sampler of `sampler_table` the smallest step count, `safe_from`, from which on every one that was tried
    is safe; empty (NA) where the largest one isn't."""
    rows = []
    for sampler, part in table.groupby("sampler", sort=False):
        part = part.sort_values("steps", ascending=False)
        held = part["steps"][part["safe"].astype(bool).cummin()]
        rows.append({"sampler": sampler, "safe_from": held.min() if len(held) else pd.NA})
    return pd.DataFrame(rows).astype({"safe_from": "Int64"})


@style.styled
def figure(table: pd.DataFrame) -> Figure:
    """Fast samplers of `sampler_table` beside the reference, over their number of steps.

    EMD of IoU with its null band; shift of IoU with its interval and the margin; mean difference of pixels; distance of
    texture to real pairs, dashed that of the reference. Filled markers are safe.
    """
    drawn = style.new_figure(style.DOUBLE_COLUMN, 72.0)
    panels = drawn.subplots(1, 4)
    marks = {sampler: look for sampler, look in _MARKS.items() if sampler in set(table["sampler"])}
    for sampler, (colour, marker, beside) in marks.items():
        part = table[table["sampler"] == sampler].sort_values("steps")
        x, fill = part["steps"] * beside, np.where(part["safe"].astype(bool), colour, "white")
        panels[0].vlines(x, part["band_low"], part["band_high"], color=style.BAND, linewidth=5, zorder=0)
        panels[1].vlines(x, part["hodges_lehmann_low"], part["hodges_lehmann_high"], color=colour, linewidth=1.1)
        for axes, name in zip(panels, ("emd", "hodges_lehmann", "pixel_difference", "kid"), strict=True):
            axes.plot(x, part[name], color=colour, linewidth=0.7, alpha=0.6, zorder=2)
            axes.scatter(x, part[name], s=25, marker=marker, color=fill, edgecolor=colour, linewidth=1.0, zorder=5)
    _label(panels, table)
    handles = [Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=0.7, label=_label_of(sampler))
               for sampler, (colour, marker, _) in marks.items()]
    handles += [Line2D([], [], linestyle="", marker="s", color="white", markeredgecolor=style.EDGE,
                       label="Not safe (open)"), Line2D([], [], color=style.BAND, linewidth=5, label="Null band"),
                Line2D([], [], **style.DASHED, label="Margin, or the reference")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4)
    style.panel_letters(panels)
    return drawn


def _label_of(sampler: str) -> str:
    name, _, spacing = sampler.partition(" ")
    return f"{style.NAMES[name]}, evenly spaced" if spacing else style.NAMES[name]


def _label(panels: Sequence[Axes], table: pd.DataFrame) -> None:
    steps = sorted(table["steps"].unique())
    labels = ("EMD of IoU to the reference", "Shift of IoU against the reference", "Mean pixel difference",
              "KID of texture to real")
    for axes, label in zip(panels, labels, strict=True):
        axes.margins(0.1)
        axes.set(xscale="log", xlabel="Sampling steps", ylabel=label)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.set_xticks(steps, [str(count) for count in steps])
        axes.xaxis.set_minor_locator(NullLocator())
    for side in (-1.0, 1.0):
        panels[1].axhline(side * table["margin"].iloc[0], **style.DASHED)
    panels[1].axhline(0.0, color=style.QUIET, linewidth=0.5, zorder=0)
    panels[3].axhline(table["kid_reference"].iloc[0], **style.DASHED)
    panels[3].set_yscale("symlog", linthresh=1.0)  # near 0 it may be negative, far from it it is in the hundreds
    for axes in (panels[0], panels[2], panels[3]):
        axes.set_ylim(min(0, axes.dataLim.ymin), (2.0 if axes is panels[3] else 1.08) * axes.dataLim.ymax)
