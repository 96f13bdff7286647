"""Pairs as RGB images, and the denoising diffusion model that learns them."""

import warnings

# diffusers would print this warning, with the path of the installation, into every executed notebook.
warnings.filterwarnings("ignore", message="IProgress not found")
