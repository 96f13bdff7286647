"""Missing is no value: a view without a mask takes part in no figure, and pairs that lack one change nothing."""

import numpy as np
import pandas as pd
import pytest
from drawn_anatomy import anatomy_rows
from drawn_views import pairs_of

from mammorgb_utils.evaluation.anatomy import anatomy_table, computed_third, match_table, third_residuals
from mammorgb_utils.evaluation.artefacts import ANY, artefact_flags, artefact_rates, artefact_scores
from mammorgb_utils.evaluation.consistency import (
    area_density_strata,
    consistency_table,
    nearest_area_overlap,
    shuffled_overlap,
)
from mammorgb_utils.evaluation.overlap import pair_masks, pair_metrics, plausible
from mammorgb_utils.evaluation.sets import StudySets, overlap_table, shuffled_table
from mammorgb_utils.evaluation.statistics import distance_table, effect_table
from mammorgb_utils.protocol import Protocol

PROTOCOL = Protocol(n_bootstrap=100, n_permutations=100, n_derangements=5, encodings=("sum",))
DEPTHS = [(0.4, 0.45), (0.5, 0.55), (0.6, 0.7), (0.7, 0.75), (0.55, 0.5), (0.45, 0.6), (0.65, 0.6), (0.52, 0.58)]


def with_black_views(pairs):
    """The pairs, and three more: without a CC, without an MLO, without both."""
    more = pairs[:3].copy()
    more[0, 0], more[1, 1], more[2] = 0.0, 0.0, 0.0
    return np.concatenate([pairs, more])


@pytest.fixture(scope="module")
def pairs():
    return pairs_of(DEPTHS)


@pytest.fixture(scope="module")
def more(pairs):
    return with_black_views(pairs)


def test_a_pair_without_a_mask_has_neither_overlap_nor_area(more):
    frame = pair_metrics(more)
    lacking = frame.iloc[-3:]
    assert lacking[["iou", "dsc", "iou_no_muscle", "dsc_no_muscle"]].isna().all(axis=None)
    assert lacking["cc_area"].isna().tolist() == [True, False, True]
    assert lacking["mlo_area"].isna().tolist() == [False, True, True]
    assert frame.iloc[:-3].notna().all(axis=None)


def test_missing_areas_set_no_plausible_range_and_are_not_in_it(pairs, more):
    few, many = pair_metrics(pairs), pair_metrics(more)
    assert plausible(few, many[:8]).equals(plausible(few, few)) and not plausible(many, few)[-3:].any()
    black = pd.concat([few, many[-1:]], ignore_index=True)
    assert plausible(few, black).equals(plausible(few, few))
    assert not plausible(few, many[-1:]).any(), "without a real mask no range is known"


def test_shuffled_pairs_and_the_nearest_area_are_the_same_without_them(pairs, more):
    few, many = pair_masks(pairs), pair_masks(more)
    for shuffle in (lambda masks: shuffled_overlap(masks, n_draws=6, seed=1), nearest_area_overlap):
        pd.testing.assert_frame_equal(shuffle(few), shuffle(many))
    assert shuffled_overlap(pair_masks(more[-3:]), n_draws=6, seed=1).empty
    assert nearest_area_overlap(pair_masks(more[-4:])).empty, "one pair with masks has no stranger"


def test_every_table_of_overlap_is_the_same_but_for_the_count(pairs, more):
    def tables(views):
        sets = StudySets.of({"real": pairs, "sum": views}, PROTOCOL)
        overlap, shuffled = overlap_table(sets), shuffled_table(sets)
        return (consistency_table(overlap, shuffled, PROTOCOL), distance_table(overlap, PROTOCOL),
                effect_table(overlap, PROTOCOL))

    for few, many in zip(tables(pairs), tables(more), strict=True):
        own = many["set"] == "sum"
        assert (many.loc[own, "n_nan"] == 3).all() and (few["n_nan"] == 0).all()
        pd.testing.assert_frame_equal(few.drop(columns="n_nan"), many.drop(columns="n_nan"))


def test_pairs_of_unknown_area_or_density_have_no_stratum():
    rng = np.random.default_rng(0)
    area, density = rng.random(90), rng.random(90)
    holes = np.where(np.arange(100) % 10 == 9)[0]
    wide_area, wide_density = np.zeros((2, 100))
    wide_area[holes[::2]], wide_density[holes[1::2]] = np.nan, np.nan
    kept = np.setdiff1d(np.arange(100), holes)
    wide_area[kept], wide_density[kept] = area, density
    found = area_density_strata(wide_area, wide_density)
    assert (found[holes] == -1).all() and np.array_equal(found[kept], area_density_strata(area, density))


def test_anatomy_and_match_test_are_the_same_without_them():
    few = pd.concat([anatomy_rows("real", 60), anatomy_rows("sum", 60, seed=1)], ignore_index=True)
    lacking = anatomy_rows("sum", 7, seed=2).assign(pair=[f"lacking{i}" for i in range(7)])
    lacking["patient"] = lacking["pair"]
    lacking.loc[:2, [name for name in lacking if name.startswith("mlo_")]] = np.nan
    lacking.loc[3:, [name for name in lacking if name.startswith(("mlo_", "cc_"))]] = np.nan
    many = pd.concat([few, lacking], ignore_index=True)
    one, other = (match_table(table, PROTOCOL) for table in (few, many))
    assert (other.loc[other["set"] == "sum", "n_nan"] == 7).all()
    pd.testing.assert_frame_equal(one.drop(columns="n_nan"), other.drop(columns="n_nan"))
    one, other = (anatomy_table(table, PROTOCOL) for table in (few, many))
    pd.testing.assert_frame_equal(one.drop(columns="n_nan"), other.drop(columns="n_nan"))


def test_the_third_channel_of_a_black_pair_is_nobodys_stranger(pairs, more):
    def residuals(views):
        names = [f"p{i}" for i in range(len(views))]
        third = computed_third(views, "sum", sum_scale=0.5) * 0.9
        return third_residuals(views, third, pair_masks(views), "sum", PROTOCOL, names=names, patients=names,
                               strata=np.r_[np.arange(8) % 2, np.full(len(views) - 8, -1)])

    few, many = residuals(pairs), residuals(more)
    lacking = many["cc_pair"].isin(["p8", "p9", "p10"])
    assert set(many.loc[lacking, "null"]) == {"own"} and many.loc[lacking, "residual"].isna().all()
    pd.testing.assert_frame_equal(few, many[~lacking].reset_index(drop=True))


def test_detectors_say_nothing_of_what_they_cannot_see(more):
    masks = pair_masks(more)
    scores, flags = artefact_scores(more, masks), artefact_flags(more, masks)
    assert scores["view_mismatch"].isna().tolist() == [False] * 8 + [True] * 3
    unseen = scores[["background_offset", "edge_line", "label_remnant"]].isna().all(axis=1)
    assert unseen.tolist() == [False] * 10 + [True]
    assert flags["cut_breast"].tolist()[-3:] == [True] * 3 and flags[ANY].tolist()[-3:] == [True] * 3
    rates = artefact_rates(flags.assign(set="sum", patient=range(11))).set_index("artefact")
    assert rates.loc["view_mismatch", ["n", "n_nan"]].tolist() == [8, 3]
    assert rates.loc["edge_line", ["n", "n_nan"]].tolist() == [10, 1] and rates.loc[ANY, "n_nan"] == 0
