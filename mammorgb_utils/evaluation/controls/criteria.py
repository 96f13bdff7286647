"""By what the study says that pairs differ from real ones: each measure's own criterion, applied to any pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import HELDOUT
from mammorgb_utils.evaluation import statistics
from mammorgb_utils.evaluation.anatomy import matching
from mammorgb_utils.evaluation.anatomy.agreement import MEASURES, disagreement, usual_differences, with_masks
from mammorgb_utils.evaluation.artefacts import ANY
from mammorgb_utils.evaluation.artefacts.rates import rate_difference
from mammorgb_utils.evaluation.consistency import pairing_gain, score_of_gains, shuffled_overlap, strangers
from mammorgb_utils.evaluation.controls.degrade import TO_TRAINING, Part
from mammorgb_utils.evaluation.fidelity import DISTANCES, METRICS, flag_threshold
from mammorgb_utils.evaluation.fidelity.metrics import MIN_SUBSET, real_halves, standardised, synthetic_halves
from mammorgb_utils.evaluation.overlap import plausible
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

# Every measure that has a criterion, as the figure and the tables call it.
LABELS = {
    "emd": "EMD of IoU", "ks": "KS of IoU", "iou_shift": "Shift of IoU", "plausible": "Plausible masks",
    "consistency": "Consistency score", "area": "Breast area", "nipple_line": "Nipple line",
    "centroid": "Density centroid", "profile": "Depth profile", "dense": "Dense share", "mass_depth": "Brightest blob",
    "match": "Own MLO found", "kid": "KID", "density": "Density", "coverage": "Coverage", "spread": "Nearest neighbour",
    "diversity": "Effective number", ANY: "Pairs with an artefact", "memorised": "Memorised pairs",
}
SHUFFLES, PERMUTATIONS, HALVES = 5, 199, 10  # behind each criterion; the study's own tests take more
_MATCH_AMONG = 5


@dataclass(frozen=True)
class Reference:
    """The real pairs of one draw, and what is computed of them once."""

    part: Part
    rest: pd.DataFrame  # pairs of neither side, from which the matcher learns
    held: pd.DataFrame  # all that weren't drawn, of those held out of training
    protocol: Protocol
    seed: int

    @cached_property
    def gains(self) -> dict[str, tuple[float, np.ndarray]]:
        return _gains(self.part, self)

    @cached_property
    def usual(self) -> dict[str, float]:
        return usual_differences(self.part.rows)

    @cached_property
    def matcher(self) -> matching.Matcher | None:
        return matching.fit_matcher(self.rest) if with_masks(self.rest).sum() >= matching.MIN_FIT else None

    @cached_property
    def accuracy(self) -> dict[str, float] | None:
        return _accuracy(self.part, self)

    @cached_property
    def halves(self) -> dict[int, np.ndarray]:
        return {}

    def null(self, size: int) -> np.ndarray:
        """`(2, metrics)` bounds of the metrics between halves of `size` real pairs."""
        if size not in self.halves:
            features, tail = standardised(self.part.rows, self.part.rows), self.protocol.alpha / 2.0
            drawn = real_halves(features, size, 4 * HALVES, generator(self.seed, Stream.CONTROLS, 3, size))
            self.halves[size] = np.quantile(drawn, (tail, 1.0 - tail), axis=0)
        return self.halves[size]


def _overlap(own: Part, real: Reference) -> dict[str, float]:
    values = [part.rows.dropna(subset="iou") for part in (own, real.part)]
    if min(part["patient"].nunique() for part in values) < statistics.MIN_PAIRS:
        return dict.fromkeys(("emd", "ks", "iou_shift"), np.nan)
    (x, y), groups = (part["iou"].to_numpy() for part in values), np.concatenate([part["patient"] for part in values])
    options = {"n_draws": PERMUTATIONS, "level": statistics.LEVEL, "seed": real.seed, "groups": groups}
    return {"emd": statistics.null_band(x, y, statistics.emd, **options).p < real.protocol.alpha,
            "ks": statistics.null_band(x, y, statistics.ks, **options).p < real.protocol.alpha,
            "iou_shift": statistics.mann_whitney(x, y, groups=groups) < real.protocol.alpha}


def _rates(own: Part, real: Reference) -> dict[str, float]:
    """Masks that are implausible and pairs with an artefact: whether the difference's interval leaves 0 out."""
    found, rows = {}, (own.rows, real.part.rows)
    for measure, flags in (("plausible", [plausible(part, real.part.rows) for part in rows]),
                           (ANY, [part[ANY] for part in rows])):
        difference = rate_difference(*(statistics.rate_row(flag, groups=part["patient"].to_numpy())
                                       for flag, part in zip(flags, rows, strict=True)))
        found[measure] = difference["low"] > 0.0 or difference["high"] < 0.0
    return found


def _gains(part: Part, real: Reference) -> dict[str, tuple[float, np.ndarray]]:
    """What pairing adds, to overlap and to the agreement of each measure of anatomy, with its bootstrap draws."""
    rows, seed = part.rows, 2 * real.seed + (part is real.part)
    counts = rows.loc[part.masks.found, "patient"].value_counts()
    if counts.sum() < statistics.MIN_PAIRS or 2 * counts.max() > counts.sum():
        return {}  # nothing to shuffle with
    rng = generator(seed, Stream.CONTROLS, 4)
    known, partner = strangers(part.masks.found, SHUFFLES, rng, patients=rows["patient"])
    own, cc, partner, pair = np.arange(len(rows)), np.tile(known, SHUFFLES), partner.ravel(), rows["pair"].to_numpy()
    compared = {name: [-disagreement(rows, *views, name, real.usual) for views in ((own, own), (cc, partner))]
                for name in MEASURES}
    shuffled = shuffled_overlap(part.masks, n_draws=SHUFFLES, seed=seed, patients=rows["patient"], pairs=pair)
    others = pd.DataFrame({"cc_pair": pair[cc], "mlo_pair": pair[partner]})
    tables = {"consistency": (rows[["pair", "patient"]].assign(value=rows["iou"]),
                              shuffled.rename(columns={"iou": "value"}))}
    tables |= {name: (rows[["pair", "patient"]].assign(value=paired), others.assign(value=other))
               for name, (paired, other) in compared.items()}
    return {name: pairing_gain(*both, n_bootstrap=real.protocol.n_bootstrap, seed=seed, measure="value")
            for name, both in tables.items()
            if all(table["value"].notna().sum() >= statistics.MIN_PAIRS for table in both)}


def _pairing(own: Part, real: Reference) -> dict[str, float]:
    """Whether the share of the real gain that the pairs reach is surely below 1."""
    found, gains = {}, _gains(own, real)
    for name in ("consistency", *MEASURES):
        known = name in gains and name in real.gains
        score = score_of_gains(gains[name], real.gains[name]) if known else statistics.UNKNOWN
        found[name] = np.nan if np.isnan(score.high) else score.high < 1.0
    return found


def _accuracy(part: Part, real: Reference) -> dict[str, float] | None:
    """How often the own MLO is picked among those of like area and density, with its interval; None for too few."""
    frame = part.rows[with_masks(part.rows)].reset_index(drop=True)
    try:
        scores = matching.match_scores(frame, "anatomy", real.matcher)
    except matching.TooFewPairs:
        return None
    found = matching.match_rows(frame, scores, real.protocol, (_MATCH_AMONG,))
    row = next(row for row in found if row["null"] == "strata")
    return {"rate": row["accuracy"], "low": row["low"], "high": row["high"]} if "accuracy" in row else None


def _match(own: Part, real: Reference) -> dict[str, float]:
    found = _accuracy(own, real)
    return {"match": np.nan if found is None or real.accuracy is None else
            rate_difference(found, real.accuracy)["high"] < 0.0}


def _texture(own: Part, real: Reference) -> dict[str, float]:
    x, y = (standardised(part.rows, real.part.rows) for part in (own, real.part))
    size = min(len(np.unique(owner)) for _, owner in (x, y)) // 2
    if size < MIN_SUBSET:
        return dict.fromkeys(METRICS, np.nan)
    value = synthetic_halves(y, x, size, HALVES, generator(real.seed, Stream.CONTROLS, 5)).mean(axis=0)
    low, high = real.null(size)
    return dict(zip(METRICS, (value < low) | (value > high), strict=True))


def _memorised(own: Part, real: Reference) -> dict[str, float]:
    """Whether any pair is flagged, at thresholds of the held-out pairs that weren't drawn."""
    if not set(TO_TRAINING) <= set(own.rows) or real.held.empty:
        return {}
    held = real.held.assign(set=HELDOUT)
    return {"memorised": any((own.rows[f"{name}_distance"] < flag_threshold(held, name)).any() for name in DISTANCES)}


CRITERIA: tuple[Callable[[Part, Reference], dict[str, float]], ...] = (_overlap, _rates, _pairing, _match, _texture,
                                                                       _memorised)
