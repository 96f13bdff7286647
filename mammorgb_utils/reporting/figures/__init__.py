"""Every figure of the study; each function takes plain data and returns a matplotlib figure."""

from __future__ import annotations

from mammorgb_utils.evaluation.anatomy.figures import anatomy_consistency, match_test
from mammorgb_utils.evaluation.artefacts.figures import artefact_examples, artefacts
from mammorgb_utils.evaluation.consistency.figures import consistency
from mammorgb_utils.evaluation.fidelity.figures import fidelity, nearest_training
from mammorgb_utils.evaluation.masks.figures import mask_agreement
from mammorgb_utils.evaluation.overlap.figures import overlap_distributions
from mammorgb_utils.evaluation.statistics.figures import contrasts, distances
from mammorgb_utils.experiments.learning_rate import figure as learning_rates
from mammorgb_utils.experiments.open_choices.drawing import figure as open_choices
from mammorgb_utils.experiments.preprocessing.audit import figure as matching_audit
from mammorgb_utils.experiments.readers.score import figure as reader_study
from mammorgb_utils.experiments.samplers import figure as samplers
from mammorgb_utils.experiments.third_channel import figure as third_channel
from mammorgb_utils.output.diagrams import cohort_flow, training_curves
from mammorgb_utils.output.pictures import encodings, gallery, preprocessing_steps, reference_cdf, training_strips
from mammorgb_utils.output.saving import save_figure

__all__ = ["anatomy_consistency", "artefact_examples", "artefacts", "cohort_flow", "consistency", "contrasts",
           "distances", "encodings", "fidelity", "gallery", "learning_rates", "mask_agreement", "match_test",
           "matching_audit", "nearest_training", "open_choices", "overlap_distributions", "preprocessing_steps",
           "reader_study", "reference_cdf", "samplers", "save_figure", "third_channel", "training_curves",
           "training_strips"]
