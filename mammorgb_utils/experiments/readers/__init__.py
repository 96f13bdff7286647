"""The reader study: a page that shows pairs blinded, a key apart from it, and the score of what readers answered."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "build": ["build_study"],
    "files": ["Key", "ReaderStudyError", "read_key", "read_results", "readings_at_hand", "simulated_result"],
    "score": ["artefact_rates", "figure", "remark", "score_readers"]})
