"""The one way of saving and showing figures and tables."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["diagrams", "pictures"], {
    "saving": ["present", "save_figure", "save_table"], "tables": ["show_table"], "outputs": ["load_outputs"]})
