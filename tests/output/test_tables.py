"""Tables as text: rounded the same way in LaTeX and notebooks, and LaTeX that sets."""

import re

import numpy as np
import pandas as pd
import pytest

from mammorgb_utils.output import tables
from mammorgb_utils.output.style import LABELS

FRAME = pd.DataFrame({
    "set": ["real", "absdiff"], "n": [2500, 3], "median_iou": [0.8401234567890123, np.nan],
    "p_holm": [0.00012, 0.04], "shift": [-0.0001, -0.25], "plausible": [True, False],
    "note": ["50 % of A_1 & B · “±0.02” – see #3 {x} ~5^2 \\ $1 <\u00a0>", ""],
})


def body(latex):
    return latex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()


def test_latex_is_balanced_plain_and_needs_booktabs_alone():
    latex = tables.to_latex(FRAME, name="overlap_summary", caption="50 % ± 2")
    assert latex.isascii()
    unescaped = re.sub(r"\\[{}]", "", latex)
    assert unescaped.count("{") == unescaped.count("}")
    assert re.findall(r"\\begin\{(\w+)\}", latex) == re.findall(r"\\end\{(\w+)\}", latex)[::-1]
    assert len(re.findall(r"(?<!\\)\$", latex)) % 2 == 0
    assert not re.search(r"(?<!\\)[%#]", latex)
    assert not re.search(r"(?<!\\)_", latex.replace(r"\label{tab:overlap_summary}", ""))
    for command in ("toprule", "midrule", "bottomrule", "caption", "label"):
        assert latex.count("\\" + command) == 1
    header = latex.split(r"\toprule")[1].split(r"\midrule")[0]
    for line in [header.strip(), *body(latex)]:
        assert line.endswith(r" \tabularnewline") and len(re.findall(r"(?<!\\)&", line)) == FRAME.shape[1] - 1, line
    assert set(re.findall(r"\\([a-zA-Z]+)", latex)) <= {
        "begin", "end", "centering", "footnotesize", "caption", "label", "toprule", "midrule", "bottomrule",
        "tabularnewline", "textwidth", "raggedright", "pm", "cdot", "textasciitilde", "textasciicircum",
        "textbackslash"}


@pytest.mark.parametrize("text, latex", [
    ("50 %", r"50 \%"), ("a_b & c", r"a\_b \& c"), ("\\", r"\textbackslash{}"), ("{x}", r"\{x\}"),
    ("#1 $2", r"\#1 \$2"),
    ("±0.02", r"$\pm$0.02"), ("1–2", "1--2"), ("“so”", "``so''"), ("CC · MLO", r"CC $\cdot$ MLO"),
    ("p < 0.001", r"p $<$ 0.001"), ("−1", "$-$1"), ("x^2 ~", r"x\textasciicircum{}2 \textasciitilde{}"),
])
def test_escapes(text, latex):
    assert tables.latex_escape(text) == latex


def test_a_character_that_latex_cannot_set_is_named():
    with pytest.raises(ValueError, match="'✓' in 'done ✓'"):
        tables.latex_escape("done ✓")


def test_rounding_says_neither_too_much_nor_zero():
    text = tables.rounded(FRAME)
    assert text["Set"].tolist() == [LABELS["real"], LABELS["absdiff"]]
    assert text["n"].tolist() == ["2,500", "3"]
    assert text["Median IoU"].tolist() == ["0.840", "–"]
    assert text["p (Holm)"].tolist() == ["< 0.001", "0.040"]
    assert text["Shift"].tolist() == ["0.000", "−0.250"], "no minus zero"
    assert text["Plausible"].tolist() == ["yes", "no"]
    assert text["Note"][1] == "–"


def test_names_of_sets_and_measures_are_spelt_out():
    frame = pd.DataFrame({"first": ["sum"], "measure": ["iou_no_muscle"], "statistic": ["emd"], "reason": ["sum"]})
    assert tables.rounded(frame).iloc[0].tolist() == ["Sum", "IoU without muscle", "EMD", "sum"]


@pytest.mark.parametrize("values, expected", [
    ([12.345, 1.0], ["12.3", "1.0"]), ([1234.5, 2.0], ["1,234", "2"]), ([600.0, np.nan], ["600", "–"]),
    (pd.array([10, None], dtype="Int64"), ["10", "–"]), ([0.0, 1.0], ["0.000", "1.000"]), ([np.nan], ["–"]),
])
def test_decimals_follow_the_column(values, expected):
    assert tables.rounded(pd.DataFrame({"x": values}))["X"].tolist() == expected


def test_notebooks_show_what_latex_prints():
    html = tables.show_table(FRAME.set_index("set")).to_html()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", html)
    assert {"0.840", "2,500", "Absolute difference", "&lt; 0.001"} <= set(cells)
    assert len(cells) == FRAME.size, "no row labels"


def test_long_text_wraps_and_numbers_stand_right():
    frame = pd.DataFrame({"claim": ["x " * 50], "verdict": ["y " * 12 + "y"], "value": [0.1]})
    latex = tables.to_latex(frame, name="claims", caption="Claims.")
    wide = [float(share) for share in re.findall(r"p\{([\d.]+)\\textwidth\}", latex)]
    assert len(wide) == 2 and wide[0] == pytest.approx(2 * wide[1], abs=0.02) and sum(wide) < 0.95
    assert r"\textwidth}r}" in latex
    frame = pd.DataFrame({"claim": ["a b " * 90], "verdict": ["n " * 15 + "underpowered-by-far"]})
    assert float(re.findall(r"p\{([\d.]+)", tables.to_latex(frame, name="claims", caption=""))[1]) >= 19 * 0.0125


def test_an_empty_table_is_a_table():
    latex = tables.to_latex(FRAME.iloc[:0], name="distances", caption="None.")
    assert r"\bottomrule" in latex


def test_rates_seeds_samplers_and_controls_are_written_as_such():
    frame = pd.DataFrame({"learning_rate": [1e-4, np.nan], "seed": [2511, 2512], "sampler": ["ddim", "dpmsolver++"],
                          "encoding": ["copy", "sum"], "p_floor": [0.25, 0.25]})
    assert tables.rounded(frame).to_numpy().tolist() == [["1e-4", "2511", "DDIM", "Copy of CC", "0.250"],
                                                         ["–", "2512", "DPM-Solver++", "Sum", "0.250"]]
    assert list(tables.rounded(frame))[-1] == "smallest possible p"
