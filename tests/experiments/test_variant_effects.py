"""Effects of a preprocessing against numbers worked by hand, and what turned views, blanks and nothing do to them."""

import numpy as np
import pandas as pd
import pytest
from drawn_views import breast, pairs_of, view

from mammorgb_utils.evaluation.artefacts import artefact_flags
from mammorgb_utils.evaluation.overlap import pair_masks
from mammorgb_utils.evaluation.sets import StudySets, overlap_table, shuffled_table
from mammorgb_utils.evaluation.statistics import hodges_lehmann
from mammorgb_utils.experiments.preprocessing.effects import (
    EFFECT_COLUMNS,
    SIDES_DIFFER,
    VariantSets,
    side_agreement,
    to_the_left,
    variant_artefacts,
    variant_effect,
)
from mammorgb_utils.experiments.preprocessing.variants import Variant
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, write_csv

PROTOCOL = Protocol(n_bootstrap=200, n_derangements=5)
UNTURNED = PROTOCOL.changed(mirror=False)
OFF = Variant("mirror-off", "mirror", "off")
DEPTHS = [(depth, depth + 0.03) for depth in np.linspace(0.25, 0.75, 12)]
REAL = pairs_of(DEPTHS)
INDEX = pd.DataFrame({"pair": [f"P{i}" for i in range(12)], "patient": [f"W{i // 2}" for i in range(12)]})
RIGHT = np.zeros((12, 2), bool)
RIGHT[::3] = True
RIGHT[4, 1] = True  # views of one breast on two sides


@pytest.fixture(scope="module")
def real():
    return VariantSets.of(REAL, INDEX, PROTOCOL)


def overlap_of(measured, name):
    return measured.overlap[measured.overlap["set"] == name].set_index("pair")


def as_recorded():
    pairs = REAL.copy()
    pairs[RIGHT] = pairs[RIGHT][..., ::-1]
    return pairs


def test_views_on_the_right_are_turned_and_blank_ones_stay():
    turned, on_right = to_the_left(as_recorded(), UNTURNED)
    np.testing.assert_array_equal(turned, REAL)
    np.testing.assert_array_equal(on_right, RIGHT)
    blank = np.zeros((1, 2, 64, 64), np.float32)
    assert not to_the_left(blank, UNTURNED)[1].any()
    grey = np.stack([np.stack([view(breast(64, 0.5)[:, ::-1], air=0.2, noise=0.01)] * 2)])
    assert to_the_left(grey, UNTURNED)[1].all(), "whole-image matching makes air grey"


def test_views_on_the_left_stay_and_are_what_the_study_measures(real):
    assert real.sets.pairs["real"] is REAL and not real.on_right["real"].any()
    pd.testing.assert_frame_equal(real.overlap, overlap_table(StudySets.of({"real": (REAL, INDEX)}, PROTOCOL)))
    pd.testing.assert_frame_equal(real.sets.rows(artefact_flags).drop(columns=["set", "pair", "patient"]),
                                  artefact_flags(REAL, pair_masks(REAL)))


def test_without_mirroring_views_are_measured_as_if_turned(real):
    found = VariantSets.of(as_recorded(), INDEX, UNTURNED).with_drawn(as_recorded())
    pd.testing.assert_frame_equal(overlap_of(found, "real"), overlap_of(real, "real"))
    np.testing.assert_array_equal(overlap_of(found, "drawn")["iou"], overlap_of(real, "real")["iou"])
    for name in ("real", "drawn"):
        np.testing.assert_array_equal(found.on_right[name], RIGHT)
    unturned = VariantSets.of(as_recorded(), INDEX, PROTOCOL)  # what would be said if nobody looked at the side
    assert unturned.overlap["iou"].isna().sum() >= 4


def test_sides_are_held_against_those_of_the_mammograms(tmp_path):
    run = Run(tmp_path, UNTURNED, tmp_path / "manifest.csv")
    images = INDEX.merge(pd.DataFrame({"view": ["MLO", "CC"]}), how="cross").assign(excluded="", chest_wall="left")
    images.loc[images["pair"].isin(INDEX["pair"][::3]), "chest_wall"] = "right"
    write_csv(run.images, pd.concat([images, images.head(1).assign(excluded="repeated view")]))
    turned = VariantSets.of(as_recorded(), INDEX, UNTURNED)
    assert side_agreement(run, turned) == pytest.approx(23 / 24)


def test_a_row_against_its_parts(real):
    measured = real.with_drawn(pairs_of([(depth, depth + 0.1) for depth in np.linspace(0.3, 0.7, 9)]))
    row = variant_effect(OFF, measured, PROTOCOL).loc[0]
    own, theirs = (overlap_of(measured, name)["iou"] for name in ("real", "drawn"))
    assert tuple(row.index) == EFFECT_COLUMNS and (row["variant"], row["field"], row["choice"]) == (
        "mirror-off", "mirror", "off")
    assert (row["n_real"], row["n"], row["n_real_nan"], row["n_nan"]) == (12, 9, 0, 0)
    assert row["real_median"] == own.median() and row["synthetic_median"] == theirs.median()
    shuffled = shuffled_table(measured.sets)
    assert row["real_gain"] == pytest.approx(own.median() - shuffled.loc[shuffled["set"] == "real", "iou"].median())
    assert row["score"] == pytest.approx(row["synthetic_gain"] / row["real_gain"])
    assert row["shift"] == hodges_lehmann(theirs, own).estimate < 0 and row["shift_low"] <= row["shift"]
    rates = measured.sets.rows(artefact_flags).groupby("set")["any"].mean()
    assert (row["artefact_rate"], row["real_artefact_rate"]) == (rates["drawn"], rates["real"])


def test_real_pairs_against_themselves_have_no_effect(real):
    itself = VariantSets(real.sets.with_set("drawn", REAL, INDEX), real.on_right | {"drawn": real.on_right["real"]})
    row = variant_effect(OFF, itself, PROTOCOL).loc[0]
    assert row["shift"] == 0 and row["score"] == 1 and row["score_low"] < 1 < row["score_high"]


def test_blank_views_are_counted_and_a_set_without_pairs_has_a_row(real):
    blank = pairs_of([(0.4, 0.45), (0.5, 0.55), (0.6, 0.65), (0.4, 0.5)])
    blank[0] = 0.0
    row = variant_effect(OFF, real.with_drawn(blank), PROTOCOL).loc[0]
    assert (row["n"], row["n_nan"]) == (3, 1) and np.isfinite(row["shift"])
    nothing = real.with_drawn(blank[:0])
    row = variant_effect(OFF, nothing, PROTOCOL).loc[0]
    assert row["n"] == 0 and row[["synthetic_median", "shift", "score", "artefact_rate", "plausible"]].isna().all()
    assert row["real_median"] > 0.8 and set(variant_artefacts(OFF, nothing)["set"]) == {"real"}


def test_views_on_two_sides_are_counted_by_patient():
    found = VariantSets.of(as_recorded(), INDEX, UNTURNED).with_drawn(as_recorded()[3:6])
    rates = variant_artefacts(OFF, found)
    apart = rates[rates["artefact"] == SIDES_DIFFER].set_index("set")
    assert apart.loc["real", "n"] == 6 and apart.loc["real", "count"] == 0.5, "one of two breasts of one patient"
    assert apart.loc["drawn", "n"] == 3 and apart.loc["drawn", "rate"] == pytest.approx(1 / 3)
    assert rates["set"].tolist() == ["real"] * (len(rates) // 2) + ["drawn"] * (len(rates) // 2)
    halves = as_recorded()[3:6]
    halves[:, 1] = 0.0  # a view without a breast lies on no side
    rate = variant_artefacts(OFF, found.with_drawn(halves)).set_index(["set", "artefact"]).loc["drawn", SIDES_DIFFER]
    assert (rate["n"], rate["n_nan"]) == (0, 3)
    turned = VariantSets.of(REAL, INDEX, PROTOCOL)
    assert SIDES_DIFFER not in set(variant_artefacts(OFF, turned)["artefact"]), "mirrored views aren't asked"
    known = rates.dropna(subset=["rate"])  # of views with one outline, no detector says whose it is
    assert rates["variant"].eq("mirror-off").all() and known["rate"].between(known["low"], known["high"]).all()
