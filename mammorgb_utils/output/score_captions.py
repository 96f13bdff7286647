"""Names of the figures of a score's card, and a sentence for each of its tables."""

from __future__ import annotations

FIGURE_NAMES = {
    "iou_median": "IoU, median", "iou_no_muscle_median": "IoU without muscle, median", "plausible": "Plausible masks",
    "emd": "EMD of IoU to real", "ks": "KS of IoU to real", "hodges_lehmann": "Shift of IoU (Hodges–Lehmann)",
    "cliffs_delta": "Cliff's δ of IoU", "gain": "Gain of pairing in IoU", "consistency_score": "Consistency score",
    "match": "Own MLO found among 5 of like area", "kid": "Texture distance to real (KID)",
    "coverage": "Coverage of real texture", "diversity": "Diversity of texture over real",
    "memorised": "Pairs near a training pair",
    "artefacts": "Pairs with an artefact",
}
TABLE_TITLES = {
    "overlap_summary": ("Overlap", "Medians and quartiles of both sets, and the share of plausible masks."),
    "distances": ("Distances", "EMD and KS of every measure, with null band and noise floor; EMD of IoU is primary."),
    "effects": ("Size of the difference", "Shift against real, beside the study's margin."),
    "consistency": ("Paired against shuffled", "What pairing adds to overlap, and its share of the real gain."),
    "anatomy_consistency": ("Anatomy in both views", "How far two views of a pair agree, against strangers' views."),
    "match_test": ("Match test", "How often each CC's own MLO is picked among K, by anatomy and by area alone."),
    "fidelity": ("Texture", "Distance, density, coverage, spread and diversity, beside what real against real gives."),
    "memorisation": ("Memorisation", "Pairs nearer to a training pair of this study than held-out ones come, by two "
                     "distances."),
    "artefacts": ("Artefacts", "Share of patients whose pairs carry each, with Wilson intervals."),
}
