import numpy as np
import pandas as pd
import pytest
from drawn_anatomy import anatomy_rows

from mammorgb_utils.evaluation.anatomy.agreement import (
    MEASURES,
    NULL_DRAWS,
    anatomy_table,
    disagreement,
    strata_of,
    usual_differences,
)
from mammorgb_utils.evaluation.anatomy.measure import PROFILES
from mammorgb_utils.evaluation.consistency import area_density_strata
from mammorgb_utils.protocol import Protocol

PROTOCOL = Protocol.load("smoke", n_bootstrap=100)


@pytest.fixture(scope="module")
def measured():
    """Synthetic views share all, half, or nothing of a breast."""
    sets = (("real", 1.0), ("sum", 1.0), ("absdiff", 0.7), ("zero", 0.0))
    return pd.concat([anatomy_rows(name, 60, shared=shared, seed=seed) for seed, (name, shared) in enumerate(sets)],
                     ignore_index=True)


@pytest.fixture(scope="module")
def table(measured):
    return anatomy_table(measured, PROTOCOL, valid={"area": "yes", "dense": "no"})


def test_one_form_for_every_measure_null_and_set(table, measured):
    assert len(table) == len(MEASURES) * 2 * 4
    valid = table.groupby("measure")["valid"].first()
    assert valid[["area", "dense", "centroid"]].tolist() == ["yes", "no", "no truth"]
    assert (table["n"] == 60).all() and (table["n_nan"] == 0).all() and (table["n_draws"] == NULL_DRAWS).all()
    np.testing.assert_allclose(table["gain"], table["shuffled"] - table["paired"])
    pd.testing.assert_frame_equal(table, anatomy_table(measured, PROTOCOL, valid={"area": "yes", "dense": "no"}))


def test_score_falls_from_one_to_nothing_with_what_the_views_share(table):
    scores = table[table["null"] == "global"].pivot(index="measure", columns="set", values="score")
    assert scores["sum"].between(0.6, 1.5).all() and scores["zero"].abs().mean() < 0.3
    assert (scores["absdiff"].mean() < scores["sum"].mean()) and (scores["zero"].mean() < scores["absdiff"].mean())
    p = table[table["null"] == "global"].pivot(index="measure", columns="set", values="p")
    assert (p["real"] == 1 / (NULL_DRAWS + 1)).all() and (p["zero"] > 0.01).all()


def test_disagreement_takes_out_the_usual_offset():
    rows = anatomy_rows("real", 3)
    rows["cc_area"], rows["mlo_area"] = [0.2, 0.3, 0.4], [0.22, 0.33, 0.48]
    rows["cc_dense"], rows["mlo_dense"] = [0.5, 0.6, 0.7], [0.6, 0.7, 0.9]
    usual, own = usual_differences(rows), np.arange(3)
    np.testing.assert_allclose(disagreement(rows, own, own, "area", usual), [0, 0, np.log(1.2 / 1.1)], atol=1e-12)
    np.testing.assert_allclose(disagreement(rows, own, own, "dense", usual), [0, 0, 0.1], atol=1e-12)
    other = disagreement(rows, np.array([0]), np.array([2]), "area", usual)
    np.testing.assert_allclose(other, np.log(0.48 / 0.2) - np.log(1.1))


def test_disagreement_of_profiles_is_one_minus_pearsons_correlation():
    rows = anatomy_rows("real", 4, seed=5)
    rows.loc[1, PROFILES["cc"][3]] = np.nan
    rows.loc[2, PROFILES["cc"]] = np.nan
    found = disagreement(rows, np.arange(4), np.array([1, 2, 3, 0]), "profile", {})
    a, b = (rows[PROFILES[view]].to_numpy() for view in ("cc", "mlo"))
    keep = np.arange(16) != 3
    assert found[0] == pytest.approx(1 - np.corrcoef(a[0], b[1])[0, 1])
    assert found[1] == pytest.approx(1 - np.corrcoef(a[1][keep], b[2][keep])[0, 1])
    assert np.isnan(found[2])


def test_missing_values_are_counted_and_left_out(measured):
    holed = measured.copy()
    holed.loc[holed["set"].eq("sum") & (holed.groupby("set").cumcount() < 7), "mlo_area"] = np.nan
    holed.loc[holed["set"].eq("zero"), "cc_dense"] = np.nan
    table = anatomy_table(holed, PROTOCOL).set_index(["measure", "set", "null"])
    assert table.loc[("area", "sum", "global"), ["n", "n_nan"]].tolist() == [53, 7]
    assert table.loc[("dense", "zero", "global"), "note"] == "fewer than 3 usable pairs"
    assert np.isnan(table.loc[("dense", "zero", "global"), "score"])


def test_third_channels_stand_in_the_same_table(measured):
    rows = []
    for name, own in (("real", 0.0), ("sum", 0.2)):
        names = measured.loc[measured["set"] == name, "pair"].tolist()
        for null, draw, values in (("own", 0, own), ("global", 0, 1.0), ("global", 1, 1.0), ("strata", 0, 0.8)):
            partner = names if null == "own" else names[1:] + names[:1]
            rows.append(pd.DataFrame({"set": name, "measure": "third_sum", "null": null, "draw": draw,
                                      "cc_pair": names, "mlo_pair": partner, "residual": values}))
    table = anatomy_table(measured, PROTOCOL, residuals=pd.concat(rows, ignore_index=True))
    third = table[table["measure"] == "third_sum"].set_index(["set", "null"])
    assert third["valid"].eq("exact").all() and len(third) == 4
    assert third.loc[("sum", "global"), "score"] == pytest.approx(0.8)
    assert third.loc[("sum", "strata"), "score"] == pytest.approx(0.75)


def test_strata_are_of_like_area_and_density_and_let_patients_be_exchanged():
    rng = np.random.default_rng(0)
    area, density = rng.random(90), rng.random(90)
    strata = area_density_strata(area, density)
    assert np.bincount(strata).tolist() == [10] * 9
    assert area[strata < 3].max() < area[strata >= 6].min()
    assert density[strata == 0].max() < density[strata == 2].min()
    assert set(area_density_strata(area[:8], density[:8])) == {0}
    assert set(area_density_strata(area[:30], density[:30], patients=["a"] * 14 + list(range(16)))) == {0}
    assert len(set(strata_of(anatomy_rows("real", 60, breasts=2)))) == 9


def test_a_set_that_is_nearly_one_patients_has_a_note_and_stops_nothing(measured):
    crowded = measured[measured["set"].isin(["real", "sum"])].copy()
    crowded.loc[crowded["set"].eq("real") & (crowded.groupby("set").cumcount() < 31), "patient"] = "one"
    table = anatomy_table(crowded, PROTOCOL)
    real, synthetic = (table[table["set"] == name] for name in ("real", "sum"))
    assert real["note"].eq("no strangers' views to shuffle with").all() and real[["gain", "p"]].isna().all(axis=None)
    assert synthetic["gain"].notna().all() and synthetic["score"].isna().all()
