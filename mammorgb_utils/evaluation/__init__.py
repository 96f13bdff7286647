"""Breast masks, overlap, distances and the tests that judge them."""
