"""Named artefacts: detectors, rates and their figures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["figures"], {
    "detectors": ["ANY", "DETECTORS", "THRESHOLDS", "artefact_flags", "artefact_scores", "flags_from_scores"],
    "rates": ["artefact_rates", "detector_performance", "drawn_pairs", "facts_of_pairs", "rate_differences",
              "rates_by_fact"],
})
