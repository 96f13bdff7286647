"""How far the main results move when a choice that the paper leaves open is made otherwise."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "choices": ["choice_tables", "open_choices", "other_statistics", "study_choice"],
    "drawing": ["figure"]}, submodules=["trainings"])
