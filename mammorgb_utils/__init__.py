"""Helper library of the MammoRGB reproducibility study: data → diffusion → evaluation → reporting."""

__version__ = "0.1.0"
