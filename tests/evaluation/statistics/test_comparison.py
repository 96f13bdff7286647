import numpy as np
import pandas as pd
import pytest

from mammorgb_utils.evaluation.consistency import NEAREST_AREA, consistency_table
from mammorgb_utils.evaluation.statistics import (
    cliffs_delta,
    contrast_table,
    distance_table,
    effect_table,
    emd,
    holm,
    ks,
    overlap_summary,
)
from mammorgb_utils.protocol import Protocol

PROTOCOL = Protocol(n_permutations=99, n_bootstrap=100)
SETS = {"real": (90, 0.84), "sum": (60, 0.84), "absdiff": (60, 0.80), "zero": (60, 0.60), "train": (20, 0.84)}


def overlap_rows(name, n, centre, rng):
    iou = np.clip(centre + 0.06 * rng.standard_normal(n), 0.05, 0.99)
    bare = iou - 0.02
    return pd.DataFrame({"set": name, "pair": [f"{name}{i}" for i in range(n)],
                         "patient": [f"P{i}" if name == "real" else np.nan for i in range(n)], "iou": iou,
                         "dsc": 2 * iou / (1 + iou), "iou_no_muscle": bare, "dsc_no_muscle": 2 * bare / (1 + bare),
                         "plausible": np.arange(n) % 10 > 0})


@pytest.fixture(scope="module")
def overlap():
    rng = np.random.default_rng(0)
    table = pd.concat([overlap_rows(name, *facts, rng) for name, facts in SETS.items()], ignore_index=True)
    first = table.index[table["set"] == "sum"][0]
    table.loc[first, ["iou", "dsc", "iou_no_muscle", "dsc_no_muscle"]] = np.nan
    return table


@pytest.fixture(scope="module")
def shuffled(overlap):
    rows = []
    for name in ("real", "sum", "absdiff", "zero"):
        own = overlap[overlap["set"] == name]
        for draw in range(3):
            rows.append(pd.DataFrame({"set": name, "draw": draw, "cc_pair": own["pair"].to_numpy(),
                                      "mlo_pair": np.roll(own["pair"].to_numpy(), draw + 1),
                                      "iou": own["iou"].to_numpy() - (0.2 if name == "real" else 0.1),
                                      "iou_no_muscle": own["iou_no_muscle"].to_numpy() - 0.2}))
    baseline = rows[0].assign(set=NEAREST_AREA, iou=0.7, iou_no_muscle=0.65)
    return pd.concat([*rows, baseline], ignore_index=True)


def values(overlap, name, measure="iou"):
    return overlap.loc[overlap["set"] == name, measure].dropna().to_numpy()


def test_distances_stand_beside_both_nulls(overlap):
    table = distance_table(overlap, PROTOCOL)
    assert len(table) == 3 * 4 * 2
    iou = table[(table["measure"] == "iou") & (table["statistic"] == "emd")].set_index("set")
    assert iou.index.tolist() == ["sum", "absdiff", "zero"]
    assert iou.loc["sum", ["n", "n_nan", "n_real"]].tolist() == [59, 1, 90]
    assert iou.loc["zero", "value"] == pytest.approx(emd(values(overlap, "zero"), values(overlap, "real")))
    assert iou.loc["zero", "p"] == pytest.approx(0.01)
    assert iou.loc["zero", "value"] > iou.loc["zero", "band_high"]
    assert iou.loc["sum", "p"] > 0.05
    np.testing.assert_allclose(iou["p_holm"], holm(iou["p"]))
    assert iou["p_bh"].isna().all()
    assert (iou["floor_low"] < iou["floor_high"]).all()
    assert iou["floor_n"].tolist() == [45, 45, 45]
    exploratory = table[table["family"] == "exploratory"]
    assert exploratory["p_holm"].isna().all()
    assert exploratory["p_bh"].notna().all()


def test_ks_of_dice_repeats_that_of_iou(overlap):
    table = distance_table(overlap, PROTOCOL)
    table = table[table["statistic"] == "ks"].set_index(["measure", "set"])
    columns = ["value", "band_low", "band_median", "band_high", "p", "power"]
    for measure in ("iou", "iou_no_muscle"):
        np.testing.assert_array_equal(table.loc[measure, columns], table.loc[measure.replace("iou", "dsc"), columns])
    assert table.loc[("iou", "sum"), "value"] == ks(values(overlap, "sum"), values(overlap, "real"))


def test_a_cell_without_power_says_so(overlap):
    few = overlap[(overlap["set"] == "real") | overlap.groupby("set").cumcount().lt(6)]
    table = distance_table(few, Protocol(n_permutations=19, equivalence_margin=0.01))
    assert (table.loc[table["statistic"] == "ks", "note"] == "underpowered").all()


def test_two_breasts_of_a_woman_give_no_power_of_their_own(overlap):
    twice = overlap.assign(patient=overlap["patient"].where(overlap["set"] != "real",
                                                            "W" + (overlap.groupby("set").cumcount() // 2).astype(str)))
    one, two = (distance_table(table, PROTOCOL).set_index(["set", "measure", "statistic"]).loc[("zero", "iou", "ks")]
                for table in (overlap, twice))
    assert two["n_real"] == one["n_real"] == 90 and two["value"] == one["value"] and two["power"] < one["power"]


def test_too_few_pairs_leave_a_row_empty_with_its_reason(overlap):
    broken = overlap.copy()
    broken.loc[broken["set"] == "zero", ["iou", "iou_no_muscle", "dsc", "dsc_no_muscle"]] = np.nan
    distances = distance_table(broken, PROTOCOL).set_index("set").loc["zero"]
    assert distances["value"].isna().all()
    assert (distances["n_nan"] == 60).all()
    assert (distances["note"] == "fewer than 3 usable pairs in a set").all()
    effects = effect_table(broken, PROTOCOL).set_index("set").loc["zero"]
    assert (effects["equivalence"] == "").all() and effects["hodges_lehmann"].isna().all()
    contrasts = contrast_table(broken, PROTOCOL)
    assert contrasts[contrasts["second"] == "zero"]["p"].isna().all()


def test_many_pairs_of_one_patient_are_too_few(overlap):
    alone = overlap.assign(patient=overlap["patient"].where(overlap["set"] != "real", "P0"))
    for table in (distance_table(alone, PROTOCOL), effect_table(alone, PROTOCOL), contrast_table(alone, PROTOCOL)):
        assert (table["note"] == "fewer than 3 usable pairs in a set").all()
    assert overlap_summary(alone).set_index("set").loc["real", "plausible_low"] < 0.3  # one patient tells little


def test_effects_are_judged_against_the_margin(overlap):
    table = effect_table(overlap, PROTOCOL)
    table = table[table["measure"] == "iou"].set_index("set")
    assert table["equivalence"].tolist()[0] == "equivalent"
    assert table.loc["zero", "equivalence"] == "beyond margin"
    assert table.loc["zero", "hodges_lehmann"] == pytest.approx(-0.24, abs=0.03)
    assert (table["hodges_lehmann_low"] < table["hodges_lehmann"]).all()
    assert (table["margin"] == PROTOCOL.equivalence_margin).all()


def test_contrasts_judge_by_distance_to_real(overlap):
    table = contrast_table(overlap, PROTOCOL)
    primary = table[table["family"] == "primary"].set_index(["first", "second"])
    assert primary.index.tolist() == [("sum", "absdiff"), ("sum", "zero"), ("absdiff", "zero")]
    row = primary.loc[("sum", "zero")]
    x, y, real = (values(overlap, name) for name in ("sum", "zero", "real"))
    assert row["closer"] == pytest.approx(emd(y, real) - emd(x, real))
    assert 0 < row["closer_low"] <= row["closer"] <= row["closer_high"]
    assert row["median_difference_low"] < row["median_difference"] < row["median_difference_high"]
    assert (row["cliffs_delta"], row["low"], row["high"]) == pytest.approx(tuple(cliffs_delta(x, y)), abs=1e-12)
    np.testing.assert_allclose(primary["p_holm"], holm(primary["p"]))
    assert row["note"].startswith("one run each")


def test_one_encoding_or_too_few_pairs_leave_tables_whole(overlap):
    alone = contrast_table(overlap, PROTOCOL.model_copy(update={"encodings": ("sum",)}))
    assert alone.empty and list(alone) == list(contrast_table(overlap, PROTOCOL))
    few = overlap.groupby("set").head(2)
    assert list(contrast_table(few, PROTOCOL)) == list(alone)
    assert list(effect_table(few, PROTOCOL)) == list(effect_table(overlap, PROTOCOL))


def test_consistency_table_scores_against_the_real_gain(overlap, shuffled):
    table = consistency_table(overlap, shuffled, PROTOCOL)
    iou = table[table["measure"] == "iou"].set_index("set")
    assert iou.index.tolist() == ["real", "sum", "absdiff", "zero"]
    assert iou["gain"].round(6).tolist() == [0.2, 0.1, 0.1, 0.1]
    assert np.isnan(iou.loc["real", "score"])
    assert iou["score"].tolist()[1:] == pytest.approx([0.5] * 3)
    assert (iou["score_low"][1:] < iou["score_high"][1:]).all()
    assert iou["p"].tolist() == [0.25] * 4  # 3 draws: (0 + 1) / (3 + 1)
    assert (iou["nearest_area_median"] == 0.7).all()
    real = iou.loc["real"]
    assert real["over_area"] == pytest.approx(real["paired_median"] - 0.7)
    assert real["over_area_low"] <= real["over_area"] <= real["over_area_high"]
    assert iou["over_area"][1:].isna().all()


def test_summary_counts_nan_and_shows_the_rate_of_plausible_pairs(overlap):
    table = overlap_summary(overlap).set_index("set")
    assert table.index.tolist() == ["real", "sum", "absdiff", "zero", "train"]
    assert table.loc["sum", ["n", "n_nan"]].tolist() == [60, 1]
    assert table.loc["real", "iou_median"] == pytest.approx(np.median(values(overlap, "real")))
    assert table.loc["real", "plausible"] == pytest.approx(0.9)
    assert table.loc["real", "plausible_low"] < 0.9 < table.loc["real", "plausible_high"]


def test_tables_repeat_exactly_and_name_what_is_missing(overlap):
    pd.testing.assert_frame_equal(contrast_table(overlap, PROTOCOL), contrast_table(overlap, PROTOCOL))
    with pytest.raises(ValueError, match="no rows of the set 'real'"):
        distance_table(overlap[overlap["set"] != "real"], PROTOCOL)
    with pytest.raises(ValueError, match="column 'iou_no_muscle' is missing"):
        effect_table(overlap.drop(columns="iou_no_muscle"), PROTOCOL)
