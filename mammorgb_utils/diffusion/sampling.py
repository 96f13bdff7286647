"""Sampling of synthetic pairs: the walk from noise to images, and the views that are read from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, SchedulerMixin, UNet2DModel

from mammorgb_utils.diffusion.completion import complete
from mammorgb_utils.diffusion.conditioning import GRADES, labels_of, predict
from mammorgb_utils.diffusion.encoding import EncodingError, check_views, decode_batch
from mammorgb_utils.diffusion.engine.base import compiled, pick_device, resolve_precision
from mammorgb_utils.diffusion.engine.model_folder import RECORD
from mammorgb_utils.diffusion.engine.progress import progress_bar
from mammorgb_utils.diffusion.randomness import image_generator
from mammorgb_utils.protocol import VIEWS, Protocol

_WORTH_COMPILING = 10**10  # pixels times steps: with fewer, compiling takes longer than it saves


class SamplingError(ValueError):
    """Nothing can be sampled; the message says why."""


def sample_pairs(model_dir: Path, n: int, protocol: Protocol, seed: int, *, start: int = 0, return_third: bool = False,
                 given: np.ndarray | None = None, given_view: str = "CC", grade: str = "",
                 guidance: float = 1.0, progress: bool = True) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Draw synthetic pairs.

    Args:
        model_dir: Folder written by `train`.
        n: Number of pairs.
        protocol: Decides `sampler`, `sampling_steps`, `sampling_spacing`, `sampling_batch` and `precision`.
        seed, start: Image i of `start … start + n − 1` is a function of (seed, i) alone; batches and shards change
            it within rounding only.
        return_third: Also return the third channel.
        given, given_view: `(n, H, W)` in [0, 1], the CC or MLO view of each pair, preprocessed as the study's; the
            model draws the other one beside it, by an ancestral walk that goes back and forth
            (`completion.complete`), whatever the sampler. The given view is returned as it was given.
        grade, guidance: Density A to D of all pairs, from a model that learned grades, and how much the walk is drawn
            to it (`conditioning.predict`); empty or 0: whatever density, the same walk as without grades.
        progress: Whether to show a progress bar.

    Returns:
        `(n, 2, H, W)` float32 in [0, 1], CC first, read from R and G in float; with `return_third` also B, `(n, H, W)`.

    Raises:
        SamplingError: `model_dir` isn't a finished model, n is not positive, or what is given doesn't fit.
    """
    model_dir = Path(model_dir)
    if n < 1:
        raise SamplingError(f"n is {n}; at least one pair is needed")
    unet, trained = open_for_sampling(model_dir)
    _check_asked(unet, n, given, given_view, grade)
    bf16 = resolve_precision(protocol.precision, unet.device) == "bf16"
    numbers, work = range(start, start + n), n * protocol.sampling_steps * protocol.image_size**2
    model = compiled(unet, "bf16" if bf16 else "fp32") if work >= _WORTH_COMPILING else unet
    what = f"sampling {json.loads((model_dir / RECORD).read_text(encoding='utf-8'))['encoding']}"
    rgb = []
    with progress_bar(what, n, show=progress, unit="pair") as bar:
        for first in range(0, n, protocol.sampling_batch):
            batch = numbers[first:first + protocol.sampling_batch]
            drawing = model if len(batch) == protocol.sampling_batch else unet  # another size is compiled anew
            if given is None:
                scheduler = make_sampler(trained, protocol.sampler, protocol.sampling_steps, protocol.sampling_spacing)
                images = denoise(drawing, scheduler, seed, batch, bf16, grade, guidance)
            else:
                known = torch.from_numpy(np.array(given[first:first + len(batch)], np.float32)).mul(2).sub(1)
                images = complete(drawing, trained, known, VIEWS.index(given_view), seed, batch,
                                  protocol.sampling_steps, bf16=bf16)
            rgb.append(decode_batch(images).cpu().numpy())
            bar.update(len(batch))
    images = np.concatenate(rgb)
    return (images[:, :2].copy(), images[:, 2].copy()) if return_third else images[:, :2].copy()


def _check_asked(unet: UNet2DModel, n: int, given: np.ndarray | None, view: str, grade: str) -> None:
    shape = n, unet.config.sample_size, unet.config.sample_size
    if grade and (grade not in GRADES or unet.config.num_class_embeds is None or given is not None):
        raise SamplingError(f"grade {grade!r}: use one of {', '.join(GRADES)}, with a model that was trained with "
                            "condition density, and without a given view, which has its density")
    if given is None:
        return
    if view not in VIEWS:
        raise SamplingError(f"given view {view!r}: use {' or '.join(VIEWS)}")
    if given.shape != shape:
        raise SamplingError(f"given {view} views have shape {given.shape}; {shape} is needed: one a pair, at the "
                            "study's image_size")
    try:
        check_views(given, f"given {view} views")
    except EncodingError as error:
        raise SamplingError(f"{error}; preprocess them as the study's, chest wall on the left") from None


def open_for_sampling(model_dir: Path) -> tuple[UNet2DModel, DDPMScheduler]:
    """A trained model and its noise schedule, on the device where it will draw.

    Raises:
        SamplingError: The folder isn't a finished model.
    """
    if not (model_dir / RECORD).is_file():
        raise SamplingError(f"{model_dir} holds no {RECORD}: it isn't a finished model; train it first (notebook 02)")
    unet = UNet2DModel.from_pretrained(model_dir / "unet", use_safetensors=True, torch_dtype=torch.float32)
    # Without gradients this layout is the faster one on CPUs too.
    unet = unet.to(pick_device(), memory_format=torch.channels_last).eval()
    return unet, DDPMScheduler.from_pretrained(model_dir / "scheduler")


def make_sampler(trained: DDPMScheduler, sampler: str, steps: int, spacing: str = "quadratic") -> SchedulerMixin:
    """The solver that walks the trained noise schedule in `steps` steps; prediction type and schedule are the model's.

    Args:
        trained: The noise schedule that was trained; left as it is.
        sampler, steps: Which solver, in how many steps; its timesteps stay on the CPU, so that no step waits for a GPU
            before its noise is drawn.
        spacing: Of the timesteps of both dpmsolver++. The last step goes from the lowest noise level that is visited to
            none at all, and takes away all grain below it: `"quadratic"`, t ∝ i², starts it lower than evenly spaced
            steps (`"trailing"`, which ddim has) do.

    Raises:
        SamplingError: There is no such solver, or the schedule has fewer steps.

    Source:
        `Protocol.sampler`: Ho et al. 2020 (ddpm, the paper's reference), Song et al. 2021 (ddim, eta 0),
        Lu et al. 2022 (dpmsolver++ and its stochastic form sde-dpmsolver++, second order, multistep); quadratic
        timesteps are Song's for small images.
    """
    if sampler == "ddpm":
        scheduler = DDPMScheduler.from_config(trained.config)
    elif sampler == "ddim":
        scheduler = DDIMScheduler.from_config(trained.config, timestep_spacing="trailing")
    elif sampler in ("dpmsolver++", "sde-dpmsolver++"):
        scheduler = _ClippedSolver.from_config(
            trained.config, algorithm_type=sampler, solver_order=2, timestep_spacing="trailing",
            final_sigmas_type="zero", thresholding=trained.config.clip_sample)
    else:
        raise SamplingError(f"sampler {sampler!r}: use ddpm, ddim, dpmsolver++ or sde-dpmsolver++")
    if sampler.startswith("sde-") and steps < 2:
        raise SamplingError(f"sampling_steps {steps}: {sampler} draws noise between steps; use 2 or more")
    if steps > trained.config.num_train_timesteps:
        raise SamplingError(f"sampling_steps {steps} exceeds the {trained.config.num_train_timesteps} trained ones")
    if spacing == "quadratic" and isinstance(scheduler, _ClippedSolver):
        scheduler.set_timesteps(timesteps=_quadratic(trained.config.num_train_timesteps, steps))
    else:
        scheduler.set_timesteps(steps)
    return scheduler


def _quadratic(trained_steps: int, steps: int) -> list[int]:
    """The last timestep first, each once, and none more than there are."""
    wanted = np.round((trained_steps - 1) * (np.arange(steps, 0, -1) / steps) ** 2).astype(int)
    return np.maximum(wanted, np.arange(steps)[::-1]).tolist()


class _ClippedSolver(DPMSolverMultistepScheduler):
    """Clips the predicted image to the trained range, as the DDPM sampler does, so that air stays black."""

    def _threshold_sample(self, sample: torch.Tensor) -> torch.Tensor:
        return sample.clamp(-1.0, 1.0)


def denoise(unet: UNet2DModel, scheduler: SchedulerMixin, seed: int, batch: range, bf16: bool, grade: str = "",
            guidance: float = 1.0) -> torch.Tensor:
    """Model images `(len(batch), 3, H, W)`, each from its own generator: where `walk` ends."""
    *_, (_, images) = walk(unet, scheduler, seed, batch, bf16, grade, guidance)
    return images


@torch.inference_mode()
def walk(unet: UNet2DModel, scheduler: SchedulerMixin, seed: int, batch: range, bf16: bool, grade: str = "",
         guidance: float = 1.0) -> Iterator[tuple[int, torch.Tensor]]:
    """From noise to images, step by step, in fp32.

    Yields:
        The timestep that a step started from, and `(len(batch), 3, H, W)` after it.
    """
    device, size = unet.device, unet.config.sample_size
    generators = [image_generator(seed, image) for image in batch]
    noise = [torch.randn((unet.config.in_channels, size, size), generator=g) for g in generators]
    x = torch.stack(noise).to(device, memory_format=torch.channels_last) * scheduler.init_noise_sigma
    extra: dict[str, Any] = {"generator": generators}  # draws nothing where the solver is deterministic
    if isinstance(scheduler, DDIMScheduler):
        extra = {"use_clipped_model_output": True}  # else noise and clipped image disagree, and air turns grey
    labels = torch.from_numpy(labels_of([grade] * len(batch))).to(device) if grade else None
    for t in scheduler.timesteps:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            prediction = predict(unet, scheduler.scale_model_input(x, t), t, labels, guidance)
        x = scheduler.step(prediction.float(), t, x, **extra).prev_sample
        yield int(t), x
