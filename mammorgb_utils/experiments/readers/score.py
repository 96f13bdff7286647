"""What readers could tell: accuracy, area under the curve, agreement, ratings, artefacts, and the size it takes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.statistics.effects import Effect, wilson
from mammorgb_utils.evaluation.statistics.resampling import SET_ORDER
from mammorgb_utils.experiments.readers.agreement import accuracy, auc, kappa, n_for_accuracy, n_for_auc
from mammorgb_utils.experiments.readers.questions import ARTEFACTS, SCALE
from mammorgb_utils.streams import Stream, generator

SMALLEST = 0.6  # accuracy that a study should be able to tell from guessing, fixed beforehand
HALF_WIDTH = 0.05  # of the interval of an area that counts as known
SIMULATED = "Simulated answers: they try the method out and say nothing about the images."
_COLUMNS = ("reader", "measure", "set", "n", "estimate", "low", "high", "interval")


def score_readers(readings: pd.DataFrame, *, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Score each reader. Repeats count in the agreement within a reader alone.

    Args:
        readings: From `read_results`; each pair is of another patient, so cases are independent.
        level: Coverage of the intervals.
        seed: Of the bootstrap.

    Returns:
        `reader`, `measure`, `set` (empty: real against all synthetic), `n`, `estimate`, `low`, `high`, `interval` (its
        method). Measures: accuracy; share called synthetic; AUC of signed confidence; agreement of repeats (kappa of
        origin, quadratic kappa of consistency); median consistency; AUC of consistency (chance that a real pair is
        rated higher than a synthetic one); agreement of two readers, named `a & b`; answers or images needed.
        A measure without both classes is left out, an interval that doesn't exist is NaN.
    """
    rows = []
    for reader, part in readings.groupby("reader", sort=True):
        first = part[part["repeat_of"] == ""]
        for rated in (_origin(first, level), _ratings(first, level), _repeats(part, level, seed), _needed(first)):
            rows += [(reader, *row) for row in rated]
    rows += _between(readings[readings["repeat_of"] == ""], level, seed)
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def artefact_rates(readings: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """How often each reader saw each kind of artefact in each set, repeats left out.

    Args:
        readings: From `read_results`.
        level: Coverage of the Wilson intervals.

    Returns:
        `reader`, `set` (at the end `synthetic`, all of them together), `artefact` (a kind, or `any`), `n`, `count`,
        `rate`, `low`, `high`.
    """
    first = readings[readings["repeat_of"] == ""]
    first = first.assign(any=first[list(ARTEFACTS)].any(axis=1))
    both = pd.concat([first, first[first["synthetic"]].assign(set="synthetic")])
    rows = []
    for (reader, name), part in both.groupby(["reader", "set"], sort=True):
        for kind in (*ARTEFACTS, "any"):
            count = int(part[kind].sum())
            rows.append((reader, name, kind, len(part), count, *wilson(count, len(part), level=level)))
    table = pd.DataFrame(rows, columns=["reader", "set", "artefact", "n", "count", "rate", "low", "high"])
    place = table["set"].map({name: i for i, name in enumerate((*SET_ORDER, "synthetic"))})
    return table.iloc[np.lexsort([place, table["reader"]])].reset_index(drop=True)


def remark(readings: pd.DataFrame) -> str:
    """What a caption must say of the answers: nothing where readers gave them."""
    return SIMULATED if readings["simulated"].any() else ""


def _sets(first: pd.DataFrame) -> list[str]:
    return [name for name in SET_ORDER if name in set(first["set"])]


def _origin(first: pd.DataFrame, level: float) -> Iterator[tuple]:
    said = first["origin"] == "synthetic"
    right = int((said == first["synthetic"]).sum())
    yield "accuracy", "", len(first), *accuracy(right, len(first), level=level), "exact"
    for name in _sets(first):
        mine = said[first["set"] == name]
        yield "called synthetic", name, len(mine), *wilson(int(mine.sum()), len(mine), level=level), "Wilson"
    for name, fake, real in _contrasts(first):
        yield "AUC", name, len(fake) + len(real), *_area(fake["score"], real["score"], level)


def _area(high: pd.Series, low: pd.Series, level: float) -> tuple:
    area = auc(high, low, level=level)
    return *area, "Newcombe" if area.estimate in (0.0, 1.0) else "DeLong"


def _contrasts(first: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """All synthetic pairs against the real ones, then set by set where there are several."""
    real, fake = first[~first["synthetic"]], first[first["synthetic"]]
    names = [name for name in _sets(first) if name != "real"]
    for name in ["", *(names if len(names) > 1 else ())]:
        part = fake if name == "" else fake[fake["set"] == name]
        if len(part) and len(real):
            yield name, part, real


def _ratings(first: pd.DataFrame, level: float) -> Iterator[tuple]:
    for name in _sets(first):
        mine = first.loc[first["set"] == name, "consistency"]
        low, median, high = np.percentile(mine, [25, 50, 75])
        yield "consistency, median", name, len(mine), median, low, high, "quartiles"
    for name, fake, real in _contrasts(first):
        yield "consistency, AUC", name, len(fake) + len(real), *_area(real["consistency"], fake["consistency"], level)


def _repeats(part: pd.DataFrame, level: float, seed: int) -> Iterator[tuple]:
    again = part[part["repeat_of"] != ""]
    if again.empty:
        return
    both = again.merge(part, left_on="repeat_of", right_on="case", suffixes=("_again", "_first"))
    yield "kappa within, origin", "", len(both), *_kappa(both, "origin", "_first", "_again", level, seed), "bootstrap"
    yield ("kappa within, consistency", "", len(both), *_kappa(both, "consistency", "_first", "_again", level, seed),
           "bootstrap")


def _between(first: pd.DataFrame, level: float, seed: int) -> list[tuple]:
    rows = []
    for one, two in combinations(sorted(first["reader"].unique()), 2):
        both = first[first["reader"] == one].merge(first[first["reader"] == two], on="case", suffixes=("_1", "_2"))
        rows += [(f"{one} & {two}", f"kappa between, {field}", "", len(both),
                  *_kappa(both, field, "_1", "_2", level, seed), "bootstrap") for field in ("origin", "consistency")]
    return rows


def _kappa(both: pd.DataFrame, field: str, one: str, two: str, level: float, seed: int) -> Effect:
    ordinal = {"weights": "quadratic", "labels": SCALE} if field == "consistency" else {}
    seed = int(generator(seed, Stream.READER_SCORE).integers(2**31))
    return kappa(both[field + one].to_numpy(), both[field + two].to_numpy(), seed=seed, level=level, **ordinal)


def _needed(first: pd.DataFrame) -> Iterator[tuple]:
    """Sizes for the effect fixed beforehand, then for those that were seen, where they differ from guessing."""
    none = (float("nan"), float("nan"))
    right = ((first["origin"] == "synthetic") == first["synthetic"]).mean()
    for share, text in ((SMALLEST, f"accuracy {SMALLEST:.2f}"), (right, f"accuracy seen, {right:.2f}")):
        if share != 0.5:
            yield f"answers needed: {text}", "", len(first), n_for_accuracy(share), *none, "80 % power"
    for _, fake, real in list(_contrasts(first))[:1]:
        area = auc(fake["score"], real["score"]).estimate
        if 0.0 < area < 1.0:
            yield (f"images needed: AUC {area:.2f} ± {HALF_WIDTH:.2f}", "", len(first), 2 * n_for_auc(area, HALF_WIDTH),
                   *none, "95 % interval")
