"""Do two views belong together: own pairs against strangers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures"], {
    "pairing": ["NEAREST_AREA", "area_density_strata", "consistency_table", "derangement", "nearest_area_overlap",
                "nearest_area_pairing", "pairing_gain", "score_of_gains", "shuffled_overlap", "strangers"],
    "profiles": ["OWN", "PROFILE_MEASURES", "SHUFFLED", "compared", "depth_profiles", "profile_distances",
                 "profile_table"],
})
