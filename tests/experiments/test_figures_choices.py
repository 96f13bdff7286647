"""Figures of mask methods and of the map of open choices."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from mammorgb_utils.evaluation.masks import METHODS
from mammorgb_utils.evaluation.masks.figures import METHOD_LABELS, mask_agreement
from mammorgb_utils.experiments.open_choices import figure as draw_choices
from mammorgb_utils.experiments.open_choices import open_choices
from mammorgb_utils.experiments.open_choices.choices import COLUMNS, FIELDS, NOT_RUN
from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.protocol import Protocol

SUMMARY = pd.DataFrame({"set": ["real", "sum"], "iou_median": 0.8})


def words(figure):
    figure.savefig(io.BytesIO(), format="svg")
    return [text.get_text() for text in figure.findobj(Text)]


def choices():
    table = open_choices({}, SUMMARY, Protocol())
    rows = [("otsu", "real_median", "real", -0.07), ("watershed", "real_median", "real", 0.01),
            ("otsu", "shift", "sum", 0.03)]
    moved = pd.DataFrame([{"field": "mask_method", "open": True, "choice": choice, "result": result, "set": name,
                           "value": 0.8 + by, "low": 0.79 + by, "high": 0.81 + by, "against": "background",
                           "moved_by": by, "source": "mask_effects"} for choice, result, name, by in rows])
    tests = pd.DataFrame([{"field": "contrast_test", "open": True, "choice": name, "result": "p", "set": "sum − zero",
                           "value": p, "source": "overlap"} for name, p in (("Mann–Whitney", 0.2), ("t", 0.4))])
    rest = table[~table["field"].isin(["mask_method", "contrast_test"])]
    return pd.concat([moved, tests, rest], ignore_index=True)[list(COLUMNS)]


def agreement():
    pairs = [("background", "otsu"), ("background", "watershed"), ("otsu", "watershed"), ("background", "truth"),
             ("otsu", "truth"), ("watershed", "truth")]
    rows = [{"set": name, "view": view, "first": a, "second": b, "iou_median": 0.9, "iou_low": 0.88, "iou_high": 0.92}
            for name in ("real", "sum") for view in ("CC", "MLO") for a, b in pairs if name == "real" or b != "truth"]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def map_of_choices():
    return draw_choices(choices(), margin=0.05)


def test_every_field_and_method_has_its_label():
    assert all(FIELDS.values()) and METHOD_LABELS.keys() == METHODS.keys()


def test_the_map_says_what_was_not_run_and_names_the_choice_that_moves_most(map_of_choices):
    shown = words(map_of_choices)
    assert sum(text.startswith("not run: ") for text in shown) == (choices()["source"] == NOT_RUN).sum()
    assert {"not run: A8 would tell", "not run: only its authors know"} <= set(shown)
    assert "Otsu" in shown and "Watershed" not in shown
    assert any(text.startswith("Sum − Zero\np = 0.200 to 0.400") for text in shown)


def test_the_panels_share_their_scale_with_zero_in_the_middle(map_of_choices):
    limits = {axes.get_xlim() for axes in map_of_choices.axes}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high and high > 0.07


def test_a_mark_stands_where_the_result_moved_to(map_of_choices):
    first = map_of_choices.axes[0]
    marks = sorted(x for line in first.lines if line.get_marker() == "o" for x in line.get_xdata())
    assert marks == pytest.approx([-0.07, 0.01])


def test_a_map_without_any_result_can_be_drawn():
    figure = draw_choices(open_choices({}, SUMMARY, Protocol()), margin=0.05)
    assert sum(text.startswith("not run: ") for text in words(figure)) == len(FIELDS)


@pytest.mark.parametrize("with_truth", [True, False])
def test_agreement_has_a_panel_of_truth_where_truth_is_known(with_truth):
    table = agreement() if with_truth else agreement()[lambda rows: rows["second"] != "truth"]
    masks = {method: np.tile(np.arange(16) < width, (2, 16, 1))
             for method, width in (("background", 9), ("otsu", 6), ("watershed", 8))}
    examples = [("Real", np.full((2, 16, 16), 0.3, np.float32), masks)] * 2
    figure = mask_agreement(table, examples, method="background")
    assert len(figure.axes) == 4 + 2 + with_truth
    assert ("With the phantoms' truth" in words(figure)) == with_truth
    assert [label.get_text() for label in figure.axes[4].get_xticklabels()] == ["Otsu", "Watershed"]


def test_figures_and_tables_are_declared():
    assert {"mask_agreement", "open_choices"} <= load_outputs().figures.keys() & load_outputs().tables.keys()
    assert {"mask_effects", "mask_verdicts"} <= load_outputs().tables.keys()


def test_one_choice_far_outside_is_an_arrow_and_hides_no_other():
    near = {"field": "aspect", "open": True, "result": "gain", "set": "real", "value": 0.12, "low": 0.11, "high": 0.13,
            "against": "squash", "source": "x"}
    far = near | {"field": "mirror", "choice": "off", "moved_by": 0.4, "value": 0.5, "low": 0.48, "high": 0.52}
    table = pd.DataFrame([near | {"choice": "pad", "moved_by": 0.02}, far])
    panels = draw_choices(table, margin=0.05).axes
    assert all(-0.2 < axes.get_xlim()[0] and axes.get_xlim()[1] < 0.2 for axes in panels)
    assert "+0.40" in [text.get_text() for text in panels[2].texts]
    assert [line.get_marker() for line in panels[2].lines if line.get_marker() == ">"] == [">"]
