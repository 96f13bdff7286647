"""Which notebook produces which figure and which table: one producer each, declared before use."""

from __future__ import annotations

import difflib

# Of a target of their own: `make reproduce` doesn't make them, and no finished study is asked for them.
APPENDICES = ("A1_learning_rate", "A2_artefacts", "A3_preprocessing", "A4_reader_study", "A5_third_channel",
              "A6_samplers")

FIGURES = {
    "cohort_flow": "01_preprocess",
    "preprocessing_steps": "01_preprocess",
    "reference_cdf": "01_preprocess",
    "encodings": "01_preprocess",
    "gallery_real": "01_preprocess",
    "matching_audit": "01_preprocess",
    "gallery_sum": "03_sample",
    "gallery_absdiff": "03_sample",
    "gallery_zero": "03_sample",
    "overlap_distributions": "04_metrics",
    "mask_agreement": "04_metrics",
    "training_curves": "05_stats",
    "distances": "05_stats",
    "contrasts": "05_stats",
    "consistency": "05_stats",
    "anatomy_consistency": "05_stats",
    "match_test": "05_stats",
    "fidelity": "05_stats",
    "nearest_training": "05_stats",
    "open_choices": "05_stats",
    "learning_rates": "A1_learning_rate",
    "artefacts": "A2_artefacts",
    "artefact_examples": "A2_artefacts",
    "preprocessing_variants": "A3_preprocessing",
    "preprocessing_effects": "A3_preprocessing",
    "reader_study": "A4_reader_study",
    "third_channel": "A5_third_channel",
    "samplers": "A6_samplers",
}
TABLES = {
    "cohort_flow": "01_preprocess",
    "matching_audit": "01_preprocess",
    "overlap_summary": "04_metrics",
    "mask_agreement": "04_metrics",
    "distances": "05_stats",
    "effects": "05_stats",
    "contrasts": "05_stats",
    "consistency": "05_stats",
    "anatomy": "05_stats",
    "anatomy_truth": "05_stats",
    "match_test": "05_stats",
    "fidelity": "05_stats",
    "texture_shift": "05_stats",
    "memorisation": "05_stats",
    "claims": "05_stats",
    "claims_ledger": "05_stats",
    "paper_arithmetic": "05_stats",
    "mask_effects": "05_stats",
    "mask_verdicts": "05_stats",
    "open_choices": "05_stats",
    "learning_rates": "A1_learning_rate",
    "learning_rates_claim": "A1_learning_rate",
    "artefact_detectors": "A2_artefacts",
    "artefacts": "A2_artefacts",
    "artefact_differences": "A2_artefacts",
    "artefact_facts": "A2_artefacts",
    "artefact_check": "A2_artefacts",
    "artefacts_claim": "A2_artefacts",
    "preprocessing_references": "A3_preprocessing",
    "preprocessing_effects": "A3_preprocessing",
    "preprocessing_artefacts": "A3_preprocessing",
    "reader_study": "A4_reader_study",
    "reader_study_artefacts": "A4_reader_study",
    "third_channel": "A5_third_channel",
    "third_channel_contrasts": "A5_third_channel",
    "third_channel_claim": "A5_third_channel",
    "samplers": "A6_samplers",
}


def check_declared(name: str, declared: dict[str, str], kind: str) -> None:
    """Refuse a figure or table that no notebook is declared to produce.

    Raises:
        ValueError: `name` isn't declared; the message names the nearest one and where to declare it.
    """
    if name in declared:
        return
    near = difflib.get_close_matches(name, declared, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "declare it in mammorgb_utils/output/producers.py"
    raise ValueError(f"{kind} {name!r} has no declared producer; {remedy}")
