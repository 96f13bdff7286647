"""The pretrained base, the device it runs on and the precision it runs in."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch.nn.attention import SDPBackend, sdpa_kernel

from mammorgb_utils.runs import PROJECT_ROOT, sha256

_CELEBAHQ = ("google/ddpm-celebahq-256", "google/ddpm-ema-celebahq-256")
_CELEBAHQ_PARAMETERS = 113_673_219
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_CPU = torch.device("cpu")
_SMALL = 20_000_000  # parameters; a GPU waits for the CPU to start such a model's kernels


class BaseModelError(ValueError):
    """The base model can't be used; the message names it, the fact that is wrong and the remedy."""


def load_base(base: str, image_size: int) -> tuple[UNet2DModel, DDPMScheduler]:
    """Load a pretrained 3-channel DDPM.

    Args:
        base: Diffusers pipeline folder, absolute or relative to the project's root, or hub id.
        image_size: Side of the images it is to be trained on [px].

    Returns:
        The UNet in fp32 on the CPU, and its noise schedule, which decides the prediction type.

    Raises:
        BaseModelError: It is absent, holds no safetensors, or has other channels, size or parameters than asked for.

    Source:
        `Protocol.base_model`; the paper's is google/ddpm-celebahq-256, 113,673,219 parameters.
    """
    unet_folder = base_weights(base, image_size).parent
    unet = UNet2DModel.from_pretrained(unet_folder, use_safetensors=True, torch_dtype=torch.float32)
    parameters = sum(p.numel() for p in unet.parameters())
    if base in _CELEBAHQ and parameters != _CELEBAHQ_PARAMETERS:
        raise BaseModelError(f"base_model {base!r} has {parameters:,} parameters, the published model has "
                             f"{_CELEBAHQ_PARAMETERS:,}; fetch it again")
    return unet, load_schedule(base)


def base_weights(base: str, image_size: int) -> Path:
    """The file of a base's weights, of which nothing is read; raises as `load_base` for what its folder tells."""
    unet_folder = _part(base_folder(base), "unet")
    if not (unet_folder / _WEIGHTS).is_file():
        raise BaseModelError(
            f"base_model {base!r}: {unet_folder} holds no {_WEIGHTS}, and pickled weights aren't loaded; convert them "
            "once where you trust them: UNet2DModel.from_pretrained(FOLDER).save_pretrained(FOLDER)")
    _check_config(base, json.loads((unet_folder / "config.json").read_text(encoding="utf-8")), image_size)
    return unet_folder / _WEIGHTS


def load_schedule(base: str) -> DDPMScheduler:
    """The noise schedule of a base, which decides what its model predicts."""
    return DDPMScheduler.from_pretrained(_part(base_folder(base), "scheduler"))


def base_folder(base: str) -> Path:
    """Where a base lies on this machine; a hub id is looked up in the hub cache first, then fetched.

    Raises:
        BaseModelError: It is nowhere, with how to get it.
    """
    path = PROJECT_ROOT / base  # an absolute base replaces the root
    if (path / "model_index.json").is_file():
        return path
    remedy = "pass base_model=FOLDER of a diffusers pipeline"
    if Path(base).is_absolute() or base.count("/") != 1 or path.parent.is_dir():
        raise BaseModelError(f"base_model {base!r}: no model_index.json in {path}; {remedy}")
    from huggingface_hub import snapshot_download  # only a hub id needs it

    failure: Exception | None = None
    for cached_only in (True, False):
        try:
            return Path(snapshot_download(base, local_files_only=cached_only, etag_timeout=5,
                                          allow_patterns=["*.json", "*.safetensors"]))
        except Exception as error:  # the hub raises many types; each means that it isn't here
            failure = error
    raise BaseModelError(f"base_model {base!r} is not in the hub cache and can't be fetched "
                         f"({type(failure).__name__}): on a connected machine run `hf download {base}` "
                         f"and copy its cache, or {remedy}")


def base_sha256(base: str) -> str:
    """One hash over a base's weights, configuration and noise schedule."""
    folder = base_folder(base)
    files = [_part(folder, "unet") / _WEIGHTS, _part(folder, "unet") / "config.json",
             _part(folder, "scheduler") / "scheduler_config.json"]
    return hashlib.sha256(b"".join(bytes.fromhex(sha256(file)) for file in files)).hexdigest()


def pick_device() -> torch.device:
    """This process's CUDA device, as its launcher numbers it, else the CPU."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else _CPU


def make_repeatable(device: torch.device) -> None:
    """On a GPU, take algorithms that give the same bits each time, so that a resumed run is the unbroken one."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False


def compiled(unet: UNet2DModel, precision: str) -> torch.nn.Module:
    """The model for training or drawing: a large one through torch.compile at bf16 on a GPU, itself elsewhere.

    Compiling changes the last bits and gained nothing on the CPUs measured, nor for the small base on a GPU; fp32 stays
    the plain reference.
    """
    if unet.device.type != "cuda" or precision != "bf16" or is_small(unet):
        return unet
    if not (shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")):
        logging.getLogger(__name__).warning("no C compiler here, so torch.compile isn't used; training is slower")
        return unet
    return torch.compile(unet)


class Replayed(torch.nn.Module):
    """A UNet in training, both passes recorded as CUDA graphs at the first batch: plain PyTorch's kernels and bits.

    Gradients lie where the next replay writes, so no batch may take several passes; all batches have one shape.
    """

    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        self.unet, self._replay = unet, None

    def forward(self, *given: torch.Tensor | None) -> UNet2DOutput:
        """As the UNet's: noisy images, timesteps, and labels or None."""
        tensors = tuple(x for x in given if x is not None)
        if self._replay is None:
            kind = tensors[0].device.type
            with torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind),
                                cache_enabled=False):  # casts of the weights belong to what is replayed
                self._replay = torch.cuda.make_graphed_callables(_Plain(self.unet), tuple(x.clone() for x in tensors))
        return UNet2DOutput(sample=self._replay(*tensors))


class _Plain(torch.nn.Module):
    """Tensors in, a tensor out."""

    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.unet(*given).sample


def is_small(unet: UNet2DModel) -> bool:
    """Whether a model is too small for torch.compile to pay, and is replayed in training."""
    return sum(weight.numel() for weight in unet.parameters()) < _SMALL


def fast_attention(device: torch.device) -> AbstractContextManager:
    """Plain attention on CPUs: the fused one's backward pass takes a fifth of a step of the small base there."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def resolve_precision(precision: str, device: torch.device) -> str:
    """`fp32` or `bf16`; `auto` takes bf16 only where the hardware computes in it (emulated it is slower than fp32)."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # torch offers no public name for these two flags
        native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bf16" if native else "fp32"


def device_name(device: torch.device) -> str:
    """The device in words, as recorded with a model; threads count, as they decide the last bit on a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {torch.get_num_threads()} threads"


def _part(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else folder  # the published bases keep all files at the top


def _check_config(base: str, config: dict, image_size: int) -> None:
    channels = config.get("in_channels", 3), config.get("out_channels", 3)
    if channels != (3, 3):
        raise BaseModelError(f"base_model {base!r} has {channels[0]} input and {channels[1]} output channels; "
                             "R = CC, G = MLO and B need a base of 3 and 3")
    if config.get("sample_size") != image_size:
        raise BaseModelError(f"base_model {base!r} was trained at {config.get('sample_size')} px, the protocol asks "
                             f"for image_size {image_size}; make the two equal")
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    if image_size % factor:
        raise BaseModelError(f"base_model {base!r} halves its input {len(config['block_out_channels']) - 1} times; "
                             f"image_size {image_size} must be a multiple of {factor}")
    if config.get("dropout", 0.0):
        raise BaseModelError(f"base_model {base!r} uses dropout {config['dropout']}, which draws from a global state, "
                             "so that a resumed run would differ; set it to 0 in its config.json")
