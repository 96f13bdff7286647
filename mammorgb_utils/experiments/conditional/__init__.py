"""B1, pairs of a given breast density: what is trained and drawn (arms), how it is judged, what is shown of it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=[
    "arms", "drawing", "judging", "own_loss", "tables"])
