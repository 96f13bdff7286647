"""What each picture and diagram shows of what it is given."""

import numpy as np
import pandas as pd
import pytest
from drawn_figures import ENCODINGS, PAIRS, texts
from matplotlib.colors import to_hex
from PIL import Image

from mammorgb_utils.output import diagrams, pictures, style


def test_preprocessing_steps_show_every_step_in_its_own_size(drawn):
    figure = drawn["preprocessing_steps"]
    assert [axes.images[0].get_array().shape for axes in figure.axes] == [(40, 30), (16, 16)] * 2
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0, 1)}
    assert {"CC", "MLO", "1. Decoded", "2. Resized", "30 × 40 px"} <= set(texts(figure))
    with pytest.raises(ValueError, match="different numbers of steps"):
        pictures.preprocessing_steps({"CC": [("a", PAIRS[0, 0])], "MLO": []})


def test_shrink_takes_block_means_and_keeps_small_views():
    view = np.arange(24.0).reshape(4, 6)
    assert pictures.shrink(view, longest=6) is view
    np.testing.assert_allclose(pictures.shrink(view, longest=3), [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]])


def test_reference_cdf_counts_the_breast_alone_and_states_the_distance():
    view = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 1.0]])
    uniform = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    figure = pictures.reference_cdf([view, view], [uniform], uniform)
    line = figure.axes[0].lines[0]
    assert np.interp([0.25, 0.6, 1.0], *line.get_data()) == pytest.approx([0, 2 / 3, 1])
    assert any("median 0.498" in text for text in texts(figure))  # just below 0.5 the CDF is still 0
    assert any("median 0.000" in text for text in texts(figure))
    assert "Before matching (n = 2 images)" in texts(figure)
    with pytest.raises(ValueError, match="no pixel above"):
        pictures.reference_cdf([view * 0], [], uniform)


def test_encodings_show_rgb_above_its_blue_channel(drawn):
    grid = np.array(drawn["encodings"].axes).reshape(2, 4)
    assert [axes.get_title() for axes in grid[0]] == ["CC → red", "Sum", "Absolute difference", "Zero"]
    for top, bottom in grid[:, 1:].T:
        np.testing.assert_array_equal(top.images[0].get_array()[..., 2], bottom.images[0].get_array())


def test_gallery_shows_every_pair_once_cc_first(drawn):
    images = [axes.images[0].get_array() for axes in drawn["gallery_real"].axes if axes.images]
    np.testing.assert_array_equal(images, np.concatenate([PAIRS[:, 0], PAIRS[:, 1]], axis=2))
    assert texts(drawn["gallery_real"]).count("CC") == 3
    assert {f"pair {i}" for i in range(5)} <= set(texts(drawn["gallery_real"]))
    with pytest.raises(ValueError, match="at least one pair"):
        pictures.gallery(PAIRS[:0])
    with pytest.raises(ValueError, match="2 captions for 5 pairs"):
        pictures.gallery(PAIRS, ["a", "b"])


def test_strips_stand_in_the_order_of_their_steps(tmp_path):
    for name, steps in (("sum", (40, 8)), ("zero", (8,))):
        (tmp_path / name).mkdir()
        for step in steps:
            Image.fromarray(np.full((4, 8), step, np.uint8)).save(tmp_path / name / f"step-{step:08d}.png")
    figure = pictures.training_strips({name: tmp_path / name for name in ("sum", "zero")})
    assert [axis.get_title() for axis in figure.axes] == ["step 8", "step 40", "step 8", ""]
    assert figure.axes[1].images[0].get_array().max() == 40 and figure.axes[2].get_ylabel() == "Zero"
    with pytest.raises(ValueError, match="training/none/strips: no strip"):
        pictures.training_strips({"none": tmp_path / "none"})
def test_cohort_flow_counts_what_is_left_and_why(drawn):
    shown = texts(drawn["cohort_flow"])
    assert [text for text in shown if text.endswith(("images", "pairs")) and text[0].isdigit()] == [
        "30 images", "24 images", "20 images, 10 pairs"]
    assert "Excluded: 6 images" in shown and "Excluded: 4 images" in shown
    assert any("BI-RADS other than 2" in text for text in shown)
    assert not any("implant" in text for text in shown), "a reason that nobody met"


def test_training_curves_draw_each_encoding_in_its_colour(drawn):
    for axes in drawn["training_curves"].axes:
        colours = [to_hex(line.get_color()).upper() for line in axes.lines[:6]]
        assert colours == [style.COLOURS[name] for name in ENCODINGS for _ in range(2)]
    loss = pd.DataFrame({"step": range(1, 31), "loss": np.arange(30.0), "grad_norm": 1.0})
    smooth = diagrams.training_curves({"sum": loss}).axes[0].lines[1].get_ydata()
    np.testing.assert_allclose(smooth[1:-1], np.arange(1.0, 29.0))  # a mean over 3 leaves a straight line straight


