"""Controls of the instrument: what each dose does, what a criterion sees of it, and what is said of blind measures."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import texts
from scipy import ndimage
from small_study import drawn_pairs

from mammorgb_utils.evaluation.controls import CONTROLS, composed, control_table, degraded, figures, smallest_doses
from mammorgb_utils.evaluation.controls.criteria import LABELS
from mammorgb_utils.evaluation.controls.degrade import COPY_NOISE, NONE, degradations
from mammorgb_utils.evaluation.controls.power import _shares
from mammorgb_utils.evaluation.overlap import pair_masks
from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.output.saving import save_figure, save_table
from mammorgb_utils.protocol import Protocol

PROTOCOL = Protocol.load("smoke", n_bootstrap=200, n_synthetic=40)  # two draws
PAIRS = drawn_pairs(24, 5)
PATIENTS = np.array([f"p{i // 2}" for i in range(24)])


def indexed(n, seed, name):
    names = [f"{name}{i}" for i in range(n)]
    return drawn_pairs(n, seed), pd.DataFrame({"pair": names, "patient": names})


def changed(control, dose, pairs=PAIRS):
    return degraded(pairs, pair_masks(pairs), PATIENTS, control, dose, np.random.default_rng(1))


def test_strangers_have_an_mlo_of_another_patient_and_of_like_area():
    pairs = changed("strangers", 1.0)
    assert np.array_equal(pairs[:, 0], PAIRS[:, 0])
    partner = [int(np.flatnonzero((PAIRS[:, 1] == mlo).all(axis=(1, 2)))[0]) for mlo in pairs[:, 1]]
    assert (PATIENTS[partner] != PATIENTS).all()
    area = pair_masks(PAIRS).breast.mean(axis=(2, 3))
    gap = np.abs(area[:, :1] - area[None, :, 1])
    gap[PATIENTS[:, None] == PATIENTS] = np.inf
    assert partner == gap.argmin(axis=1).tolist()


@pytest.mark.parametrize("size", [32, 64, 128])
def test_blur_is_in_64ths_of_the_width_whatever_the_size(size):
    pairs = ndimage.zoom(PAIRS[:1], (1, 1, size / 64, size / 64), order=0)
    found = degraded(pairs, pair_masks(pairs), PATIENTS[:1], "blur", 2.0, np.random.default_rng(1))
    sigma = 2.0 * size / 64
    assert np.allclose(found[0, 1], ndimage.gaussian_filter(pairs[0, 1], sigma, mode="nearest"))


def test_noise_has_its_dose_and_copies_have_that_of_planted_ones():
    grey = np.full_like(PAIRS, 0.5)
    assert changed("noise", 0.05, grey).std() == pytest.approx(0.05, rel=0.02)
    assert changed("copies", 1.0, grey).std() == pytest.approx(COPY_NOISE, rel=0.02)
    assert changed("noise", 0.1).min() == 0.0 and changed("noise", 0.1).dtype == np.float32


def test_the_other_view_s_outline_is_what_leaks():
    masks, found = pair_masks(PAIRS), changed("contour", 0.1)
    for view in (0, 1):
        other = masks.breast[:, 1 - view]
        inner = np.stack([ndimage.binary_erosion(mask, np.ones((3, 3)), border_value=1) for mask in other])
        assert np.array_equal(found[:, view] > PAIRS[:, view], other & ~inner & (PAIRS[:, view] < 1.0))


def test_sets_are_composed_by_share():
    rows = np.arange(40)
    strangers = composed("strangers", 0.25, rows)
    assert (len(strangers["strangers", 1.0]), len(strangers[NONE])) == (10, 30)
    assert len(composed("copies", 0.01, rows)["copies", 1.0]) == 1, "no dose is nothing"
    repeated, counts = np.unique(composed("collapse", 0.75, rows)[NONE], return_counts=True)
    assert len(repeated) == 10 and (counts == 4).all()
    assert composed("blur", 0.5, rows) == {("blur", 0.5): pytest.approx(rows)}
    needed = {key for name, doses in CONTROLS.items() for dose in doses for key in composed(name, dose, rows)}
    assert needed == set(degradations())


@pytest.fixture(scope="module")
def table():
    return control_table(indexed(60, 1, "h"), indexed(60, 2, "t"), PROTOCOL)


def test_every_measure_meets_every_control_at_every_dose(table):
    doses = sum(map(len, CONTROLS.values()))
    assert len(table) == len(LABELS) * doses and list(dict.fromkeys(table["measure"])) == list(LABELS.values())
    assert (table["n"] == 40).all() and set(table["draws"]) <= {0, 1, 2}
    assert table["n_real"].where(table["measure"] != "Memorised pairs").dropna().eq(60).all()
    assert table.loc[table["measure"] == "Memorised pairs", "n_real"].eq(20).all()


def test_views_without_a_mask_take_no_part():
    (pairs, index), train = indexed(30, 1, "h"), indexed(30, 2, "t")
    pairs[::3, 1] = 0.0
    table = control_table((pairs, index), train, PROTOCOL)
    assert table.loc[table["measure"].isin(["EMD of IoU", "Consistency score"]), "draws"].gt(0).any()


def test_plain_faults_are_seen_and_real_pairs_are_left_alone(table):
    seen = table.set_index(["measure", "control", "dose"])["seen"]
    assert seen.loc["Memorised pairs", "copies"].eq(1.0).all() and seen["Memorised pairs", "none", 0.0] == 0.0
    assert seen["Nearest neighbour", "collapse", 0.9] == 1.0 and seen["KID", "blur", 2.0] == 1.0
    assert table.loc[table["control"] == "none", "seen"].mean() < 0.2


def test_the_same_seed_gives_the_same_table_and_training_pairs_are_needed_for_copies_alone():
    heldout, none = indexed(24, 1, "h"), indexed(0, 2, "t")
    first, second = (control_table(heldout, none, PROTOCOL) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert set(first["measure"]) == set(LABELS.values()) - {"Memorised pairs"}
    swapped = control_table(none, heldout, PROTOCOL)
    pd.testing.assert_frame_equal(first, swapped)


def test_too_few_pairs_say_so_and_stop_nothing():
    tiny = [(pairs[:2], index.head(2)) for pairs, index in (indexed(3, 1, "h"), indexed(3, 2, "t"))]
    table = control_table(*tiny, PROTOCOL)
    assert table["note"].eq("too few pairs").all() and table["seen"].isna().all() and (table["draws"] == 0).all()
    assert "Memorised pairs" in texts(figures.controls(table)) and len(smallest_doses(table)) == len(LABELS)
    control_table(indexed(34, 1, "h"), indexed(0, 2, "t"), PROTOCOL)  # enough to match, too few to learn from
    few = control_table(indexed(12, 1, "h"), indexed(12, 2, "t"), PROTOCOL)
    assert set(few.loc[few["note"] == "too few pairs", "measure"]) >= {"KID", "Own MLO found"}


def found(shares):
    """20 draws of a measure by control and dose."""
    return pd.DataFrame([{"measure": measure, "control": control, "dose": dose, "n": 9, "n_real": 9,
                          "seen": i < 20 * share} for (measure, control, dose), share in shares.items()
                         for i in range(20)])


def test_blind_measures_and_false_alarms_are_marked_and_the_smallest_dose_is_told():
    rows = {(name, control, dose): 0.0 for name in ("KID", "Density", "Coverage")
            for control, dose in (("none", 0.0), ("blur", 0.5), ("blur", 1.0), ("noise", 0.1))}
    rows |= {("KID", "blur", 0.5): 0.75, ("KID", "blur", 1.0): 0.8, ("Coverage", "none", 0.0): 0.3,
             ("Coverage", "noise", 0.1): 1.0}
    table = _shares(found(rows), alpha=0.05)
    notes = table.groupby("measure")["note"].first()
    assert notes.to_dict() == {"KID": "", "Density": "sees nothing", "Coverage": "false alarms"}
    told = smallest_doses(table).set_index("measure")
    assert told.loc["KID", "blur"] == 1.0 and np.isnan(told.loc["KID", "noise"])
    assert told.loc["Coverage", ["false_alarms", "noise"]].tolist() == [0.3, 0.1]
    assert list(told) == ["false_alarms", *[name for name in CONTROLS if name != "none"], "note"]


def test_the_figure_shows_every_cell_and_marks_what_is_blind(table):
    drawn = texts(figures.controls(table.assign(note=np.where(table["measure"] == "KID", "sees nothing", ""))))
    assert {"KID †", "EMD of IoU", "blur\n[SD, width/64]", "0.75"} <= set(drawn)
    assert sum(text.isdigit() for text in drawn) >= table["seen"].notna().sum()
    assert any("40 against 60 pairs, 2 draws" in text for text in drawn)


def test_outputs_yaml_lists_what_is_saved(table, tmp_path):
    for name, part in (("controls", smallest_doses(table)), ("control_power", table)):
        save_table(part, tmp_path, name)
        assert set(load_outputs().table(name).columns) <= set(pd.read_csv(tmp_path / f"{name}.csv"))
    save_figure(figures.controls(table), tmp_path, "controls")
    assert (tmp_path / "controls.png").is_file()
