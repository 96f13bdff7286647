"""Do synthetic pairs look real, vary as real ones do, and repeat no training pair."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures"], {
    "metrics": ["METRICS", "coverage", "fidelity_table", "kid", "texture_shift"],
    "memorisation": ["DISTANCES", "EITHER", "PLANTED", "closest_pairs", "flag_threshold",
                     "memorisation_table", "nearest_training", "planted_copies"],
    "texture": ["FEATURES", "FEATURE_SET", "feature_columns", "texture_features"],
})
