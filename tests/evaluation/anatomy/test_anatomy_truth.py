import numpy as np
import pandas as pd
import pytest
from drawn_anatomy import anatomy_rows

from mammorgb_utils.evaluation.anatomy import truth as anatomy_truth
from mammorgb_utils.evaluation.anatomy.measure import PROFILES
from mammorgb_utils.evaluation.anatomy.truth import NO_TRUTH, true_anatomy, truth_table, validity
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run

PROTOCOL = Protocol.load("laptop")


@pytest.fixture
def known():
    """Measured anatomy that is the truth but for a bias; dense shares are noise."""
    rng, n = np.random.default_rng(1), 30
    rows = anatomy_rows("real", n)
    truth = pd.DataFrame({"pair": rows["pair"], "n_masses": [1, 2] * 15, "seed_key": "1 2 3"})
    for view in ("cc", "mlo"):
        truth[f"pnl_{view}_mm"] = rows[f"{view}_nipple_line"] * 240 - 2.0
        truth[f"{view}_area_cm2"] = rows[f"{view}_area"] * 24 * 30
        truth[f"{view}_density"] = rng.random(n)
        depth = rows[f"{view}_mass_depth"] * truth[f"pnl_{view}_mm"]
        truth[f"mass_depth_{view}_mm"] = [f"{d:.4f}" if i % 2 == 0 else f"{d:.4f} 3" for i, d in enumerate(depth)]
    return rows, truth


@pytest.fixture
def not_rendered(monkeypatch):
    monkeypatch.setattr(anatomy_truth, "RENDERED", 0)


def test_agreement_has_the_truths_unit_bias_and_limits(known, not_rendered):
    rows, truth = known
    table = truth_table(rows, truth, PROTOCOL).set_index(["measure", "view"])
    line = table.loc[("nipple_line", "CC")]
    assert (line["unit"], line["n"], line["n_nan"], line["valid"]) == ("mm", 30, 0, "yes")
    assert line["bias"] == pytest.approx(2.0) and line["r"] == pytest.approx(1.0)
    assert line["agreement_low"] == pytest.approx(2.0) == line["agreement_high"]
    assert table.loc[("area", "MLO"), "bias"] == pytest.approx(0.0)
    assert table.loc[("mass_depth", "CC"), ["n", "r"]].tolist() == pytest.approx([15, 1.0], abs=1e-4)
    assert table.loc[("dense", "CC"), "valid"] == "no"
    across = table.loc[("nipple_line", "MLO − CC")]
    difference = 240 * (rows["mlo_nipple_line"] - rows["cc_nipple_line"])
    assert across["within_1cm"] == across["within_1cm_truth"] == pytest.approx((difference.abs() <= 10).mean())


def test_a_measure_is_valid_where_both_views_agree_with_the_truth(known, not_rendered):
    rows, truth = known
    truth["pnl_mlo_mm"] = truth["pnl_mlo_mm"].to_numpy()[::-1]
    found = validity(truth_table(rows, truth, PROTOCOL))
    assert (found["area"], found["nipple_line"], found["dense"]) == ("yes", "no", "no")
    assert list(found) == ["area", "nipple_line", "centroid", "profile", "dense", "mass_depth"]


def test_padded_images_show_a_wider_field(known, not_rendered):
    rows, truth = known
    table = truth_table(rows, truth, Protocol.load("laptop", aspect="pad")).set_index(["measure", "view"])
    assert table.loc[("nipple_line", "CC"), "measured_mean"] == pytest.approx(300 * rows["cc_nipple_line"].mean())
    assert table.loc[("area", "CC"), "measured_mean"] == pytest.approx(900 * rows["cc_area"].mean())


def test_a_cohort_without_truth_says_so(known):
    rows, truth = known
    table = truth_table(rows, truth[["pair"]].head(0), PROTOCOL)
    assert table[["measure", "note"]].to_numpy().tolist() == [["none", NO_TRUTH]]
    assert set(validity(table).values()) == {"no truth"}


def test_truth_is_found_through_the_manifest_and_projected_anew(cohort, tmp_path, monkeypatch):
    truth = true_anatomy(Run(tmp_path / "run", PROTOCOL, cohort[0] / "manifest.csv"))
    assert (truth["role"] == "usable").all() and (truth["artefact"] == "").all() and 3 <= len(truth) <= 8
    rows = anatomy_rows("real", len(truth)).assign(pair=truth["pair"])
    monkeypatch.setattr(anatomy_truth, "MIN_KNOWN", 2)
    monkeypatch.setattr(anatomy_truth, "RENDERED", 3)
    table = truth_table(rows, truth, PROTOCOL).set_index(["measure", "view"])
    centre = table.loc[("centroid", "CC")]
    assert centre["n"] == 3 and 0.3 < centre["truth_mean"] < 0.8
    assert table.loc[("profile", "MLO"), "n"] == 3 and len(PROFILES["cc"]) == 16
