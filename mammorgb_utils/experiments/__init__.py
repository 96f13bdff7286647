"""What an appendix trains or varies: one module each, with its table and its figure side by side."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=[
    "completion", "conditional", "learning_curve", "learning_rate", "open_choices", "pairing_gain", "preprocessing",
    "readers", "samplers", "third_channel", "trial", "utility"])
