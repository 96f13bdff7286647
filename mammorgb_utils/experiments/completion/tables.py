"""What the views that stand for a missing one say of the true one: its place among strangers, its anatomy, its mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import TRAIN
from mammorgb_utils.evaluation.anatomy import anatomy, height_over_width
from mammorgb_utils.evaluation.anatomy.agreement import MEASURES as ALL_MEASURES
from mammorgb_utils.evaluation.anatomy.matching import Matcher, TooFewPairs, fit_matcher, match_rows
from mammorgb_utils.evaluation.overlap import iou, pair_masks
from mammorgb_utils.evaluation.statistics import MIN_PAIRS, UNKNOWN, Sample, median_draws, patient_weights, wilson
from mammorgb_utils.experiments.completion.views import MEAN, MIRRORED, SETS, Asked
from mammorgb_utils.experiments.pairing_gain import CANDIDATES
from mammorgb_utils.output.records import require_unchanged
from mammorgb_utils.protocol import VIEWS, Protocol
from mammorgb_utils.runs import Run, read_table
from mammorgb_utils.streams import Stream, generator

ANATOMY = "anatomy"  # the real ceiling: what measured anatomy of the given view says of the asked one
MEASURES = tuple(name for name in ALL_MEASURES if name != "profile")  # scalars
INNER = 0.8  # share of the draws whose range should hold the truth as often
FEWEST_DRAWS = 4  # with fewer no range is told
_RETRIEVAL = ("direction", "set", "n", "n_nan", "draws", "k", "chance", "accuracy", "low", "high", "iou_median",
              "iou_low", "iou_high", "note")
_ANATOMY = ("direction", "measure", "valid", "set", "n", "n_nan", "draws", "r", "r_low", "r_high", "error", "spread",
            "determined", "nominal", "coverage", "coverage_low", "coverage_high", "p_flat")


class Measured(NamedTuple):
    """Views of one set measured: a row a view, `(n, m)` in the order of both; `masks` are `(n, m, H, W)` bool."""

    frame: pd.DataFrame
    masks: np.ndarray

    def values(self, measure: str) -> np.ndarray:
        """`(n, m)` of one measure; NaN without a mask."""
        return self.frame[f"mlo_{measure}"].to_numpy(float).reshape(self.masks.shape[:2])


class Seen(NamedTuple):
    """One direction, and its sets measured."""

    asked: Asked
    sets: dict[str, Measured]

    @property
    def real(self) -> pd.DataFrame:
        """Anatomy of all held-out pairs, with the given view's columns as `cc_` and the asked one's as `mlo_`."""
        return as_asked(self.asked.real, self.asked.given)

    def true(self, measure: str) -> np.ndarray:
        """`(n,)` one measure of the breasts' own views."""
        return self.real[f"mlo_{measure}"].to_numpy(float)[self.asked.rows]


def measured_views(asked: Asked, protocol: Protocol) -> Seen:
    """Masks and anatomy of all views that stand for the asked one, by set; their columns begin with `mlo_`."""
    column, found = VIEWS.index(asked.asked), {}
    for name, views in asked.views.items():
        flat = np.zeros((views.shape[0] * views.shape[1], 2, *views.shape[2:]), np.float32)
        flat[:, column] = views.reshape(-1, *views.shape[2:])
        masks = pair_masks(flat, protocol.mask_method)
        frame = anatomy(flat, masks, ratio=height_over_width(protocol))
        found[name] = Measured(as_asked(frame, asked.given), masks.breast[:, column].reshape(views.shape))
    return Seen(asked, found)


def as_asked(frame: pd.DataFrame, given: str) -> pd.DataFrame:
    """A table of anatomy with the given view's columns as `cc_` and the asked one's as `mlo_`."""
    if given == "CC":
        return frame
    other = {"cc": "mlo", "mlo": "cc"}
    parts = {name: name.partition("_") for name in frame}
    return frame.rename(columns={name: f"{other[view]}_{rest}" for name, (view, _, rest) in parts.items()
                                 if view in other})


def retrieval_table(directions: Sequence[Seen], train: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """How often a set's views point to the true one among strangers' of like area and density, and cover its mask.

    A set's views are averaged in the features that the match test uses, and its matcher says how likely each
    candidate is beside them.

    Args:
        directions: Of `measured_views`.
        train: metrics/anatomy.csv; its training pairs teach the matcher.
        protocol: Gives bootstrap draws over patients, seed and mask method.

    Returns:
        One row a direction and set of `SETS`, and `ANATOMY`, whose expectation is the matcher's own, from the given
        view's anatomy: `n` breasts, `n_nan` without a mask, `draws`; `k`, `chance`, `accuracy` with `low`, `high`;
        `iou_median` with bounds, over breasts the median of the mean IoU of its views' masks with the true one; `note`.
        95 % intervals.
    """
    learned = train[train["set"] == TRAIN]
    rows = [{"direction": seen.asked.direction} | row for seen in directions
            for row in _retrieved(seen, learned, protocol)]
    return pd.DataFrame(rows, columns=list(_RETRIEVAL))


def _retrieved(seen: Seen, train: pd.DataFrame, protocol: Protocol) -> list[dict[str, object]]:
    asked, real, rows = seen.asked, seen.real, []
    try:
        matcher = fit_matcher(as_asked(train, asked.given))
    except TooFewPairs as error:
        return [{"set": name, "note": str(error)} for name in SETS]
    own = pair_masks(asked.true, protocol.mask_method).breast[:, VIEWS.index(asked.asked)]
    for name, found in seen.sets.items():
        known = found.masks.any(axis=(1, 2, 3))
        row = {"set": name, "n": int(known.sum()), "n_nan": int((~known).sum()), "draws": found.masks.shape[1]}
        if known.any():
            scores = matcher.scores_beside(_expected(matcher, found)[known], real)
            row |= _accuracy(real, scores, asked.rows[known], protocol) | _overlap(own[known], found.masks[known],
                                                                                  asked, known, protocol)
        rows.append(row)
    if len(asked.rows):
        rows.append({"set": ANATOMY, "n": len(asked.rows), "n_nan": 0, "draws": 1}
                    | _accuracy(real, matcher.scores(real, asked.rows), asked.rows, protocol))
    return rows


def _expected(matcher: Matcher, found: Measured) -> np.ndarray:
    """`(n, features)` mean over each breast's views; those without a mask count for nothing."""
    features = matcher.standardised(found.frame).reshape(*found.masks.shape[:2], -1)
    seen = found.masks.any(axis=(2, 3))[..., None]
    return (features * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


def _accuracy(real: pd.DataFrame, scores: np.ndarray, rows: np.ndarray, protocol: Protocol) -> dict[str, object]:
    found = match_rows(real, scores, protocol, (CANDIDATES,), rows)
    row = next(row for row in found if row["null"] == "strata")
    return {name: row.get(name, np.nan) for name in ("k", "accuracy", "low", "high", "note")} | {
        "chance": row.get("blind", row["chance"])}


def _overlap(own: np.ndarray, masks: np.ndarray, asked: Asked, known: np.ndarray,
             protocol: Protocol) -> dict[str, float]:
    means = np.array([np.nanmean([iou(true, mask) for mask in several if mask.any()])
                      for true, several in zip(own, masks, strict=True)])
    patients = asked.real["patient"].to_numpy()[asked.rows[known]]
    draws = median_draws(Sample(means, patients), protocol.n_bootstrap,
                         generator(protocol.seed, Stream.COMPLETION_BOOTSTRAP))
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"iou_median": float(np.median(means)), "iou_low": float(low), "iou_high": float(high)}


def anatomy_table(directions: Sequence[Seen], valid: Mapping[str, str], protocol: Protocol) -> pd.DataFrame:
    """What a set's views say of each scalar of the true view, and whether they say as surely as they may.

    Args:
        directions: Of `measured_views`.
        valid: What `validity` says of each measure.
        protocol: Gives bootstrap draws over patients, and seed.

    Returns:
        One row a direction, measure and set, but for the given view turned over, which changes no scalar, and the mean,
        which is one view for all: `n` breasts, `n_nan` of which the truth or a view has no value, `draws`;
        `r` (Pearson's, of the true value and the mean of the views) with bounds; `error` (mean distance of the two)
        and `spread` (mean standard deviation of a breast's views), over the standard deviation of the true values;
        `determined` (share of the views' variance that lies between breasts: what the given view settles, by the set
        itself); of several draws `coverage` with Wilson bounds (how often the truth lies in their inner range) beside
        its `nominal` value, and `p_flat` (of even ranks, simulated).
    """
    rows = []
    for seen, measure in product(directions, MEASURES):
        for name, found in ((name, found) for name, found in seen.sets.items() if name not in (MIRRORED, MEAN)):
            true, values = known_values(seen.true(measure), found.values(measure))
            row = {"direction": seen.asked.direction, "measure": measure, "valid": valid.get(measure, "no truth"),
                   "set": name, "n": len(true), "n_nan": len(seen.asked.rows) - len(true), "draws": values.shape[1]}
            rows.append(row | (_said(true, values, protocol) if len(true) >= MIN_PAIRS else {}))
    return pd.DataFrame(rows, columns=list(_ANATOMY))


def known_values(true: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of breasts whose true value is known, and that of each of their views."""
    known = np.isfinite(true) & np.isfinite(values).all(axis=1)
    return true[known], values[known]


def _said(true: np.ndarray, values: np.ndarray, protocol: Protocol) -> dict[str, float]:
    mean, scale = values.mean(axis=1), true.std(ddof=1)
    row = dict(zip(("r", "r_low", "r_high"), _correlation(mean, true, protocol), strict=True))
    row |= {"error": np.abs(mean - true).mean() / scale}
    draws = values.shape[1]
    if draws < 2:
        return row
    within = values.var(axis=1, ddof=1)
    between = max(0.0, mean.var(ddof=1) - within.mean() / draws)  # without what few draws add
    row |= {"spread": np.sqrt(within).mean() / scale, "determined": between / max(between + within.mean(), 1e-12)}
    if draws < FEWEST_DRAWS:
        return row
    place, cut = ranks(true, values, protocol.seed), _outer(draws)
    inside = (place >= cut) & (place <= draws - cut)
    share, low, high = wilson(int(inside.sum()), inside.size)
    return row | {"nominal": (draws + 1 - 2 * cut) / (draws + 1), "coverage": share, "coverage_low": low,
                  "coverage_high": high, "p_flat": _flat(place, draws, protocol)}


def _outer(draws: int) -> int:
    """Ranks at either end that lie outside the inner range."""
    return max(1, round((1.0 - INNER) / 2.0 * (draws + 1)))


def ranks(true: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    """`(n,)` how many of a breast's `(n, m)` values lie below its true one, 0 to m; ties are broken by the seed."""
    below, ties = (values < true[:, None]).sum(axis=1), (values == true[:, None]).sum(axis=1)
    return below + generator(seed, Stream.COMPLETION_RANKS).integers(0, ties + 1)


def _flat(place: np.ndarray, draws: int, protocol: Protocol) -> float:
    """p of ranks as uneven as these where each is equally likely: chi-squared, simulated as counts are few."""
    counts = np.bincount(place, minlength=draws + 1)
    rng = generator(protocol.seed, Stream.COMPLETION_RANKS, 1)
    even = rng.multinomial(place.size, np.full(draws + 1, 1.0 / (draws + 1)), protocol.n_permutations)
    found, drawn = (((n - place.size / (draws + 1)) ** 2).sum(axis=-1) for n in (counts, even))
    return float(((drawn >= found).sum() + 1) / (protocol.n_permutations + 1))


def _correlation(x: np.ndarray, y: np.ndarray, protocol: Protocol) -> tuple[float, float, float]:
    """Pearson's r with a 95 % interval by bootstrap over breasts, one a patient; NaN where nothing varies."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return UNKNOWN
    rng = generator(protocol.seed, Stream.COMPLETION_BOOTSTRAP, 1)
    weights = [np.ones((x.size, 1)), *patient_weights(x.size, protocol.n_bootstrap, rng, n_values=x.size)]
    found = np.concatenate([_weighted_r(x - x.mean(), y - y.mean(), weight / x.size) for weight in weights])
    low, high = np.nanquantile(found[1:], [0.025, 0.975])
    return float(found[0]), float(low), float(high)


def _weighted_r(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(B,)` correlations of values that weigh as `(n, B)` columns, each of sum 1, say."""
    mx, my = x @ weights, y @ weights
    cov, vx, vy = (x * y) @ weights - mx * my, x**2 @ weights - mx**2, y**2 @ weights - my**2
    return np.divide(cov, np.sqrt(np.maximum(vx * vy, 0.0)), out=np.full(mx.shape, np.nan), where=vx * vy > 1e-18)


def model_loss(run: Run, encoding: str) -> pd.Series | None:
    """How often the model's own loss picks the own MLO, by its row of the table `pairing_gain`; None without one."""
    require_unchanged(run.tables / "pairing_gain.csv", "A7_beyond_silhouettes")
    table = read_table(run.tables / "pairing_gain.csv")
    found = table[(table["set"] == encoding) & (table["timestep"].astype(str) == "middle")]
    return found.iloc[0] if len(found) else None
