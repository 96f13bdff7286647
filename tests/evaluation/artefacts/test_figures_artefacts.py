"""What the artefact figures show, and the table that the claim is judged by."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import ENCODINGS, texts

from mammorgb_utils.evaluation.artefacts import ANY, DETECTORS, figures
from mammorgb_utils.evaluation.statistics import rate_row
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.reporting.claims import evaluate_claims


def rate_rows(n=400, count=28):
    return pd.DataFrame([{"set": name, "artefact": kind, **rate_row(np.arange(n) < (count if kind == ANY else 4))}
                         for name in ("real", *ENCODINGS, "train") for kind in (*DETECTORS, ANY)])


def test_rates_have_a_row_a_kind_a_dot_a_set_and_the_papers_range():
    figure = figures.artefacts(rate_rows(), paper=(0.06, 0.08))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-2:] == ["Other contour", "Any"]
    dots = [line for line in axes.lines if line.get_marker() in ("o", "s", "^", "D", "v")]
    assert len(dots) == 5 * (len(DETECTORS) + 1) and dots[0].get_marker() == "v", "training pairs come first"
    assert {"Training, n = 400", "Real, n = 400", "The paper's range"} <= set(texts(figure))
    assert len(axes.collections) == 1 and not figures.artefacts(rate_rows()).axes[0].collections


def test_examples_are_framed_named_and_counted():
    pairs = np.random.default_rng(1).random((6, 2, 16, 16))
    names = [*(f"p{i}" for i in range(5)), "sum-00001"]
    figure = figures.artefact_examples(pairs, ["train", "real", *ENCODINGS, "sum"], names,
                                       ["cut breast", *["edge line, checkerboard"] * 5])
    assert sum(axes.has_data() for axes in figure.axes) == 6
    assert {"Training p0", "sum-00001", "cut breast", "edge line\ncheckerboard"} <= set(texts(figure))
    with pytest.raises(ValueError, match="6 pairs with 1 sets"):
        figures.artefact_examples(pairs, ["sum"], ["p"] * 6, [""] * 6)


def test_no_flagged_pair_leaves_a_line():
    figure = figures.artefact_examples(np.zeros((0,)), [], [], [])
    assert texts(figure) == ["None of the pairs drawn is flagged"]


@pytest.mark.parametrize("count, source, verdict", [
    (28, "own", "reproduced"), (100, "own", "not reproduced"),
    (28, "phantom", "not testable on this cohort, on phantoms")])
def test_the_claim_is_judged_by_the_rate_of_any_artefact(count, source, verdict):
    rates = rate_rows(count=count)
    table = rates[rates["artefact"] == ANY]
    assert table["rate"].eq(count / 400).all()
    claims = evaluate_claims({"artefacts": table}, cohort_source=source,
                             protocol=Protocol())
    assert claims.set_index("id").loc["C5", "verdict"] == verdict
