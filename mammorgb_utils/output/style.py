"""One look for every figure: sizes, fonts, and one colour, marker, line and hatch per set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammorgb_utils.protocol import SET_ORDER

SINGLE_COLUMN, DOUBLE_COLUMN = 89.0, 183.0  # mm, the widths most journals print
_MM = 1 / 25.4  # inches

LABELS = {"real": "Real", "sum": "Sum", "absdiff": "Absolute difference", "zero": "Zero"}
CONTROL_LABELS = {"copy": "Copy of CC", "noise": "Noise", "other": "Another breast's CC"}  # of the appendices
SAMPLER_LABELS = {"ddpm": "DDPM", "ddim": "DDIM", "dpmsolver++": "DPM-Solver++", "sde-dpmsolver++": "SDE-DPM-Solver++"}
PLANTED_LABELS = {"heldout": "Held out", "planted_noise": "Copies with noise", "planted_shift": "Copies, moved",
                  "planted_gain": "Copies, darker", "planted_blur": "Copies, blurred",
                  "planted_mixed": "Copies of one view",
                  "disguised_offset": "Copies, moved far", "disguised_mirrored": "Copies, mirrored",
                  "disguised_swapped": "Copies, views swapped", "disguised_gamma": "Copies, squared"}
NAMES = (LABELS | PLANTED_LABELS | {"train": "Training", "base": "Base", "anatomy": "Measured anatomy, real"}
         | CONTROL_LABELS | SAMPLER_LABELS)
# Lightness (CIE L*) rises in steps of about 20 from real to zero, so that grey print and any colour
# vision tell the sets apart; markers, lines and hatches say the same once more.
COLOURS = {"real": "#1A1A1A", "sum": "#1B4F93", "absdiff": "#D5622B", "zero": "#E6B640"}
MARKERS = {"real": "o", "sum": "s", "absdiff": "^", "zero": "D"}
LINES = {"real": "-", "sum": (0, (6, 1.5)), "absdiff": (0, (3, 1, 1, 1)), "zero": (0, (1, 0.8))}
HATCHES = {"real": "", "sum": "////", "absdiff": "....", "zero": "xxxx"}
EDGE = "#1A1A1A"  # outlines a light fill needs on white paper
BAND = "#DDDDDD"  # null bands, comparators
QUIET = "#6E6E6E"  # reference lines and remarks
DASHED = {"color": QUIET, "linewidth": 0.8, "linestyle": (0, (3, 2)), "zorder": 1}  # a reference line

_RC = {
    "font.family": "DejaVu Sans", "font.size": 7.0, "axes.titlesize": 7.5, "axes.labelsize": 7.0,
    "xtick.labelsize": 6.5, "ytick.labelsize": 6.5, "legend.fontsize": 6.5, "figure.titlesize": 8.0,
    "figure.dpi": 150, "savefig.dpi": 300, "figure.facecolor": "white", "savefig.facecolor": "white",
    "pdf.fonttype": 42, "ps.fonttype": 42, "pdf.compression": 9,  # embedded TrueType, as journals ask
    "axes.linewidth": 0.6, "lines.linewidth": 1.2, "patch.linewidth": 0.6, "hatch.linewidth": 0.4,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "xtick.minor.size": 0, "ytick.minor.size": 0, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "image.cmap": "gray", "image.interpolation": "none", "axes.unicode_minus": True,
}

P = ParamSpec("P")


def in_style(**more: Any) -> AbstractContextManager[None]:
    """Within it figures get the study's look and `more` settings, `_` for a dot; a person's own count for nothing."""
    own = {**sns.axes_style("ticks"), **sns.plotting_context("paper"), **_RC}
    return plt.style.context(["default", own | {name.replace("_", ".", 1): value for name, value in more.items()}])


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a figure function in the study's style, and freeze its layout: saved twice it gives the same bytes."""
    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with in_style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        return figure
    return wrapper


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` × `height` mm that lays itself out, taken out of pyplot's list at once.

    So a notebook shows it where a cell ends in it, not a second time, and a long session doesn't pile figures up.
    """
    figure = plt.figure(figsize=(width * _MM, height * _MM), layout="constrained")
    plt.close(figure)
    return figure


def present_sets(names: Iterable[str]) -> list[str]:
    """The sets among `names`, in the order in which they are shown everywhere."""
    names = set(names)
    return [name for name in SET_ORDER if name in names]


def mark(name: str, size: float = 4.5) -> dict[str, Any]:
    """Marker and fill of a set, as `plot` takes them."""
    return {"marker": MARKERS[name], "markersize": size, "color": COLOURS[name], "markeredgecolor": EDGE,
            "markeredgewidth": 0.6}


def bare(axes: Axes, frame: str | None = None) -> None:
    """Take ticks off an image's axes; `frame` is the colour of a fine line around it, None for no line."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=frame is not None, color=frame or "none", linewidth=0.5)


def panel_letters(panels: Iterable[Axes], pad: float | None = None) -> None:
    """Mark panels a, b, c … at their top left; `pad` in points where their titles have one."""
    for letter, axes in zip("abcdefghijkl", panels, strict=False):
        axes.set_title(letter, loc="left", fontweight="bold", pad=pad)


def format_p(p: float) -> str:
    """A p-value for a figure: `p = 0.012`, `p < 0.001`, or nothing for NaN."""
    if p != p:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def format_rate(rate: float) -> str:
    """A learning rate as papers write it: `1e-4`, `2.5e-5`."""
    mantissa, exponent = f"{rate:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
