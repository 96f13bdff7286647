"""Other preprocessings: what they do to the masks of real pairs (audit), and what a model draws after them (A3)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["audit", "effects", "variants"])
