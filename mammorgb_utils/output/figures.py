"""The one way to save a figure."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mammorgb_utils.output.producers import FIGURES, check_declared
from mammorgb_utils.output.records import record
from mammorgb_utils.output.style import rc
from mammorgb_utils.runs import atomic_path

# Dates, tool versions and user names would differ between machines, and some of them name a person.
_METADATA = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "png": {"Software": None}}


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `folder/name.pdf` (fonts embedded as TrueType) and `folder/name.png` (300 dpi), atomically.

    The bytes depend on the figure alone: the files hold no date, path or user. The figure stays open.

    Args:
        folder: For a study `Run.figures`; it is made when missing.
        name: A name declared in `producers.FIGURES`.

    Raises:
        ValueError: No notebook is declared to produce `name`.
    """
    check_declared(name, FIGURES, "figure")
    with plt.rc_context(rc()):
        for kind, metadata in _METADATA.items():
            with atomic_path(Path(folder) / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)
            record(Path(folder) / f"{name}.{kind}")
