"""A3: what a preprocessing changes in overlap, consistency and artefacts: drawn pairs against real ones made so too."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mammorgb_utils.data.breast_region import breast_region, chest_wall_side
from mammorgb_utils.evaluation.artefacts import ANY, artefact_flags, artefact_rates
from mammorgb_utils.evaluation.consistency import pairing_gain, score_of_gains, shuffled_overlap
from mammorgb_utils.evaluation.overlap import pair_masks, pair_metrics, plausible
from mammorgb_utils.evaluation.statistics import Effect, hodges_lehmann, patient_of, rate_row
from mammorgb_utils.experiments.preprocessing.variants import LABELS, Variant
from mammorgb_utils.experiments.trial import SetOverlap
from mammorgb_utils.output.style import (
    COLOURS,
    DASHED,
    DOUBLE_COLUMN,
    EDGE,
    new_figure,
    panel_letters,
    styled,
)
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, read_table

SIDES_DIFFER = "sides_differ"  # CC and MLO of a pair have their chest walls on different sides; not part of `any`
MIN_PAIRS = 3  # with a mask, below which a set has no interval
EFFECT_COLUMNS = ("variant", "field", "choice", "n_real", "n", "real_median", "real_gain", "synthetic_median", "shift",
                  "shift_low", "shift_high", "score", "score_low", "score_high", "artefact_rate", "artefact_low",
                  "artefact_high", "plausible", "n_real_nan", "n_nan", "real_gain_low", "real_gain_high",
                  "synthetic_gain", "real_artefact_rate")
_MARK = {"markersize": 4.5, "markeredgecolor": EDGE, "markeredgewidth": 0.6}
_MARKS = {"real": {"marker": "o", "color": COLOURS["real"]}, "strangers": {"marker": "o", "color": "white"},
          "drawn": {"marker": "s", "color": COLOURS["sum"]}, "unsure": {"marker": "s", "color": "white"}}
_SOLID = {"linestyle": "-", "linewidth": 0.5}
_APART = 0.16  # of a row, between its real and its drawn marks
_SCORES = (-1.0, 3.0)  # intervals beyond are cut at the panel's edge


class MeasuredSet(NamedTuple):
    """A set of pairs, measured with the chest wall on the left.

    Attributes:
        overlap: `pair_metrics` and `shuffled_overlap`.
        flags: `artefact_flags`, and `patient`.
        on_right: `(N, 2)` bool, views that were turned.
    """

    overlap: SetOverlap
    flags: pd.DataFrame
    on_right: np.ndarray


def measure_set(pairs: np.ndarray, protocol: Protocol, index: pd.DataFrame | None = None) -> MeasuredSet:
    """Overlap and artefacts of real or drawn pairs of a variant.

    Masks and detectors are made for a chest wall on the left. Where the variant doesn't mirror, each view, real or
    drawn, is turned by the side that its own pixels show: of drawn ones nothing else is known.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first.
        protocol: The variant's: `mirror`, the mask method, the number of shufflings and their seed.
        index: Row by row `pair` and `patient`; by default each pair is a patient.
    """
    views, on_right = (pairs, np.zeros(pairs.shape[:2], bool)) if protocol.mirror else to_the_left(pairs)
    masks = pair_masks(views, protocol.mask_method)
    if index is None:
        index = pd.DataFrame({"pair": [f"S{i}" for i in range(len(pairs))]}).assign(patient=lambda rows: rows["pair"])
    who = {"pair": index["pair"].to_numpy(), "patient": index["patient"].to_numpy()}
    strangers = (shuffled_overlap(masks, n_draws=protocol.n_derangements, seed=protocol.seed, pairs=who["pair"],
                                  patients=who["patient"]) if len(pairs) > 1 else _NO_STRANGERS)
    return MeasuredSet(SetOverlap(pair_metrics(views, masks=masks).assign(**who), strangers),
                       artefact_flags(views, masks).assign(patient=who["patient"]), on_right)


_NO_STRANGERS = pd.DataFrame({"draw": [], "cc_pair": [], "mlo_pair": [], "iou": [], "iou_no_muscle": []})


def to_the_left(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn each view whose breast lies on the right.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], chest walls on either side.

    Returns:
        `(N, 2, H, W)` of the same dtype, and `(N, 2)` bool: which views were turned. A view without a breast stays.
    """
    turned, on_right = np.array(pairs), np.zeros(pairs.shape[:2], bool)
    for place in np.ndindex(on_right.shape):
        on_right[place] = chest_wall_side(breast_region(turned[place])) == "right"
    turned[on_right] = turned[on_right][..., ::-1]
    return turned, on_right


def side_agreement(run: Run, index: pd.DataFrame, on_right: np.ndarray) -> float:
    """Share of real views whose side, found on the small view, is the one found on the mammogram itself.

    Args:
        run: The variant's run, whose record of images holds the side of every mammogram.
        index: Rows of the real pairs.
        on_right: What `measure_set` found for them.

    Returns:
        A share in [0, 1]; NaN where the variant mirrors, as then no side was looked for.
    """
    if run.protocol.mirror:
        return float("nan")
    images = read_table(run.images).fillna({"excluded": ""})
    sides = images[images["excluded"] == ""].pivot(index="pair", columns="view", values="chest_wall")
    return float(((sides.loc[index["pair"], ["CC", "MLO"]] == "right").to_numpy() == on_right).mean())


def variant_effect(variant: Variant, real: MeasuredSet, drawn: MeasuredSet, protocol: Protocol) -> pd.DataFrame:
    """How pairs drawn under a variant differ from real pairs under the same variant.

    Args:
        variant: Names the row.
        real, drawn: Measured by `measure_set`.
        protocol: Gives bootstrap draws and seed.

    Returns:
        One row of `EFFECT_COLUMNS`: `n_real`, `n` (pairs with a mask) and `n_real_nan`, `n_nan` (without); medians of
        IoU; `real_gain`, `synthetic_gain` (paired − shuffled median); `shift` (Hodges–Lehmann, drawn − real); `score`
        (synthetic gain over the real one); `artefact_rate` (pairs with any artefact) and that of the real pairs;
        `plausible` (share of the pairs drawn, by the real areas). Intervals cover 95 %. NaN where there is too little.
    """
    own, theirs = real.overlap.paired, drawn.overlap.paired
    known, known_real = theirs[theirs["iou"].notna()], own[own["iou"].notna()]
    row = asdict(variant) | {"n_real": len(known_real), "n": len(known), "n_real_nan": len(own) - len(known_real),
                             "n_nan": len(theirs) - len(known), "real_median": known_real["iou"].median(),
                             "synthetic_median": known["iou"].median(),
                             "plausible": plausible(theirs, own).mean() if len(theirs) else np.nan}
    row["variant"] = row.pop("name")
    if min(len(known), len(known_real)) >= MIN_PAIRS:
        row |= _consistency(real.overlap, drawn.overlap, protocol)
        shift = hodges_lehmann(known["iou"], known_real["iou"],
                               groups=np.concatenate([patient_of(known), patient_of(known_real)]))
        row |= _bounded("shift", shift, "shift")
    rates = variant_artefacts(variant, real, drawn)
    rates = rates[rates["artefact"] == ANY].set_index("set")
    if "drawn" in rates.index:
        row |= _bounded("artefact", Effect(*rates.loc["drawn", ["rate", "low", "high"]]), "artefact_rate")
    row["real_artefact_rate"] = rates.loc["real", "rate"]
    return pd.DataFrame([row], columns=list(EFFECT_COLUMNS))


def variant_artefacts(variant: Variant, real: MeasuredSet, drawn: MeasuredSet) -> pd.DataFrame:
    """Rate of every artefact in real and drawn pairs of a variant.

    Returns:
        One row a set (`real`, `drawn`) and artefact: `variant`, `set`, `artefact`, and the columns of
        `artefact_rates`; `SIDES_DIFFER` last, which only a variant without mirroring can show.
    """
    parts = {"real": real, "drawn": drawn}
    rates = artefact_rates(pd.concat([part.flags.assign(set=name) for name, part in parts.items()], ignore_index=True))
    apart = [{"set": name, "artefact": SIDES_DIFFER} | _sides_differ(part) for name, part in parts.items()
             if len(part.on_right)]
    rates = pd.concat([rates, pd.DataFrame(apart)], ignore_index=True)
    rates = rates.sort_values("set", key=lambda column: column != "real", kind="stable", ignore_index=True)
    return rates.assign(variant=variant.name)[["variant", *rates.columns]]


def _consistency(real: SetOverlap, drawn: SetOverlap, protocol: Protocol) -> dict[str, float]:
    """Gains of pairing and the score, with the seeds of `consistency_score`."""
    gains = [pairing_gain(part.paired, part.shuffled, n_bootstrap=protocol.n_bootstrap, seed=protocol.seed + stream)
             for stream, part in enumerate((drawn, real))]
    score, (low, high) = score_of_gains(*gains), np.nanquantile(gains[1][1], [0.025, 0.975])
    return {"synthetic_gain": gains[0][0], "real_gain": gains[1][0], "real_gain_low": low, "real_gain_high": high,
            "score": score.score, "score_low": score.low, "score_high": score.high}


def _sides_differ(part: MeasuredSet) -> dict[str, float]:
    """Counted as `artefact_rates` counts: by patients."""
    return rate_row(part.on_right[:, 0] != part.on_right[:, 1], groups=part.flags["patient"].to_numpy())


def _bounded(stem: str, found: Effect, name: str) -> dict[str, float]:
    return {name: found.estimate, f"{stem}_low": found.low, f"{stem}_high": found.high}


@styled
def figure(effects: pd.DataFrame, *, margin: float) -> Figure:
    """Overlap, consistency and artefacts under every preprocessing.

    Args:
        effects: Rows of `variant_effect`.
        margin: Equivalence margin of the shift.

    Returns:
        A row a variant. A line in the first panel spans the gain: from shuffled to own real pairs. A hollow mark has
        no interval, such as a score where real pairs gain too little.
    """
    drawn, y = new_figure(DOUBLE_COLUMN, 30.0 + 10.0 * len(effects)), np.arange(len(effects))
    panels = drawn.subplots(1, 4, sharey=True)
    strangers = effects["real_median"] - effects["real_gain"]
    panels[0].hlines(y - _APART, strangers, effects["real_median"], color=EDGE, linewidth=0.8, zorder=3)
    for axes, name, x in ((panels[0], "strangers", strangers), (panels[0], "real", effects["real_median"]),
                          (panels[0], "drawn", effects["synthetic_median"]),
                          (panels[3], "real", effects["real_artefact_rate"])):
        axes.plot(x, y + (_APART if name == "drawn" else -_APART), linestyle="", zorder=5, clip_on=False,
                  **_MARKS[name], **_MARK)
    for axes, stem, value in zip(panels[1:], ("shift", "score", "artefact"), ("shift", "score", "artefact_rate"),
                                 strict=True):
        low, high = effects[f"{stem}_low"], effects[f"{stem}_high"]
        axes.hlines(y + _APART, low, high, color=COLOURS["sum"], linewidth=1.4, zorder=4)
        for name, rows in (("drawn", low.notna() & high.notna()), ("unsure", low.isna() | high.isna())):
            axes.plot(effects.loc[rows, value], y[rows] + _APART, linestyle="", zorder=5, **_MARKS[name], **_MARK)
    _limits(panels, effects, margin)
    panels[0].set_yticks(y, [LABELS[name] for name in effects["variant"]])
    panels[0].set_ylim(len(effects) - 0.5, -0.5)
    handles = [Line2D([], [], linestyle=line, linewidth=1.4, label=label, **_MARKS[name], **_MARK) for name, line, label
               in (("real", "", "Real pairs"), ("strangers", "", "Real, shuffled"),
                   ("drawn", "-", "Drawn pairs, 95 % interval"))]
    handles += [Line2D([], [], label="Equivalence margin", **DASHED),
                Line2D([], [], linestyle="", label="One training a row")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=5)
    panel_letters(panels)
    return drawn


def _limits(panels: np.ndarray, effects: pd.DataFrame, margin: float) -> None:
    labels = ("Median IoU", "Shift of IoU, drawn − real", "Consistency score", "Pairs with an artefact")
    for axes, label in zip(panels, labels, strict=True):
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    for axes, x, line in ((panels[1], -margin, {}), (panels[1], margin, {}), (panels[1], 0.0, _SOLID),
                          (panels[2], 0.0, _SOLID), (panels[2], 1.0, _SOLID)):
        axes.axvline(x, **DASHED | line)
    bounds = effects[["score_low", "score_high"]].clip(*_SCORES).to_numpy(float)
    reach = [-0.1, 1.1, *bounds[np.isfinite(bounds)], *effects["score"].dropna()]
    panels[2].set_xlim(min(reach) - 0.05 * np.ptp(reach), max(reach) + 0.05 * np.ptp(reach))
    panels[0].margins(x=0.1)
    panels[3].set_xlim(-0.03, 1.03)
    panels[3].xaxis.set_major_formatter(PercentFormatter(1.0))
