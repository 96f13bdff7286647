"""Breast masks, overlap, distances and what judges them: `sets` are compared, each room answers a question."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["anatomy", "artefacts", "consistency", "controls", "fidelity", "masks", "overlap", "score", "statistics"], {
        "sets": ["StudySets", "overlap_by_method", "overlap_table", "shuffled_table", "study_sets"],
        "beyond": ["anatomy_rows", "nearest_rows", "profile_rows", "texture_rows", "third_rows"]})
