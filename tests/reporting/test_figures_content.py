"""What each figure shows of the data it is given."""

import numpy as np
import pandas as pd
from drawn_figures import (
    audit_tables,
    consistency_rows,
    contrast_rows,
    distance_rows,
    overlap_table,
    texts,
)
from matplotlib.colors import to_hex

from mammorgb_utils.output import style
from mammorgb_utils.reporting import figures


def test_overlap_shows_n_without_empty_pairs_and_the_median():
    table = overlap_table(n=30, empty=2)
    figure = figures.overlap_distributions(table, overlap_table(n=60))
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == [f"{name}\nn = 28\n(2 empty)" for name in ("Real", "Sum", "Abs. diff.", "Zero")]
    assert f"{table.loc[table['set'] == 'zero', 'iou'].median():.3f}" in [text.get_text() for text in axes.texts]
    filled = [to_hex(body.get_facecolor()[0]).upper() for body in axes.collections]
    assert filled[1::2] == list(style.COLOURS.values()) and set(filled[::2]) == {style.BAND}
    assert len(figure.axes) == 6


def test_overlap_does_without_muscle_shuffled_pairs_and_spread():
    table = pd.DataFrame({"set": ["real"] * 3 + ["sum"] * 3, "iou": [0.8] * 3 + [np.nan] * 3})
    table["dsc"] = 2 * table["iou"] / (1 + table["iou"])
    figure = figures.overlap_distributions(table)
    assert len(figure.axes) == 3
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["Real\nn = 3", "Sum\nn = 0\n(3 empty)"]


def test_distances_stand_beside_their_bands_and_the_paper(drawn):
    figure = drawn["distances"]
    for axes, paper in zip(figure.axes, (0.02, 0.077), strict=True):
        assert len(axes.patches) == 6  # a band for each measure and set
        assert {(bar.get_x(), round(bar.get_width(), 9)) for bar in axes.patches} == {(0.01, 0.03)}
        star, = [line for line in axes.lines if line.get_marker() == "*"]
        assert star.get_xdata() == [paper]
        points = [line for line in axes.lines if line.get_marker() in style.MARKERS.values()]
        assert len(points) == 6 and {line.get_xdata()[0] for line in points} == {0.05}
    assert texts(figure).count("p < 0.001") == 12
    assert not any("Real against real" in text for text in texts(figure)), "no floor was given"
    assert not any("Paper" in text for text in texts(figures.distances(distance_rows())))


def test_contrasts_print_a_shared_note_once_and_others_beside(drawn):
    shown = texts(drawn["contrasts"])
    assert shown.count("one run each") == 1
    assert "−0.12 [−0.20, +0.00]   p = 0.040" in shown
    assert "Absolute difference against zero" in shown
    mixed = texts(figures.contrasts(contrast_rows(("underpowered", "", np.nan))))
    assert sum("underpowered" in text for text in mixed) == 1
    assert "one encoding alone: nothing to compare" in texts(figures.contrasts(contrast_rows().head(0)))


def test_what_could_not_be_computed_is_said_and_measures_stay_apart():
    table = contrast_rows(("too few pairs", "", "")).assign(measure=["iou", "iou", "iou_no_muscle"])
    table.loc[0, ["cliffs_delta", "low", "high", "p_holm"]] = np.nan
    shown = texts(figures.contrasts(table))
    assert "not computed\ntoo few pairs" in shown and "Absolute difference against zero" not in shown
    assert figures.contrasts(table.iloc[:0]).axes[0].lines[1:] == []
    rows = distance_rows().assign(note="underpowered")
    rows.loc[0, ["value", "band_low", "band_median", "band_high", "p"]] = np.nan
    shown = texts(figures.distances(rows))
    assert shown.count("underpowered") == 1 and shown.count("p < 0.001, underpowered") == 11
    both = pd.concat([consistency_rows().assign(measure=name) for name in ("iou", "iou_no_muscle")])
    both = both.drop(columns=["score", "score_low", "score_high"])
    figure = figures.consistency(both, measure="iou_no_muscle")
    assert len(figure.axes[0].get_yticks()) == 3 and "Median IoU without muscle of CC and MLO mask" in texts(figure)


def test_consistency_keeps_the_order_of_sets_and_marks_the_references(drawn):
    left, right = drawn["consistency"].axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["Real", "Sum", "Zero"]
    assert [line.get_xdata()[0] for line in right.lines[-2:]] == [0.7, 1.0]
    assert [text.get_text() for text in right.texts] == ["0.80", "0.10", "0.7", "1"]


def test_the_audit_shows_pairs_beside_shuffled_ones_with_gain_spread_and_what_is_missing():
    audit, shuffled = audit_tables()
    audit.loc[audit["pair"] == "P9", ["iou", "cc_area", "mlo_area"]] = np.nan
    audit.loc[audit["pair"] == "P9", "excluded"] = "timeout"
    figure = figures.matching_audit(audit, shuffled)
    assert len(figure.axes) == 8 and "n = 29 pairs (1 excluded)" in texts(figure)
    otsu_padded = figure.axes[3]
    assert otsu_padded.get_title() == "Otsu mask,\npadded"
    own, others = (table.set_index(["match_scope", "aspect", "mask_method"]).loc[("image", "pad", "otsu")]
                   for table in (audit, shuffled))
    gain = own["iou"].median() - others["iou"].median()
    before, after, _ = (label.get_text() for label in otsu_padded.get_xticklabels())
    assert before.endswith("(2 empty)") and after == f"whole\nimage\n{gain:+.2f}"
    filled = [to_hex(body.get_facecolor()[0]).upper() for body in otsu_padded.collections]
    assert filled == [style.BAND, style.COLOURS["real"]] * 3
    areas = 100 * pd.concat([own["cc_area"], own["mlo_area"]])
    assert figure.axes[7].get_xticklabels()[1].get_text().endswith(f"SD {areas.std():.1f}")


def test_the_audit_without_spread_or_masks_shows_what_it_has():
    audit, shuffled = audit_tables(n=3)
    empty = audit["mask_method"] == "otsu"
    audit.loc[empty, ["iou", "cc_area", "mlo_area"]] = np.nan, 0.0, 0.0
    figure = figures.matching_audit(audit.assign(iou=audit["iou"].where(empty, 0.8)), shuffled.iloc[:0])
    assert figure.axes[2].get_xticklabels()[1].get_text() == "whole\nimage\n(3 empty)"
    assert not figure.axes[0].collections


