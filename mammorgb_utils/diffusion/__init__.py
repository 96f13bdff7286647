"""Pairs as RGB images, and the denoising diffusion model that learns them."""

import warnings

import lazy_loader

# diffusers would print this warning, with the path of the installation, into every executed notebook.
warnings.filterwarnings("ignore", message="IProgress not found")

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["engine"], submod_attrs={
    "encoding": ["CONTROLS", "THIRD_CHANNELS", "decode_pair", "encode_pair"],
    "training": ["train", "training_steps"],
    "sampling": ["sample_pairs"],
    "engine.base": ["device_name", "load_base", "load_schedule", "pick_device"],
    "engine.looks": ["noise_levels", "sample_walk"],
    "engine.model_folder": ["open_model"],
    "engine.sample_store": ["load_third", "sample_study"],
})
