"""Named artefacts: detectors, rates, tables, figures."""
