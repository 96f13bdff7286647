"""Every figure: it fits the page, print can carry it, and its files are the same every time."""

import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn_figures import DRAWN, draw
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image
from skimage.color import rgb2lab

from mammorgb_utils.output import save_figure, style


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
        monkeypatch.setattr("drawn_figures.RNG", np.random.default_rng(3))
        figure = draw(name)
        save_figure(figure, tmp_path / folder, name)
    save_figure(figure, tmp_path / "again", name)
    for kind in ("pdf", "png"):
        first, *others = [(tmp_path / folder / f"{name}.{kind}").read_bytes() for folder in ("one", "two", "again")]
        assert others == [first, first], kind
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [f"{name}.pdf", f"{name}.png"]


def test_files_embed_truetype_and_tell_nothing(drawn, tmp_path):
    save_figure(drawn["consistency"], tmp_path, "consistency")
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


@pytest.mark.parametrize("p, text", [(0.0123, "p = 0.012"), (0.0004, "p < 0.001"), (np.nan, ""), (1.0, "p = 1.000")])
def test_p_values_are_never_zero(p, text):
    assert style.format_p(p) == text
