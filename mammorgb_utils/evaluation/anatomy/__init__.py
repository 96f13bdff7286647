"""What the two views of a breast share, measured against the phantoms' truth."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures"], {
    "measure": ["PROFILES", "anatomy", "height_over_width"],
    "agreement": ["anatomy_table", "computed_third", "strata_of", "third_residuals"],
    "matching": ["match_table"],
    "truth": ["phantom_folders", "true_anatomy", "truth_table", "validity"],
})
