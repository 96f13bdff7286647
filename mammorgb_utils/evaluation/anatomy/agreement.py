"""Whether views, and the third channel that was drawn with them, are of one breast: every measure against strangers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from mammorgb_utils.diffusion.encoding import encode_pair
from mammorgb_utils.evaluation.anatomy.measure import PROFILES
from mammorgb_utils.evaluation.consistency import (
    area_density_strata,
    pairing_gain,
    score_of_gains,
    strangers,
)
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.statistics import MIN_PAIRS, UNKNOWN, patient_of, sets_in
from mammorgb_utils.evaluation.threads import on_every_core
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

OWN = "own"  # the null column's word for a pair's own third channel
NULLS = ("global", "strata")
MEASURES = ("area", "nipple_line", "centroid", "profile", "dense", "mass_depth")
RATIOS = ("area", "nipple_line")  # compared by their log ratio, the others by their difference
NULL_DRAWS = 199  # derangements behind a p-value
MAX_THIRDS = 500  # pairs of a set whose third channel is compared, the first ones: more would add little but time
_SHUFFLED = 2_000  # shuffled pairs behind an interval: more cost time alone
_COLUMNS = ("measure", "set", "null", "valid", "n", "n_nan", "r", "paired", "shuffled", "gain", "gain_low", "gain_high",
            "p", "n_draws", "score", "score_low", "score_high", "note")
Compared = tuple[dict, pd.DataFrame, pd.DataFrame]  # facts of a row, disagreement of own and of strangers' views


def strata_of(anatomy: pd.DataFrame) -> np.ndarray:
    """Area × density stratum, `(N,)` int, of each pair of one set, from both views' means in metrics/anatomy.csv; −1
    where a view lacks one of them."""
    area, density = (anatomy[[f"cc_{name}", f"mlo_{name}"]].mean(axis=1, skipna=False).to_numpy()
                     for name in ("area", "dense"))
    return area_density_strata(area, density, patients=patient_of(anatomy))


def usual_differences(real: pd.DataFrame) -> dict[str, float]:
    """By how much the MLO of a real breast exceeds its CC: the median of each measure but the profile."""
    rows = np.arange(len(real))
    return {name: float(np.nanmedian(_difference(real, rows, rows, name))) if len(real) else 0.0
            for name in MEASURES if name != "profile"}


def disagreement(anatomy: pd.DataFrame, cc: np.ndarray, mlo: np.ndarray, measure: str,
                 usual: Mapping[str, float]) -> np.ndarray:
    """How far CC views and MLO views of one set, by row numbers `cc` and `mlo`, are from showing the same anatomy.

    Returns:
        `(n,)`, 0 = agreement: |difference − usual| of MLO and CC, of logarithms in `RATIOS`; for `profile` one minus
        Pearson's correlation. NaN where a value is missing.
    """
    if measure != "profile":
        return np.abs(_difference(anatomy, cc, mlo, measure) - usual[measure])
    a, b = (anatomy[PROFILES[view]].to_numpy(float)[rows] for view, rows in (("cc", cc), ("mlo", mlo)))
    known = np.isfinite(a) & np.isfinite(b)
    count, enough = np.maximum(known.sum(axis=1, keepdims=True), 1), known.sum(axis=1) >= MIN_PAIRS
    a, b = (np.where(known, x, 0.0) for x in (a, b))
    a, b = (np.where(known, x - x.sum(axis=1, keepdims=True) / count, 0.0) for x in (a, b))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return 1.0 - np.divide((a * b).sum(axis=1), scale, out=np.full(len(a), np.nan), where=enough & (scale > 0))


def _difference(anatomy: pd.DataFrame, cc: np.ndarray, mlo: np.ndarray, measure: str) -> np.ndarray:
    a, b = (anatomy[f"{view}_{measure}"].to_numpy(float)[rows] for view, rows in (("cc", cc), ("mlo", mlo)))
    return np.log(b / a) if measure in RATIOS else b - a


def anatomy_table(anatomy: pd.DataFrame, protocol: Protocol, *, residuals: pd.DataFrame | None = None,
                  valid: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Agreement of the two views of a pair, against strangers' views, in one form for every measure.

    Args:
        anatomy: metrics/anatomy.csv.
        protocol: Gives encodings, bootstrap draws and seed.
        residuals: metrics/third_residuals.csv.
        valid: What `validity` says of each measure.

    Returns:
        One row a measure, null (`global`: any other patient's MLO; `strata`: one of like area and density) and set:
        `valid` (`exact` for the third channel, which needs no truth); `n`, `n_nan`; `r` (Spearman's, of the views);
        `paired`, `shuffled` (median `disagreement`); `gain` (shuffled − paired: what pairing adds) with `gain_low`,
        `gain_high`; `p` of the derangement null and its `n_draws`; `score` (gain over the real gain) with `score_low`,
        `score_high`; `note`. A set that is too small or half one patient's has values of NaN and a note.

    Source:
        The score is that of `score_of_gains`. The offset that real breasts show between the views is taken out.
    """
    found = set(anatomy["set"]) if "set" in anatomy else set()
    names = sets_in(anatomy, protocol, with_real=True) if "real" in found else []
    parts = {name: anatomy[anatomy["set"] == name].reset_index(drop=True) for name in names}
    compared = _measured(parts, protocol, valid or {})
    if residuals is not None:
        compared = chain(compared, _residuals(parts, residuals))
    rows, gains = [], {}
    for facts, paired, other in compared:
        rows.append(facts | _row(paired, other, gains.setdefault((facts["measure"], facts["null"]), {}), protocol))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _measured(parts: Mapping[str, pd.DataFrame], protocol: Protocol, valid: Mapping[str, str]) -> Iterator[Compared]:
    usual = usual_differences(parts["real"]) if parts else {}
    partners = {(name, null): _partners(part, null, protocol) for name, part in parts.items() for null in NULLS}
    for measure, null, (name, part) in product(MEASURES, NULLS, parts.items()):
        own, (known, partner), pair = np.arange(len(part)), partners[name, null], part["pair"].to_numpy()
        draws, cc = np.repeat(np.arange(len(partner)), known.size), np.tile(known, len(partner))
        other = pd.DataFrame({"draw": draws, "cc_pair": pair[cc], "mlo_pair": pair[partner.ravel()],
                              "value": disagreement(part, cc, partner.ravel(), measure, usual)})
        facts = {"measure": measure, "set": name, "null": null, "valid": valid.get(measure, "no truth"),
                 "r": _rank_correlation(part, measure)}
        yield facts, part.assign(value=disagreement(part, own, own, measure, usual)), other


def with_masks(anatomy: pd.DataFrame) -> np.ndarray:
    """`(N,)` bool: pairs with a mask in both views."""
    return anatomy[["cc_area", "mlo_area"]].notna().all(axis=1).to_numpy()


def _partners(part: pd.DataFrame, null: str, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """What `strangers` gives; no draw where a set is too small, or nearly one patient's."""
    known, owner = with_masks(part), patient_of(part)
    strata = strata_of(part) if null == "strata" else None
    left = owner[known if strata is None else known & (strata >= 0)]
    enough = len(left) >= MIN_PAIRS and 2 * np.unique(left, return_counts=True)[1].max() <= len(left)
    rng = generator(protocol.seed, Stream.ANATOMY_AGREEMENT, NULLS.index(null))
    return strangers(known, NULL_DRAWS if enough else 0, rng, patients=owner, strata=strata)


def _residuals(parts: Mapping[str, pd.DataFrame], residuals: pd.DataFrame) -> Iterator[Compared]:
    residuals = residuals.rename(columns={"residual": "value"})
    for measure, null, (name, part) in product(residuals["measure"].unique(), NULLS, parts.items()):
        mine = residuals[(residuals["measure"] == measure) & (residuals["set"] == name)]
        if len(mine):
            paired = mine.loc[mine["null"] == OWN, ["cc_pair", "value"]].rename(columns={"cc_pair": "pair"})
            yield ({"measure": measure, "set": name, "null": null, "valid": "exact"},
                   paired.merge(part[["set", "pair", "patient"]], on="pair", how="left"), mine[mine["null"] == null])


def _row(paired: pd.DataFrame, other: pd.DataFrame, gains: dict[str, tuple], protocol: Protocol) -> dict[str, object]:
    """Paired against shuffled disagreement of one set; `gains` keeps the real set's, which comes first."""
    known = paired["value"].notna()
    row = {"n": int(known.sum()), "n_nan": int((~known).sum()), "note": ""}
    if row["n"] < MIN_PAIRS:
        return row | {"note": f"fewer than {MIN_PAIRS} usable pairs"}
    if other["value"].notna().sum() == 0:
        return row | {"note": "no strangers' views to shuffle with"}
    name, median = paired["set"].iloc[0], paired["value"].median()
    by_draw = other.groupby("draw")["value"].median()
    few = other[other["draw"] < max(2, _SHUFFLED // other["cc_pair"].nunique())]
    seed = protocol.seed + Stream.ANATOMY_AGREEMENT + (name == "real")
    _, draws = pairing_gain(*(frame.assign(value=-frame["value"]) for frame in (paired, few)),
                            n_bootstrap=protocol.n_bootstrap, seed=seed, measure="value")
    gain, draws = gains[name] = other["value"].median() - median, draws
    score = score_of_gains(gains[name], gains["real"]) if name != "real" and "real" in gains else UNKNOWN
    low, high = np.nanquantile(draws, [0.025, 0.975])
    note = "no real gain to compare with" if name != "real" and np.isnan(score.low) else ""
    return row | {"paired": median, "shuffled": other["value"].median(), "gain": gain, "gain_low": low,
                  "gain_high": high, "p": ((by_draw <= median).sum() + 1) / (len(by_draw) + 1),
                  "n_draws": len(by_draw), **score.columns("score"), "note": note}


def _rank_correlation(part: pd.DataFrame, measure: str) -> float:
    if measure == "profile":
        return np.nan
    both = part[[f"cc_{measure}", f"mlo_{measure}"]].dropna()
    varied = len(both) >= MIN_PAIRS and (both.nunique() > 1).all()
    return float(spearmanr(*both.to_numpy().T).statistic) if varied else np.nan


def computed_third(pairs: np.ndarray, encoding: str, *, sum_scale: float) -> np.ndarray:
    """`(N, H, W)` in [0, 1], of the dtype of the pairs: the third channel that an encoding makes of them."""
    third = np.empty((len(pairs), *pairs.shape[2:]), pairs.dtype)  # a list of channels would keep whole images alive
    for row, (cc, mlo) in zip(third, pairs, strict=True):
        row[:] = encode_pair(cc, mlo, encoding, sum_scale=sum_scale)[..., 2]
    return third


def third_residuals(pairs: np.ndarray, third: np.ndarray | None, masks: PairMasks, encoding: str, protocol: Protocol, *,
                    names: Sequence, patients: Sequence, strata: Sequence) -> pd.DataFrame:
    """Mean absolute difference between drawn and computed third channel inside the breast, own and strangers'.

    Args:
        pairs: `(N, 2, H, W)` float32 in [0, 1], CC first; the first `MAX_THIRDS` count.
        third: `(N, H, W)`, drawn with each pair; None for real pairs, whose own is computed.
        masks: Of the pairs; the residual is taken where either view shows breast.
        encoding: What the third channel is meant to be.
        protocol: `sum_scale`, `n_derangements` and `seed`.
        names, patients, strata: Of each pair. A pair that lacks a mask has no residual, and is nobody's stranger.

    Returns:
        `measure` (`third_<encoding>`), `null` (`own`: the pair's third channel; `global`, `strata`: another's), `draw`,
        `cc_pair` (whose views), `mlo_pair` (whose third channel), `residual`: over the standard deviation of the
        computed channel inside the breast; where that is 0, as for `zero`, of the intensity range.
    """
    if third is not None and len(third) != len(pairs):
        raise ValueError(f"third: {len(third)} channels for {len(pairs)} pairs; draw both in one run (notebook 03)")
    n = min(len(pairs), MAX_THIRDS)
    names, patients, strata = (np.asarray(labels)[:n] for labels in (names, patients, strata))
    expected = computed_third(pairs[:n], encoding, sum_scale=protocol.sum_scale)
    third = np.asarray(expected if third is None else third[:n], np.float32)
    known = masks.found[:n]
    inside = masks.breast[:n].any(axis=1) & known[:, None, None]
    rng, asked = generator(protocol.seed, Stream.ANATOMY_THIRD_CHANNEL), [(OWN, 0, np.arange(n), np.arange(n))]
    for null, labels in (("global", None), ("strata", strata)):
        rows, partners = strangers(known, protocol.n_derangements, rng, patients=patients, strata=labels)
        asked += [(null, draw, rows, partner) for draw, partner in enumerate(partners)]
    found = on_every_core(lambda row: _residual(expected, third, inside, *row[2:]), asked)
    table = pd.concat([pd.DataFrame({"null": null, "draw": draw, "cc_pair": names[rows], "mlo_pair": names[partner],
                                     "residual": residual})
                       for (null, draw, rows, partner), residual in zip(asked, found, strict=True)], ignore_index=True)
    spread = float(np.std(expected[inside], dtype=float)) if inside.any() else 0.0
    table["residual"] /= spread or 1.0
    table.insert(0, "measure", f"third_{encoding}")
    return table


def _residual(expected: np.ndarray, third: np.ndarray, inside: np.ndarray, rows: np.ndarray,
              partner: np.ndarray) -> np.ndarray:
    """`(n,)` mean of |third of the partner − expected| inside the breast; NaN without one."""
    total = [np.abs(third[j] - expected[i])[inside[i]].sum(dtype=float) for i, j in zip(rows, partner, strict=True)]
    count = inside[rows].sum(axis=(1, 2))
    return np.divide(total, count, out=np.full(len(rows), np.nan), where=count > 0)
