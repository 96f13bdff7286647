"""Every figure of the study, and the one way to save them.

Each function takes plain data and returns a matplotlib figure; nothing is written until `save_figure`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mammorgb_utils.reporting.figures_anatomy import anatomy_consistency, match_test
from mammorgb_utils.reporting.figures_appendices import learning_rates, samplers, third_channel
from mammorgb_utils.reporting.figures_artefacts import artefact_examples, artefacts
from mammorgb_utils.reporting.figures_audit import matching_audit
from mammorgb_utils.reporting.figures_choices import mask_agreement, open_choices
from mammorgb_utils.reporting.figures_cohort import cohort_flow, gallery
from mammorgb_utils.reporting.figures_data import encodings, preprocessing_steps, reference_cdf, training_strips
from mammorgb_utils.reporting.figures_fidelity import fidelity, nearest_training
from mammorgb_utils.reporting.figures_overlap import overlap_distributions, training_curves
from mammorgb_utils.reporting.figures_readers import reader_study
from mammorgb_utils.reporting.figures_results import consistency, contrasts, distances
from mammorgb_utils.reporting.producers import FIGURES, check_declared
from mammorgb_utils.reporting.records import record
from mammorgb_utils.reporting.style import rc
from mammorgb_utils.runs import atomic_path

__all__ = ["anatomy_consistency", "artefact_examples", "artefacts", "cohort_flow", "consistency", "contrasts",
           "distances", "encodings", "fidelity", "gallery", "learning_rates", "mask_agreement", "match_test",
           "matching_audit", "nearest_training", "open_choices", "overlap_distributions", "preprocessing_steps",
           "reader_study", "reference_cdf", "samplers", "save_figure", "third_channel", "training_curves",
           "training_strips"]

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
