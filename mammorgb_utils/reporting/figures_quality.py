"""Intensities of one scanner's images, drawn for a page that phones show, too."""

from __future__ import annotations

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mammorgb_utils.output.style import BAND, COLOURS, QUIET, new_figure, rc, styled

_WIDTH, _HEIGHT = 65.0, 40.0  # mm; shown at 1.4 times this, so that the text is of a page's size
_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_SALT = {"svg.hashsalt": "mammorgb", "svg.fonttype": "path"}  # the same bytes each time, without installed fonts


@styled
def scanner_intensities(breast: np.ndarray, image: np.ndarray) -> Figure:
    """Histograms of one scanner: breasts, with their spread, and whole images.

    Args:
        breast, image: `(N, B)` shares of the pixels by displayed grey from 0 to 1; rows sum to 1.

    Returns:
        Medians over the images, and for breasts a band from the 5th to the 95th percentile. Shares are per 1 % of
        the grey range; the peak of air is cut off.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    grey, scale = (np.arange(breast.shape[1]) + 0.5) / breast.shape[1], breast.shape[1]
    low, median, high = np.percentile(breast * scale, [5, 50, 95], axis=0)
    axes.fill_between(grey, low, high, color=BAND, linewidth=0, label="90 % of breasts")
    axes.plot(grey, median, color=COLOURS["sum"], label="Breast, median")
    axes.plot(grey, np.median(image * scale, axis=0), color=QUIET, linestyle=(0, (3, 1.5)), label="Image, median")
    axes.set(xlim=(0, 1), ylim=(0, max(1.05 * float(high.max()), 1e-3)), xlabel="Displayed grey, black to white",
             ylabel="Pixels per 0.01 [%]")
    axes.legend(loc="upper right", handlelength=1.5)
    return figure


def as_svg(figure: Figure) -> bytes:
    """A figure as SVG without date, names or fonts; its bytes depend on the figure alone."""
    buffer = BytesIO()
    with plt.rc_context(rc() | _SALT):
        figure.savefig(buffer, format="svg", metadata=_METADATA)
    return buffer.getvalue()
