"""Breast and muscle masks, and how far methods agree."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures"], {
    "breast": ["METHODS", "breast_component", "breast_mask", "edge_columns", "foregrounds"],
    "muscle": ["pectoral_mask"],
    "agreement": ["mask_agreement", "mask_examples", "true_masks"],
})
