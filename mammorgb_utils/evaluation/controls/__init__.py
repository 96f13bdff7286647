"""What the measures see: sets of real pairs whose truth is known, as they are and degraded by stated doses."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures"], {
    "degrade": ["CONTROLS", "composed", "degraded"],
    "power": ["control_table", "smallest_doses"],
})
