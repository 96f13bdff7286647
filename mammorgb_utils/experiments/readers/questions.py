"""What readers are asked; page, result and score take it from here."""

from __future__ import annotations

ORIGINS = ("real", "synthetic")
SCALE = (1, 2, 3, 4, 5)  # of confidence and of consistency
ARTEFACTS = {  # name in the files: (label, hint) on the page
    "background_offset": ("Grey background", "air that isn't black, or changes across the image"),
    "edge_line": ("Edge or paddle line", "a straight line along an edge or through the image"),
    "label_remnant": ("Label remnant", "rests of letters or of a marker"),
    "cut_breast": ("Cut breast", "tissue that ends at an edge where it shouldn't"),
    "view_mismatch": ("Views don't match", "a finding or a shape of one view that the other contradicts"),
    "checkerboard": ("Checkerboard or grid", "a regular fine pattern"),
    "other": ("Other", "anything else that no mammogram should show"),
}
SHORTCUTS = dict(zip(ARTEFACTS, "abcdefg", strict=True))
CONFIDENCE_ENDS = ("guessing", "certain")
CONSISTENCY_ENDS = ("surely not one breast", "surely one breast")


def signed_confidence(origin: str, confidence: int) -> int:
    """Both answers on one ordinal scale of ten points, −5 (certainly real) to 5 (certainly synthetic), without 0."""
    return confidence if origin == "synthetic" else -confidence
