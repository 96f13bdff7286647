"""Pairs as RGB images, and the denoising diffusion model that learns them."""
