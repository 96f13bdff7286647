"""A3: what a preprocessing changes in overlap, consistency and artefacts: drawn pairs against real ones made so too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mammorgb_utils.data.breast_region import breast_region, chest_wall_side
from mammorgb_utils.evaluation.artefacts import ANY, artefact_flags, artefact_rates
from mammorgb_utils.evaluation.consistency import pairing_gain, score_of_gains
from mammorgb_utils.evaluation.sets import REAL, StudySets, overlap_table, shuffled_table
from mammorgb_utils.evaluation.statistics import MIN_PAIRS, Effect, hodges_lehmann, patient_of, rate_row
from mammorgb_utils.experiments.preprocessing.variants import LABELS, Variant
from mammorgb_utils.experiments.trial import DRAWN
from mammorgb_utils.output import style
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, read_table

SIDES_DIFFER = "sides_differ"  # CC and MLO of a pair have their chest walls on different sides; not part of `any`
EFFECT_COLUMNS = ("variant", "field", "choice", "n_real", "n", "real_median", "real_gain", "synthetic_median", "shift",
                  "shift_low", "shift_high", "score", "score_low", "score_high", "artefact_rate", "artefact_low",
                  "artefact_high", "plausible", "n_real_nan", "n_nan", "real_gain_low", "real_gain_high",
                  "synthetic_gain", "real_artefact_rate")
_MARKS = {"real": style.mark("real"), "strangers": style.mark("real") | {"color": "white"},
          "drawn": style.mark("sum"), "unsure": style.mark("sum") | {"color": "white"}}
_SOLID = {"linestyle": "-", "linewidth": 0.5}
_APART = 0.16  # of a row, between its real and its drawn marks
_SCORES = (-1.0, 3.0)  # intervals beyond are cut at the panel's edge


@dataclass(frozen=True)
class VariantSets:
    """A variant's real pairs, and those drawn under it, with the chest wall on the left.

    Masks and detectors are made for that. Where the variant doesn't mirror, each view, real or drawn, is turned by the
    side that its own pixels show: of drawn ones nothing else is known.
    """

    sets: StudySets  # `real` and, where pairs were drawn, `drawn`
    on_right: dict[str, np.ndarray]  # `(N, 2)` bool of each set: views that were turned

    @classmethod
    def of(cls, pairs: np.ndarray, index: pd.DataFrame, protocol: Protocol) -> VariantSets:
        """Take the variant's real pairs, row by row of the index's `pair` and `patient`, and its protocol."""
        views, on_right = to_the_left(pairs, protocol)
        return cls(StudySets.of({REAL: (views, index)}, protocol), {REAL: on_right})

    def with_drawn(self, pairs: np.ndarray) -> VariantSets:
        """These and the pairs drawn, `(N, 2, H, W)`; none where the training diverged."""
        if not len(pairs):
            return self
        views, on_right = to_the_left(pairs, self.sets.protocol)
        index = pd.DataFrame({"pair": [f"S{i}" for i in range(len(pairs))]})  # their order decides the bootstrap's
        return VariantSets(self.sets.with_set(DRAWN, views, index.assign(patient=index["pair"])),
                           self.on_right | {DRAWN: on_right})

    @cached_property
    def overlap(self) -> pd.DataFrame:
        """`overlap_table` of the sets."""
        return overlap_table(self.sets)


def to_the_left(pairs: np.ndarray, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Turn each view of `(N, 2, H, W)` whose breast lies on the right, where the protocol doesn't mirror; also
    `(N, 2)` bool, which ones were turned."""
    on_right = np.zeros(pairs.shape[:2], bool)
    if protocol.mirror:
        return pairs, on_right
    turned = np.array(pairs)
    for place in np.ndindex(on_right.shape):
        on_right[place] = chest_wall_side(breast_region(turned[place])) == "right"
    turned[on_right] = turned[on_right][..., ::-1]
    return turned, on_right


def side_agreement(run: Run, measured: VariantSets) -> float:
    """Share in [0, 1] of the real views of a variant that doesn't mirror whose side, found on the small view, is the
    one that its record of images holds of the mammogram itself."""
    images = read_table(run.images)
    sides = images[images["excluded"].isna()].pivot(index="pair", columns="view", values="chest_wall")
    sides = sides.loc[measured.sets.index[REAL]["pair"], ["CC", "MLO"]]
    return float(np.mean((sides.to_numpy() == "right") == measured.on_right[REAL]))


def variant_effect(variant: Variant, measured: VariantSets, protocol: Protocol) -> pd.DataFrame:
    """The main results under one preprocessing: drawn pairs against real ones that were made likewise.

    Returns:
        One row, `EFFECT_COLUMNS`: the variant; `n_real`, `n` (pairs with a mask), `n_real_nan`, `n_nan`; `real_median`,
        `synthetic_median` (IoU); `real_gain`, `synthetic_gain` (paired − shuffled), `score` (their ratio); `shift`
        (Hodges–Lehmann, drawn − real); `artefact_rate`, `real_artefact_rate` (any artefact, by patient); `plausible`
        (share of the pairs drawn, by the real areas). Intervals cover 95 %. NaN where there is too little.
    """
    own, theirs = (measured.overlap[measured.overlap["set"] == name] for name in (REAL, DRAWN))
    known, known_real = theirs[theirs["iou"].notna()], own[own["iou"].notna()]
    row = {"variant": variant.name, "field": variant.field, "choice": variant.choice, "n_real": len(known_real),
           "n": len(known), "n_real_nan": len(own) - len(known_real), "n_nan": len(theirs) - len(known),
           "real_median": known_real["iou"].median(), "synthetic_median": known["iou"].median(),
           "plausible": theirs["plausible"].mean()}
    if min(known["patient"].nunique(), known_real["patient"].nunique()) >= MIN_PAIRS:
        shift = hodges_lehmann(known["iou"], known_real["iou"],
                               groups=np.concatenate([patient_of(known), patient_of(known_real)]))
        row |= _consistency(own, theirs, shuffled_table(measured.sets), protocol) | shift.columns("shift")
    rates = variant_artefacts(variant, measured)
    rates = rates[rates["artefact"] == ANY].set_index("set")
    if DRAWN in rates.index:
        row |= {f"artefact_{name}": rates.loc[DRAWN, name] for name in ("rate", "low", "high")}
    row["real_artefact_rate"] = rates.loc[REAL, "rate"]
    return pd.DataFrame([row], columns=list(EFFECT_COLUMNS))


def variant_artefacts(variant: Variant, measured: VariantSets) -> pd.DataFrame:
    """Rate of every artefact in real and drawn pairs of a variant.

    Returns:
        One row a set (`real`, `drawn`) and artefact: `variant`, `set`, `artefact`, and the columns of
        `artefact_rates`; of a variant without mirroring `SIDES_DIFFER` last.
    """
    apart, sets = [], measured.sets
    for name, on_right in () if sets.protocol.mirror else measured.on_right.items():
        known = sets.masks[name].found  # an empty view has no side
        apart.append({"set": name, "artefact": SIDES_DIFFER, "n_nan": int((~known).sum())} | rate_row(
            (on_right[:, 0] != on_right[:, 1])[known], groups=np.asarray(sets.patients[name])[known]))
    rates = pd.concat([artefact_rates(measured.sets.rows(artefact_flags)), pd.DataFrame(apart)], ignore_index=True)
    rates = rates.sort_values("set", key=lambda column: column != REAL, kind="stable", ignore_index=True)
    return rates.assign(variant=variant.name)[["variant", *rates.columns]]


def _consistency(own: pd.DataFrame, theirs: pd.DataFrame, shuffled: pd.DataFrame,
                 protocol: Protocol) -> dict[str, float]:
    """Gains of pairing and the score, with the seeds of `consistency_table`."""
    drawn, real = (pairing_gain(paired, shuffled[shuffled["set"] == name], n_bootstrap=protocol.n_bootstrap,
                                seed=protocol.seed + stream)
                   for stream, (name, paired) in enumerate(((DRAWN, theirs), (REAL, own))))
    real_gain = Effect(real[0], *np.nanquantile(real[1], [0.025, 0.975]))
    return {"synthetic_gain": drawn[0], **real_gain.columns("real_gain"),
            **score_of_gains(drawn, real).columns("score")}


@style.styled
def figure(effects: pd.DataFrame, *, margin: float) -> Figure:
    """Overlap, consistency and artefacts under every preprocessing, from rows of `variant_effect`.

    A row a variant. A line in the first panel spans the gain: from shuffled to own real pairs. A hollow mark has no
    interval, such as a score where real pairs gain too little. `margin` is the shift's.
    """
    drawn, y = style.new_figure(style.DOUBLE_COLUMN, 30.0 + 10.0 * len(effects)), np.arange(len(effects))
    panels = drawn.subplots(1, 4, sharey=True)
    strangers = effects["real_median"] - effects["real_gain"]
    panels[0].hlines(y - _APART, strangers, effects["real_median"], color=style.EDGE, linewidth=0.8, zorder=3)
    for axes, name, x in ((panels[0], "strangers", strangers), (panels[0], "real", effects["real_median"]),
                          (panels[0], "drawn", effects["synthetic_median"]),
                          (panels[3], "real", effects["real_artefact_rate"])):
        axes.plot(x, y + (_APART if name == "drawn" else -_APART), linestyle="", zorder=5, clip_on=False,
                  **_MARKS[name])
    for axes, stem, value in zip(panels[1:], ("shift", "score", "artefact"), ("shift", "score", "artefact_rate"),
                                 strict=True):
        low, high = effects[f"{stem}_low"], effects[f"{stem}_high"]
        axes.hlines(y + _APART, low, high, color=style.COLOURS["sum"], linewidth=1.4, zorder=4)
        for name, rows in (("drawn", low.notna() & high.notna()), ("unsure", low.isna() | high.isna())):
            axes.plot(effects.loc[rows, value], y[rows] + _APART, linestyle="", zorder=5, **_MARKS[name])
    _limits(panels, effects, margin)
    panels[0].set_yticks(y, [LABELS[name] for name in effects["variant"]])
    panels[0].set_ylim(len(effects) - 0.5, -0.5)
    handles = [Line2D([], [], linestyle=line, linewidth=1.4, label=label, **_MARKS[name]) for name, line, label in (
        ("real", "", "Real pairs"), ("strangers", "", "Real, shuffled"), ("drawn", "-", "Drawn pairs, 95 % interval"))]
    handles += [Line2D([], [], label="Equivalence margin", **style.DASHED),
                Line2D([], [], linestyle="", label="One training a row")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=5)
    style.panel_letters(panels)
    return drawn


def _limits(panels: np.ndarray, effects: pd.DataFrame, margin: float) -> None:
    labels = ("Median IoU", "Shift of IoU, drawn − real", "Consistency score", "Pairs with an artefact")
    for axes, label in zip(panels, labels, strict=True):
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    for axes, x, line in ((panels[1], -margin, {}), (panels[1], margin, {}), (panels[1], 0.0, _SOLID),
                          (panels[2], 0.0, _SOLID), (panels[2], 1.0, _SOLID)):
        axes.axvline(x, **style.DASHED | line)
    bounds = effects[["score_low", "score_high"]].clip(*_SCORES).to_numpy(float)
    reach = [-0.1, 1.1, *bounds[np.isfinite(bounds)], *effects["score"].dropna()]
    panels[2].set_xlim(min(reach) - 0.05 * np.ptp(reach), max(reach) + 0.05 * np.ptp(reach))
    panels[0].margins(x=0.1)
    panels[3].set_xlim(-0.03, 1.03)
    panels[3].xaxis.set_major_formatter(PercentFormatter(1.0))
