"""What the figures of distribution functions, distances, contrasts and consistency show."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import consistency_rows, contrast_rows, distance_rows, texts

from mammorgb_utils.evaluation import consistency, statistics
from mammorgb_utils.output import style


def test_the_shaded_area_is_the_emd_and_the_gap_the_ks():
    rng = np.random.default_rng(2)
    real, drawn = rng.beta(8, 2, 60), rng.beta(6, 2, 41)
    table = pd.DataFrame({"set": ["real"] * 60 + ["sum"] * 42, "iou": [*real, *drawn, np.nan]})
    figure = statistics.figures.distribution_functions(table, "sum")
    axes, = figure.axes
    corners = axes.collections[0].get_paths()[0].vertices
    x, y = corners[:, 0], corners[:, 1]
    steps, heights = np.unique(x), []
    for left, right in zip(steps[:-1], steps[1:], strict=True):
        inside = [(y[i] + y[i + 1]) / 2 for i in range(len(x) - 1) if {x[i], x[i + 1]} == {left, right}]
        heights.append(max(inside) - min(inside))
    assert np.sum(heights * np.diff(steps)) == pytest.approx(statistics.emd(real, drawn), abs=1e-9)
    gap = next(line for line in axes.lines if line.get_marker() == "_").get_ydata()
    assert abs(gap[0] - gap[1]) == pytest.approx(statistics.ks(real, drawn), abs=1e-12)
    named = {f"EMD {statistics.emd(real, drawn):.3f}, the shaded area", "Sum, n = 41", "Real, n = 60"}
    assert named <= set(texts(figure))


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
    assert not any("Paper" in text for text in texts(statistics.figures.distances(distance_rows())))


def test_contrasts_print_a_shared_note_once_and_others_beside(drawn):
    shown = texts(drawn["contrasts"])
    assert shown.count("one run each") == 1
    assert "−0.12 [−0.20, +0.00]   p = 0.040" in shown
    assert "Absolute difference against zero" in shown
    mixed = texts(statistics.figures.contrasts(contrast_rows(("underpowered", "", np.nan))))
    assert sum("underpowered" in text for text in mixed) == 1
    assert "one encoding alone: nothing to compare" in texts(statistics.figures.contrasts(contrast_rows().head(0)))


def test_what_could_not_be_computed_is_said_and_measures_stay_apart():
    table = contrast_rows(("too few pairs", "", "")).assign(measure=["iou", "iou", "iou_no_muscle"])
    table.loc[0, ["cliffs_delta", "low", "high", "p_holm"]] = np.nan
    shown = texts(statistics.figures.contrasts(table))
    assert "not computed\ntoo few pairs" in shown and "Absolute difference against zero" not in shown
    assert statistics.figures.contrasts(table.iloc[:0]).axes[0].lines[1:] == []
    rows = distance_rows().assign(note="underpowered")
    rows.loc[0, ["value", "band_low", "band_median", "band_high", "p"]] = np.nan
    shown = texts(statistics.figures.distances(rows))
    assert shown.count("underpowered") == 1 and shown.count("p < 0.001, underpowered") == 11
    both = pd.concat([consistency_rows().assign(measure=name) for name in ("iou", "iou_no_muscle")])
    both = both.drop(columns=["score", "score_low", "score_high"])
    figure = consistency.figures.consistency(both, measure="iou_no_muscle")
    assert len(figure.axes[0].get_yticks()) == 3 and "Median IoU without muscle of CC and MLO mask" in texts(figure)


def test_consistency_keeps_the_order_of_sets_and_marks_the_references(drawn):
    left, right = drawn["consistency"].axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["Real", "Sum", "Zero"]
    assert [line.get_xdata()[0] for line in right.lines[-2:]] == [0.7, 1.0]
    assert [text.get_text() for text in right.texts] == ["0.80", "0.10", "0.7", "1"]


def test_profiles_show_every_pairing_with_and_without_alignment(drawn):
    means, deltas = drawn["profile_distances"].axes
    assert [label.get_text() for label in means.get_yticklabels()] == ["Real", "Sum", "Zero"]
    points = [line for line in means.lines if line.get_marker() not in ("None", "")]
    assert len(points) == 2 * 9, "three pairings of three sets, as they are and at their best"
    aligned, as_is = points[1::2], points[::2]
    assert all(one.get_xdata()[0] == pytest.approx(other.get_xdata()[0] / 2) for one, other in zip(
        aligned, as_is, strict=True))
    assert len([line for line in deltas.lines if line.get_marker() in ("o", "s")]) == 6
