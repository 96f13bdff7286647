"""B2: the other view of a real breast, drawn beside the one that is given, and what it is held against."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures"], {
    "views": ["Asked", "asked_views"],
    "tables": ["anatomy_table", "measured_views", "model_loss", "retrieval_table"]})
