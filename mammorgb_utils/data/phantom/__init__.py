"""Paired breast phantoms: one 3-D breast, two compressed views, and a cohort of them as DICOM."""

from mammorgb_utils.data.phantom.anatomy import BASE_STREAM, HELDOUT_STREAM, TRAIN_STREAM, Breast, make_breast
from mammorgb_utils.data.phantom.cohort import cohort_places, write_cohort, write_study_cohort
from mammorgb_utils.data.phantom.render import muscle_truth_mask, render_view, view_truth_mask

__all__ = ["BASE_STREAM", "HELDOUT_STREAM", "TRAIN_STREAM", "Breast", "cohort_places", "make_breast",
           "muscle_truth_mask", "render_view", "view_truth_mask", "write_cohort", "write_study_cohort"]
