"""Breast and muscle masks, and how far methods agree."""
