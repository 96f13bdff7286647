"""How often a set's pairs carry artefacts, what that goes with, and the detectors' own record."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mammorgb_utils.evaluation.artefacts.detectors import ANY, DETECTORS, THRESHOLDS, flags_from_scores
from mammorgb_utils.evaluation.statistics import patient_of, rate_row
from mammorgb_utils.protocol import SET_ORDER
from mammorgb_utils.streams import Stream, generator

SCOPE_SHIFT = 0.05  # of the image: an area that matching moves by more depends on the choice of its scope
_QUARTILES = (0.25, 0.75)  # of the areas of all pairs


def artefact_rates(flags: pd.DataFrame) -> pd.DataFrame:
    """How many patients' pairs carry each artefact, by set.

    Args:
        flags: One row a pair: `set`, `patient` (a synthetic pair's is its own), and the bool columns of
            `artefact_flags`.

    Returns:
        One row a set and artefact, `any` last: `set`, `artefact`, `n_nan` (pairs of which the detector says nothing, as
        they lack a mask) and the columns of `rate_row`: a patient of several pairs counts once, by the share of them
        that is flagged.
    """
    kinds = [*DETECTORS, ANY]
    if absent := [name for name in ("set", "patient", *kinds) if name not in flags]:
        raise ValueError(f"flags: columns {', '.join(absent)} are missing; take them from artefact_flags, and add set "
                         "and patient of each pair")
    rows, present = [], set(flags["set"])
    for name in [*(name for name in SET_ORDER if name in present), *sorted(present - set(SET_ORDER))]:
        part = flags[flags["set"] == name]
        patients = patient_of(part.assign(pair=part.index))
        for kind in kinds:
            known = part[kind].notna().to_numpy()
            rows.append({"set": name, "artefact": kind, "n_nan": np.count_nonzero(~known)}
                        | rate_row(part.loc[known, kind].astype(bool), groups=patients[known]))
    return pd.DataFrame(rows, columns=["set", "artefact", "n", "n_nan", "count", "rate", "low", "high"])


def rate_differences(rates: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Every set's artefact rates, from `artefact_rates`, minus those of one set, the reference.

    Returns:
        One row a set and artefact: `set`, `artefact`, `rate`, `reference_rate`, `difference`, `low`, `high` (95 %).
        Many intervals are shown and none is corrected: they explore.

    Source:
        Newcombe 1998, method 10: the difference's interval from the two Wilson intervals.
    """
    base = rates[rates["set"] == reference].set_index("artefact")
    if base.empty:
        raise ValueError(f"rates: no rows of the set {reference!r} to compare with")
    rows = []
    for row in rates[rates["set"] != reference].to_dict("records"):
        other = base.loc[row["artefact"]]
        rows.append({"set": row["set"], "artefact": row["artefact"], "rate": row["rate"],
                     "reference_rate": other["rate"], **rate_difference(row, other)})
    return pd.DataFrame(rows, columns=["set", "artefact", "rate", "reference_rate", "difference", "low", "high"])


def rates_by_fact(flagged: pd.Series, facts: pd.DataFrame, patients: pd.Series) -> pd.DataFrame:
    """Whether pairs of which something is known carry artefacts more often than the others.

    Args:
        flagged: Bool by pair.
        facts: Bool columns by pair; NaN where a fact isn't known of it.
        patients: Patient by pair.

    Returns:
        One row a fact: `fact`, `n_with`, `n_without` (patients), `rate_with`, `rate_without`, `difference`, `low`,
        `high` (95 %; NaN where no pair is on one side). A patient with pairs on both sides counts on both, though the
        interval takes the two rates for independent.
    """
    rows = []
    for name, known in ((name, facts[name].dropna().astype(bool)) for name in facts):
        sides = (side.index[side] for side in (known, ~known))
        has, lacks = (rate_row(flagged[pairs], groups=patients[pairs].to_numpy()) for pairs in sides)
        rows.append({"fact": name, "n_with": has["n"], "rate_with": has["rate"], "n_without": lacks["n"],
                     "rate_without": lacks["rate"], **rate_difference(has, lacks)})
    return pd.DataFrame(rows)


def facts_of_pairs(images: pd.DataFrame, metrics: pd.DataFrame, audit: pd.DataFrame | None = None) -> pd.DataFrame:
    """What preprocessing and masks say of each real pair.

    Args:
        images: `pairs/images.csv`.
        metrics: `pair_metrics` of the pairs with `plausible`, indexed by pair.
        audit: `pairs/audit.csv`, where it was made.

    Returns:
        Bool columns by pair, in the order of `metrics`: a tag contradicts another or the pixels, grey scale inverted in
        the file, implausible mask, breast small or large (CC area outside the quartiles), areas that depend on the
        matching's scope (NaN where the audit left a pair out).
    """
    kept = images[images["excluded"].fillna("") == ""]
    conflict = kept["detail"].fillna("").ne("")
    tags = kept["chest_wall_by_tags"].fillna("")
    conflict |= tags.ne("") & tags.ne(kept["chest_wall"])
    by_pair = pd.DataFrame({"pair": kept["pair"], "tags in conflict": conflict,
                            "stored inverted": kept["photometric"].eq("MONOCHROME1")}).groupby("pair").any()
    facts = by_pair.reindex(metrics.index)
    low, high = metrics["cc_area"].quantile(list(_QUARTILES))
    known = metrics["cc_area"].notna()
    facts = facts.assign(**{"mask implausible": ~metrics["plausible"].astype(bool),
                            "small breast": (metrics["cc_area"] < low).where(known),
                            "large breast": (metrics["cc_area"] > high).where(known)})
    if audit is None:
        return facts
    return facts.assign(**{"area depends on matching": _moved_by_matching(audit).reindex(metrics.index)})


def drawn_pairs(scores: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Up to `n` pairs of every set drawn by a seed, for a look at those that are flagged.

    Args:
        scores: `artefact_scores` of the pairs, with `set` and `pair`.

    Returns:
        The drawn rows in their order with `kinds` (names of the flagged artefacts) and `excess` (largest score over its
        threshold).
    """
    rng = generator(seed, Stream.ARTEFACT_LOOK)
    drawn = pd.concat([part.iloc[np.sort(rng.permutation(len(part))[:n])]
                       for _, part in scores.groupby("set", sort=False)])
    flags = flags_from_scores(drawn)[list(DETECTORS)].eq(True)
    kinds = [", ".join(name.replace("_", " ") for name in flags if row[name]) for _, row in flags.iterrows()]
    return drawn.assign(kinds=kinds, excess=(drawn[list(DETECTORS)] / pd.Series(THRESHOLDS)).max(axis=1))


def detector_performance(results: pd.DataFrame) -> pd.DataFrame:
    """What each detector finds, and flags in vain, on the cohort that its threshold wasn't taken from.

    Args:
        results: `benchmarks/results/artefact_detectors.csv`.

    Returns:
        One row a detector and image size: `artefact`, `image_size`, `threshold`; of planted pairs `n_planted`, `found`,
        `found_low`, `found_high`; of clean ones `n_clean`, `false_positives`, `_low`, `_high`; of real mammograms
        `n_mammograms`, `flagged_mammograms` (0 and NaN where none were read).
    """
    whole = results[results["variant"] == "all"].set_index(["artefact", "image_size"])
    planted, clean = (whole[(whole["cohort"] == "scored") & (whole["origin"] == origin)]
                      for origin in ("planted", "clean"))
    mammograms = whole[whole["cohort"] == "real mammograms"].reindex(clean.index)
    table = pd.DataFrame({"threshold": clean["threshold"]})
    for n, name, part in (("n_planted", "found", planted), ("n_clean", "false_positives", clean)):
        table = table.assign(**{n: part["n"], name: part["rate"], f"{name}_low": part["low"],
                                f"{name}_high": part["high"]})
    table = table.assign(n_mammograms=mammograms["n"].fillna(0).astype(int), flagged_mammograms=mammograms["flagged"])
    order = {name: i for i, name in enumerate(DETECTORS)}
    return table.reset_index().sort_values(["artefact", "image_size"], ignore_index=True,
                                           key=lambda column: column.replace(order))


def _moved_by_matching(audit: pd.DataFrame) -> pd.Series:
    """By pair, whether an area differs between no matching and one over the whole image."""
    rows = audit[(audit["aspect"] == "squash") & (audit["mask_method"] == "background")].set_index("pair")
    before, after = (rows.loc[rows["match_scope"] == scope, ["cc_area", "mlo_area"]] for scope in ("none", "image"))
    moved = (after - before).abs()
    return moved.max(axis=1).gt(SCOPE_SHIFT).where(moved.notna().all(axis=1)).astype(object)


def rate_difference(one: dict, other: dict | pd.Series) -> dict[str, float]:
    """Difference of two rates with its 95 % interval, from their Wilson intervals."""
    gap = one["rate"] - other["rate"]
    return {"difference": gap, "low": gap - np.hypot(one["rate"] - one["low"], other["high"] - other["rate"]),
            "high": gap + np.hypot(one["high"] - one["rate"], other["rate"] - other["low"])}
