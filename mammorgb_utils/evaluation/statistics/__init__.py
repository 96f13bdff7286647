"""Distances, tests, effect sizes, intervals."""
