"""Distances, tests, effect sizes, intervals."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures"], {
    "distances": ["NoiseFloor", "NullBand", "emd", "ks", "ks_null", "ks_null_mean", "ks_power", "noise_floor",
                  "null_band"],
    "effects": ["UNKNOWN", "Effect", "cliffs_delta", "dominance", "equivalence", "hodges_lehmann", "mann_whitney",
                "patients_in", "rate", "rate_row", "separated_area", "wilson"],
    "bootstrap": ["Sample", "closer", "median_difference", "median_draws", "patient_weights", "weighted_median"],
    "tables": ["CANDIDATE", "LEVEL", "MEASURES", "MIN_PAIRS", "MOST_LOST", "PRIMARY", "TOO_FEW", "benjamini_hochberg",
               "contrast_table", "distance_table", "effect_table", "holm", "overlap_summary", "paper_arithmetic",
               "patient_of", "sets_in"],
})
