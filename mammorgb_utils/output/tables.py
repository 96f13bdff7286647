"""Tables as text: the same rounding and headers in LaTeX, in notebooks and on pages."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from mammorgb_utils.output.style import NAMES, format_rate

_SET_COLUMNS = {"set", "encoding", "first", "second", "sampler"}
_MEASURE_COLUMNS = {"measure", "metric", "statistic"}
_HEADERS = {
    "iou": "IoU", "dsc": "DSC", "emd": "EMD", "ks": "KS", "n": "n", "p": "p", "p_holm": "p (Holm)", "p_bh": "p (BH)",
    "cliffs_delta": "Cliff's δ", "iou_no_muscle": "IoU without muscle", "dsc_no_muscle": "DSC without muscle",
    "gflop_step": "GFLOP a step", "peak_memory_mb": "Peak memory [MB]", "step_seconds": "Step [s]",
    "forward_seconds": "Forward [s]",
    "id": "ID", "birads": "BI-RADS", "hodges_lehmann": "Hodges–Lehmann shift", "auc": "AUC", "lr": "Learning rate",
    "n_nan": "no mask", "n_real": "n real", "n_real_nan": "no mask, real", "n_first": "n first", "n_second": "n second",
    "n_first_nan": "no mask, first", "n_second_nan": "no mask, second", "n_draws": "Draws",
    "n_planted": "n planted", "n_clean": "n clean", "n_mammograms": "n mammograms", "n_with": "n with it",
    "n_without": "n without",
    "n_reference": "n reference", "n_runs": "Runs", "kid": "KID", "n_flagged": "flagged", "n_heldout": "n held out",
    "p_closer": "p (nearer)", "nipple_line": "nipple line", "centroid": "density centroid", "dense": "dense share",
    "profile": "depth profile", "mass_depth": "brightest blob", "third_sum": "third channel, sum", "k": "K",
    "third_absdiff": "third channel, abs. difference", "third_zero": "third channel, zero", "r": "r",
    "within_1cm": "within 1 cm", "within_1cm_truth": "within 1 cm, truth",
    "p_closer_flip": "p (nearer, signs flipped)", "p_floor": "smallest possible p",
}
_ACRONYMS = {"iou": "IoU", "dsc": "DSC", "emd": "EMD", "ks": "KS", "cc": "CC", "mlo": "MLO", "sd": "SD",
             "top1": "top 1"}
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$", '"': "''",
    "±": r"$\pm$", "−": r"$-$", "–": "--", "—": "---", "“": "``", "”": "''", "‘": "`", "’": "'", "·": r"$\cdot$",
    "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "≠": r"$\neq$", "→": r"$\rightarrow$",
    "∧": r"$\wedge$", "∞": r"$\infty$", "…": r"\ldots{}", "°": r"$^{\circ}$", "²": r"$^{2}$", "³": r"$^{3}$",
    "α": r"$\alpha$", "β": r"$\beta$", "δ": r"$\delta$", "Δ": r"$\Delta$", "ε": r"$\varepsilon$", "κ": r"$\kappa$",
    "λ": r"$\lambda$", "μ": r"$\mu$", "µ": r"$\mu$", "ρ": r"$\rho$", "σ": r"$\sigma$", "\u00a0": "~", "\u202f": r"\,",
    "\n": " ", "ä": r'\"a', "ö": r'\"o', "ü": r'\"u', "é": r"\'e", "è": r"\`e", "ß": r"{\ss}",
}
_LONG = 20  # characters: a column with longer cells gets a width, so that it wraps on the page


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with a named index as its first columns, and rows counted from 0."""
    named = any(name is not None for name in frame.index.names)
    return frame.reset_index() if named else frame.reset_index(drop=True)


def show_table(frame: pd.DataFrame) -> Styler:
    """The table as a notebook shows it: rounded as in LaTeX, readable headers, sets by their names."""
    frame = flat(frame)
    shown = rounded(frame)
    numeric = [header for header, column in zip(shown, frame, strict=True) if is_number(frame[column])]
    style = shown.style.hide(axis="index").format(escape="html").format_index(escape="html", axis=1)
    style = style.set_properties(**{"text-align": "left", "vertical-align": "top"})
    style = style.set_properties(subset=numeric, **{"text-align": "right"})
    return style.set_table_styles([{"selector": "th", "props": "text-align: left"}])


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as text: numbers rounded by column, p-values never 0, `–` for nothing, sets by their names."""
    columns = [_text(str(name), column) for name, column in frame.items()]
    return pd.DataFrame(dict(enumerate(columns)), index=frame.index).set_axis([_header(str(c)) for c in frame], axis=1)


def to_latex(frame: pd.DataFrame, *, name: str, caption: str) -> str:
    r"""A `table` environment with booktabs rules, in plain ASCII, labelled `tab:name`."""
    text = rounded(frame)
    widths = _column_widths(frame, text)
    cells = {i: [_cell(value, widths[i]) for value in text.iloc[:, i]] for i in range(text.shape[1])}
    shown = pd.DataFrame(cells, index=text.index).set_axis([latex_escape(header) for header in text], axis=1)
    latex = shown.style.hide(axis="index").to_latex(hrules=True, column_format="".join(widths), position="htbp",
                                                    position_float="centering", caption=latex_escape(caption),
                                                    label=f"tab:{name}")
    latex = latex.replace(r"\begin{tabular}", "\\footnotesize\n\\begin{tabular}", 1)
    return latex.replace(" \\\\\n", " \\tabularnewline\n")  # in a ragged cell two backslashes end the line, not the row


def latex_escape(text: str) -> str:
    """Plain text as LaTeX source in ASCII.

    Raises:
        ValueError: A character has no LaTeX counterpart here; the message names it.
    """
    escaped = "".join(_LATEX.get(character, character) for character in text)
    unknown = sorted({character for character in escaped if not character.isascii()})
    if unknown:
        raise ValueError(f"LaTeX table: no counterpart for {', '.join(map(repr, unknown))} in {text!r}; "
                         "reword it, or add it to _LATEX in mammorgb_utils/output/tables.py")
    return escaped


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers, and no truth values."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _header(name: str) -> str:
    if name in _HEADERS:
        return _HEADERS[name]
    if "_" not in name and not name.islower():
        return name  # written for reading already
    words = [_ACRONYMS.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:] if words[0].islower() else words[0], *words[1:]])


def _text(name: str, column: pd.Series) -> list[str]:
    if is_number(column):
        return _numbers(name, column)
    if name in _SET_COLUMNS:
        column = column.replace(NAMES)
    elif name in _MEASURE_COLUMNS:
        column = column.replace(_HEADERS)
    return ["–" if pd.isna(value) or value == "" else _word(value) for value in column]


def _word(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{value:.3f}".replace("-", "−")
    return str(value)


def _numbers(name: str, column: pd.Series) -> list[str]:
    values = column.to_numpy(dtype=float, na_value=np.nan)
    if name == "learning_rate":
        return ["–" if np.isnan(value) else format_rate(value) for value in values]
    if name == "seed":  # a name, not a quantity
        return [f"{value:.0f}" for value in values]
    finite = values[np.isfinite(values)]
    if pd.api.types.is_integer_dtype(column) or (finite.size and (finite == np.round(finite)).all()
                                                 and np.abs(finite).max() >= 10):
        decimals = 0
    else:
        largest = np.abs(finite).max() if finite.size else 0.0
        decimals = 3 if largest < 10 else 1 if largest < 1000 else 0
    is_p = name == "p" or name.startswith("p_")
    return [_number(value, decimals, is_p) for value in values]


def _number(value: float, decimals: int, is_p: bool) -> str:
    if np.isnan(value):
        return "–"
    if is_p and value < 0.001:
        return "< 0.001"
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")  # no minus zero
    return text.replace("-", "−")


def _cell(value: str, width: str) -> str:
    """A cell's LaTeX; where it wraps, it is ragged."""
    return (r"\raggedright " if width.startswith("p") else "") + latex_escape(value)


def _column_widths(frame: pd.DataFrame, text: pd.DataFrame) -> list[str]:
    """`r` for numbers, `l` for short text, and a share of the line, the longest word at least, where text wraps."""
    lengths = [text.iloc[:, i].map(len).max() if len(text) else 0 for i in range(text.shape[1])]
    long = [length ** 0.5 if length > _LONG else 0 for length in lengths]  # roots: no column too narrow for its words
    narrow = sum(max(length, len(header)) for length, header, wide in zip(lengths, text, long, strict=True) if not wide)
    # at \footnotesize a character takes about 1.15 % of article's text width, the space between columns 3.5 %
    room = max(0.3, 1.0 - 0.0115 * narrow - 0.035 * len(lengths))
    words = [max((len(word) for cell in text.iloc[:, i] for word in cell.split()), default=0) * 0.0125
             for i in range(text.shape[1])]
    return [f"p{{{max(room * wide / sum(long), word):.2f}\\textwidth}}" if wide
            else "r" if is_number(frame[column]) else "l"
            for wide, word, column in zip(long, words, frame, strict=True)]
