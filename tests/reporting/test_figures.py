"""Figures: what they show, that print can carry it, and that their files are the same every time."""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from PIL import Image
from skimage.color import rgb2lab

from mammorgb_utils.reporting import figures, producers, style
from mammorgb_utils.reporting.figures_data import shrink

ROOT = Path(__file__).resolve().parents[2]
ENCODINGS = ("sum", "absdiff", "zero")
RNG = np.random.default_rng(7)
PAIRS = RNG.random((5, 2, 16, 16)).astype(np.float32)


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def overlap_table(n=40, empty=0):
    frames = []
    for name in ("real", *ENCODINGS):
        iou = RNG.beta(20, 4, n)
        iou[:empty] = np.nan
        frames.append(pd.DataFrame({"set": name, "iou": iou, "dsc": 2 * iou / (1 + iou), "iou_no_muscle": iou * 0.95,
                                    "dsc_no_muscle": 1.9 * iou / (1 + 0.95 * iou)}))
    return pd.concat(frames, ignore_index=True)


def flow_table():
    rows = [("manifest", "", 0, 30, None), ("eligible", "BI-RADS other than 2", 6, 24, None),
            ("eligible", "implant", 0, 24, None), ("paired", "MLO view missing", 4, 20, 10)]
    flow = pd.DataFrame(rows, columns=["step", "reason", "images_excluded", "images_left", "pairs_left"])
    return flow.astype({"pairs_left": "Int64"})


def distance_rows():
    rows = [(name, measure, statistic, 0.05, 0.01, 0.02, 0.04, 0.0004, np.nan)
            for name in ENCODINGS for measure in ("iou", "dsc") for statistic in ("emd", "ks")]
    return pd.DataFrame(rows, columns=["set", "measure", "statistic", "value", "band_low", "band_median", "band_high",
                                       "p", "floor_median"])


def contrast_rows(notes=("one run each",) * 3):
    return pd.DataFrame({"first": ["sum", "sum", "absdiff"], "second": ["absdiff", "zero", "zero"],
                         "cliffs_delta": [-0.12, 0.2, 0.3], "low": [-0.2, 0.1, 0.2], "high": [0.0, 0.3, 0.4],
                         "p_holm": [0.04, 0.0002, np.nan], "note": notes})


def consistency_rows():
    return pd.DataFrame({"set": ["zero", "real", "sum"], "paired_median": [0.8, 0.84, 0.83],
                         "shuffled_median": [0.79, 0.74, 0.75], "score": [0.1, np.nan, 0.8],
                         "score_low": [-0.1, np.nan, 0.6], "score_high": [0.3, np.nan, 1.0]})


def stats():
    frame = pd.DataFrame({"step": range(1, 31), "loss": RNG.random(30), "grad_norm": RNG.random(30)})
    return {name: frame for name in ENCODINGS}


def draw(name):
    cdf = (np.linspace(0, 1, 11), np.linspace(0, 1, 11))
    rgb = np.stack([*PAIRS[0], PAIRS[0].mean(0)], axis=-1)
    return {
        "preprocessing_steps": lambda: figures.preprocessing_steps(
            {view: [("Decoded", RNG.random((40, 30))), ("Resized", RNG.random((16, 16)))] for view in ("CC", "MLO")}),
        "reference_cdf": lambda: figures.reference_cdf(list(PAIRS[:3]), [cdf] * 3, cdf),
        "encodings": lambda: figures.encodings(PAIRS[0], {name: rgb for name in ENCODINGS}),
        "cohort_flow": lambda: figures.cohort_flow(flow_table()),
        "gallery_real": lambda: figures.gallery(PAIRS, [f"pair {i}" for i in range(5)], title="Real", columns=3),
        "training_curves": lambda: figures.training_curves(stats(), max_grad_norm=1.0),
        "overlap_distributions": lambda: figures.overlap_distributions(overlap_table(), overlap_table()),
        "distances": lambda: figures.distances(distance_rows(), {"emd": 0.02, "ks": 0.077}),
        "contrasts": lambda: figures.contrasts(contrast_rows()),
        "consistency": lambda: figures.consistency(consistency_rows()),
    }[name]()


DRAWN = ("preprocessing_steps", "reference_cdf", "encodings", "cohort_flow", "gallery_real", "training_curves",
         "overlap_distributions", "distances", "contrasts", "consistency")


@pytest.fixture(scope="module")
def drawn():
    return {name: draw(name) for name in DRAWN}


@pytest.mark.parametrize("name", DRAWN)
def test_figures_fit_the_page_and_can_be_read(drawn, name):
    figure = drawn[name]
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(style.DOUBLE_COLUMN)
    assert figure.get_size_inches()[1] * 25.4 < 230, "taller than a journal page"
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_visible() and text.get_text()}
    assert min(sizes) >= 6
    drawn_box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    clipped = [-drawn_box.x0, -drawn_box.y0, drawn_box.x1 - width, drawn_box.y1 - height]  # inches beyond each edge
    assert max(clipped) < 0.004, clipped


def test_figures_leave_nothing_behind():
    before = dict(plt.rcParams)
    draw("contrasts")
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_sets_differ_in_grey_print_and_for_any_colour_vision():
    rgb = np.array([to_rgb(style.COLOURS[name]) for name in style.SET_ORDER])
    lightness = rgb2lab(rgb)[:, 0]
    assert (np.diff(lightness) > 15).all(), lightness
    assert lightness[-1] < 80, "too light for white paper"
    machado = {  # full protan-, deuteran- and tritanopia on linear RGB, Machado et al. 2009
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]}
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for vision, matrix in machado.items():
        seen = np.clip(linear @ np.array(matrix).T, 0, 1)
        lab = rgb2lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055))
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[np.triu_indices(4, 1)]
        assert apart.min() > 15, (vision, apart)


@pytest.mark.parametrize("mark", ["COLOURS", "MARKERS", "LINES", "HATCHES", "LABELS"])
def test_every_set_has_its_own_mark(mark):
    marks = getattr(style, mark)
    assert tuple(marks) == style.SET_ORDER
    assert len(set(marks.values())) == len(marks)


@pytest.mark.parametrize("name", ["cohort_flow", "consistency", "preprocessing_steps"])
def test_a_figure_drawn_or_saved_again_has_the_same_bytes(tmp_path, name, monkeypatch):
    for folder in ("one", "two"):
        monkeypatch.setattr(f"{__name__}.RNG", np.random.default_rng(3))
        figure = draw(name)
        figures.save_figure(figure, tmp_path / folder, name)
    figures.save_figure(figure, tmp_path / "again", name)
    for kind in ("pdf", "png"):
        first, *others = [(tmp_path / folder / f"{name}.{kind}").read_bytes() for folder in ("one", "two", "again")]
        assert others == [first, first], kind
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [f"{name}.pdf", f"{name}.png"]


def test_files_embed_truetype_and_tell_nothing(drawn, tmp_path):
    figures.save_figure(drawn["consistency"], tmp_path, "consistency")
    pdf = (tmp_path / "consistency.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf or b"/TrueType" in pdf
    assert b"/Type3" not in pdf and b"/FontFile2" in pdf
    assert not re.search(rb"CreationDate|Producer|Creator|/home|/tmp|/work|matplotlib", pdf)
    with Image.open(tmp_path / "consistency.png") as image:
        assert set(image.info) == {"dpi"}
        assert image.info["dpi"][0] == pytest.approx(300, abs=0.1)
        assert image.width == pytest.approx(style.DOUBLE_COLUMN / 25.4 * 300, abs=1)
    if shutil.which("pdffonts"):
        listed = subprocess.run(["pdffonts", tmp_path / "consistency.pdf"], capture_output=True, text=True, check=True)
        rows = listed.stdout.splitlines()[2:]
        assert rows and all("TrueType" in row and " yes yes " in row for row in rows), listed.stdout


def test_an_undeclared_name_is_refused_and_nothing_written(drawn, tmp_path):
    with pytest.raises(ValueError, match="'distance' has no declared producer; did you mean 'distances'"):
        figures.save_figure(drawn["distances"], tmp_path, "distance")
    assert list(tmp_path.iterdir()) == []


def test_preprocessing_steps_show_every_step_in_its_own_size(drawn):
    figure = drawn["preprocessing_steps"]
    assert [axes.images[0].get_array().shape for axes in figure.axes] == [(40, 30), (16, 16)] * 2
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0, 1)}
    assert {"CC", "MLO", "1. Decoded", "2. Resized", "30 × 40 px"} <= set(texts(figure))
    with pytest.raises(ValueError, match="different numbers of steps"):
        figures.preprocessing_steps({"CC": [("a", PAIRS[0, 0])], "MLO": []})


def test_shrink_takes_block_means_and_keeps_small_views():
    view = np.arange(24.0).reshape(4, 6)
    assert shrink(view, longest=6) is view
    np.testing.assert_allclose(shrink(view, longest=3), [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]])


def test_reference_cdf_counts_the_breast_alone_and_states_the_distance():
    view = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 1.0]])
    uniform = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    figure = figures.reference_cdf([view, view], [uniform], uniform)
    line = figure.axes[0].lines[0]
    assert np.interp([0.25, 0.6, 1.0], *line.get_data()) == pytest.approx([0, 2 / 3, 1])
    assert any("median 0.498" in text for text in texts(figure))  # just below 0.5 the CDF is still 0
    assert any("median 0.000" in text for text in texts(figure))
    assert "Before matching (n = 2 images)" in texts(figure)
    with pytest.raises(ValueError, match="no pixel above"):
        figures.reference_cdf([view * 0], [], uniform)


def test_encodings_show_rgb_above_its_blue_channel(drawn):
    grid = np.array(drawn["encodings"].axes).reshape(2, 4)
    assert [axes.get_title() for axes in grid[0]] == ["CC → red", "Sum", "Absolute difference", "Zero"]
    for top, bottom in grid[:, 1:].T:
        np.testing.assert_array_equal(top.images[0].get_array()[..., 2], bottom.images[0].get_array())


def test_cohort_flow_counts_what_is_left_and_why(drawn):
    shown = texts(drawn["cohort_flow"])
    assert [text for text in shown if text.endswith(("images", "pairs")) and text[0].isdigit()] == [
        "30 images", "24 images", "20 images, 10 pairs"]
    assert "Excluded: 6 images" in shown and "Excluded: 4 images" in shown
    assert any("BI-RADS other than 2" in text for text in shown)
    assert not any("implant" in text for text in shown), "a reason that nobody met"


def test_gallery_shows_every_pair_once_cc_first(drawn):
    images = [axes.images[0].get_array() for axes in drawn["gallery_real"].axes if axes.images]
    np.testing.assert_array_equal(images, np.concatenate([PAIRS[:, 0], PAIRS[:, 1]], axis=2))
    assert texts(drawn["gallery_real"]).count("CC") == 3
    assert {f"pair {i}" for i in range(5)} <= set(texts(drawn["gallery_real"]))
    with pytest.raises(ValueError, match="at least one pair"):
        figures.gallery(PAIRS[:0])
    with pytest.raises(ValueError, match="2 captions for 5 pairs"):
        figures.gallery(PAIRS, ["a", "b"])


def test_training_curves_draw_each_encoding_in_its_colour(drawn):
    for axes in drawn["training_curves"].axes:
        colours = [to_hex(line.get_color()).upper() for line in axes.lines[:6]]
        assert colours == [style.COLOURS[name] for name in ENCODINGS for _ in range(2)]
    loss = pd.DataFrame({"step": range(1, 31), "loss": np.arange(30.0), "grad_norm": 1.0})
    smooth = figures.training_curves({"sum": loss}).axes[0].lines[1].get_ydata()
    np.testing.assert_allclose(smooth[1:-1], np.arange(1.0, 29.0))  # a mean over 3 leaves a straight line straight


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


@pytest.mark.parametrize("p, text", [(0.0123, "p = 0.012"), (0.0004, "p < 0.001"), (np.nan, ""), (1.0, "p = 1.000")])
def test_p_values_are_never_zero(p, text):
    assert style.format_p(p) == text


def saved_names(notebook, function):
    """Patterns of the names that a notebook hands to `function`; an f-string's fields match any word."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)
             and function in (getattr(node.func, "id", None), getattr(node.func, "attr", None))]
    return [name_pattern(call) for call in calls]


def name_pattern(call):
    node = call.args[2] if len(call.args) > 2 else next(k.value for k in call.keywords if k.arg == "name")
    if isinstance(node, ast.Constant):
        return re.escape(node.value)
    assert isinstance(node, ast.JoinedStr), f"a name must be a literal or an f-string: {ast.unparse(node)}"
    return "".join(re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in node.values)


@pytest.mark.parametrize("function, declared", [("save_figure", producers.FIGURES), ("save_table", producers.TABLES)])
def test_every_notebook_saves_exactly_what_is_declared(function, declared):
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not notebooks:
        pytest.skip("notebooks/ is empty: nothing produces a figure or table yet")
    for notebook in notebooks:
        mine = {name for name, producer in declared.items() if producer == notebook.stem}
        patterns = saved_names(notebook, function)
        unsaved = [name for name in mine if not any(re.fullmatch(pattern, name) for pattern in patterns)]
        undeclared = [pattern for pattern in patterns if not any(re.fullmatch(pattern, name) for name in mine)]
        assert not unsaved, f"{notebook.name} doesn't save the declared {unsaved}"
        assert not undeclared, f"{notebook.name} saves {undeclared}, which producers.py doesn't give to it"
    assert set(declared.values()) <= {notebook.stem for notebook in notebooks}
