"""Pretraining of the small base that the default studies fine-tune: single views, nothing about pairs."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import DDPMScheduler, UNet2DModel

from mammorgb_utils.diffusion.encoding import check_views
from mammorgb_utils.diffusion.engine import model_folder
from mammorgb_utils.diffusion.engine.base import device_name, pick_device
from mammorgb_utils.diffusion.engine.checkpoints import atomic_folder
from mammorgb_utils.diffusion.engine.loop import STATS, fit
from mammorgb_utils.diffusion.engine.state import Recipe, State, TrainingError
from mammorgb_utils.diffusion.randomness import batch_indices, initial_weights_seed
from mammorgb_utils.runs import digest

CHANNELS = (32, 64, 96, 160)  # 4.9 M parameters: 10 MB in half precision
GROUPS = 8  # of group norm: with one channel a group the brightness of a channel is lost
FINGERPRINT = "fingerprint.json"
RECIPE = {"batch_size": 16, "optimizer": "muon", "learning_rate": 5e-4, "muon_learning_rate": 0.02,
          "timestep_mix": "middle", "lr_schedule": "cosine", "warmup_steps": 100, "ema_decay": 0.999}


def pretrain_base(views: np.ndarray, out_dir: Path, *, steps: int, seed: int, work_dir: Path,
                  fingerprint: dict[str, Any], channels: tuple[int, ...] = CHANNELS, checkpoint_every: int = 200,
                  milestones: Collection[int] = (), progress: bool = True, **choices: Any) -> Path:
    """Pretrain a DDPM on unrelated views, three an image, so that pairing is left to fine-tuning.

    Args:
        views: `(M, H, H)` float32 in [0, 1], CC and MLO mixed.
        out_dir: Gets the pipeline in half precision, `README.md` (the model card) and `fingerprint.json`.
        steps, seed: Length of the training, whose rate decays as a cosine, and what it draws.
        work_dir: Gets `stats.jsonl` and checkpoints; a killed pretraining goes on from there, on another machine at
            that one's precision too: `stats.jsonl` has the precision of each step.
        fingerprint: What identifies the preprocessed phantoms, compared by a test with today's.
        channels: Channels of the UNet's levels.
        checkpoint_every: Steps between checkpoints.
        milestones: Steps after which the model as it is then is kept in `milestone_dir(work_dir, step)`.
        progress: Whether to show a progress bar.
        choices: Fields of `Recipe` that replace those of `RECIPE`.

    Returns:
        `out_dir`, at once when it already holds this very base.

    Raises:
        TrainingError: The views have a wrong shape or are too few, or `out_dir` holds another base.
        EncodingError: A view isn't floating point in [0, 1].
        CheckpointError: A checkpoint is damaged or belongs to another pretraining.
    """
    out_dir, work_dir = Path(out_dir), Path(work_dir)
    if views.ndim != 3 or views.shape[1] != views.shape[2] or len(views) < 3:
        raise TrainingError(f"views have shape {views.shape}; (M, H, H) with at least 3 views is needed")
    check_views(views, "views")
    recipe = Recipe(steps=steps, seed=seed, **RECIPE | choices)
    source = ViewSource(views, recipe)
    unet, scheduler = small_unet(views.shape[-1], channels, seed), noise_schedule()
    identity = {"encoding": "unrelated views", "unet": _choices(unet), "scheduler": _choices(scheduler)}
    finished = identity | asdict(recipe) | {"data_sha256": source.data_sha256}
    if model_folder.is_finished(out_dir, finished):
        return out_dir
    state = fit(unet, scheduler, source, recipe, work_dir, identity, checkpoint_every=checkpoint_every,
                progress=progress, what="pretraining", after_step=partial(_keep, scheduler, work_dir, milestones))
    with atomic_folder(out_dir) as temporary:
        model_folder.write_pipeline(temporary, state, scheduler, "ema" if recipe.ema_decay else "raw", half=True)
        _describe(temporary, unet, recipe, finished, fingerprint, len(views), precisions(work_dir))
    return out_dir


def _choices(part: UNet2DModel | DDPMScheduler) -> dict[str, Any]:
    """A configuration without diffusers' own notes, whose order differs from one process to the next."""
    return json.loads(json.dumps({name: value for name, value in part.config.items() if name[0] != "_"}))


def _keep(scheduler: DDPMScheduler, work_dir: Path, milestones: Collection[int], state: State) -> None:
    folder = model_folder.milestone_dir(work_dir, state.step)
    if state.step in milestones and not folder.is_dir():
        with atomic_folder(folder) as temporary:
            model_folder.write_pipeline(temporary, state, scheduler, "ema" if state.ema else "raw", half=True)


class ViewSource:
    """Model images of three views each, drawn independently of one another."""

    def __init__(self, views: np.ndarray, recipe: Recipe) -> None:
        self.data_sha256 = model_folder.array_sha256(views)
        self._views, self._recipe, self._device = views, recipe, pick_device()

    def __len__(self) -> int:
        return len(self._views)

    def images(self, step: int, examples: range) -> torch.Tensor:
        r = self._recipe
        orders = [batch_indices(len(self), r.batch_size, r.seed, step, stream=channel) for channel in range(3)]
        members = np.stack(orders, axis=1)[examples.start:examples.stop]
        images = torch.from_numpy(np.asarray(self._views[members], dtype=np.float32)).to(self._device)
        return images.mul_(2).sub_(1)

    def labels(self, step: int, examples: range) -> None:
        """None: the base knows no labels."""


def unrelated_images(views: np.ndarray) -> torch.Tensor:
    """Views as `(N // 3, 3, H, W)` model images in [−1, 1], each of three breasts: what the base is measured on."""
    n = len(views) // 3
    return torch.from_numpy(np.stack([views[i * n:(i + 1) * n] for i in range(3)], axis=1)).mul(2).sub(1)


def small_unet(size: int, channels: tuple[int, ...], seed: int, groups: int = GROUPS, resnets: int = 1) -> UNet2DModel:
    """A freshly initialised 3-channel UNet for 2 CPU cores; attention at its lowest level alone."""
    lower = len(channels) - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_weights_seed(seed))
        return UNet2DModel(
            sample_size=size, in_channels=3, out_channels=3, block_out_channels=channels, layers_per_block=resnets,
            norm_num_groups=groups, down_block_types=("DownBlock2D",) * lower + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * lower)


def noise_schedule() -> DDPMScheduler:
    """Cosine schedule that ends in pure noise, with v-prediction.

    With noise left unfinished, the mean of an image leaks through the last timestep, and sampling from pure
    noise then gives grey air. The cosine spends fewer steps in almost pure noise than the linear schedule.

    Source:
        Nichol & Dhariwal 2021 (cosine), Salimans & Ho 2022 (v), Lin et al. 2023 (zero terminal SNR).
    """
    return DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction",
                         rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=True)


def precisions(work_dir: Path) -> str:
    """In which precision the steps of a pretraining were done, such as `bf16 to step 9,000, fp32 to step 15,000`."""
    steps = pd.read_json(work_dir / STATS, lines=True)
    last = steps[steps["precision"] != steps["precision"].shift(-1)]
    return ", ".join(f"{row.precision} to step {row.step:,}" for row in last.itertuples())


def _describe(folder: Path, unet: UNet2DModel, recipe: Recipe, identity: dict[str, Any], fingerprint: dict[str, Any],
              n_views: int, precision: str) -> None:
    parameters, size = sum(p.numel() for p in unet.parameters()), unet.config.sample_size
    record = {"encoding": identity["encoding"], "digest": digest(identity), "identity": identity, "image_size": size,
              "n_views": n_views, "parameters": parameters, "device": device_name(pick_device()),
              "precision": precision}
    for name, content in ((model_folder.RECORD, record), (FINGERPRINT, fingerprint)):
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    rates = f"AdamW, lr {recipe.learning_rate:g}"
    if recipe.optimizer == "muon":
        rates = f"Muon, lr {recipe.muon_learning_rate:g}, on the hidden kernels and {rates}, on the rest"
    card = _CARD.format_map(asdict(recipe) | record | {
        "size": size, "channels": list(unet.config.block_out_channels), "rates": rates,
        "drawn": {"middle": "half uniform, half logit-normal"}.get(recipe.timestep_mix, recipe.timestep_mix)})
    (folder / "README.md").write_text(card, encoding="utf-8")


_CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags: [ddpm, mammography, phantom]
---
# phantom-base-{size}

An unconditional {size} × {size} DDPM with three channels, each a phantom mammogram **unrelated to the other two**.
It is the starting point of MammoRGB's own studies, which fine-tune it on pairs (R = CC, G = MLO, B = sum, absolute
difference or zero): what a breast looks like is known beforehand, what belongs together isn't.

| | |
|---|---|
| model | diffusers `UNet2DModel`, channels {channels}, {parameters:,} parameters, stored in half precision |
| noise schedule | 1000 steps, squared cosine with zero terminal SNR, v-prediction |
| data | {n_views:,} preprocessed views of simulated breasts, CC and MLO mixed; **no patient data** |
| training | {steps:,} steps of {batch_size} images; {rates}, {warmup_steps} warm-up steps and cosine decay; timesteps {drawn}; weights averaged with decay {ema_decay}; seed {seed}; {precision} |
| licence | Apache-2.0 |

The phantoms of the base have seeds of their own: none of them is in a study's training or held-out set.
`fingerprint.json` identifies their preprocessing, and a test fails when today's no longer gives it;
`mammorgb.json` records all choices (digest `{digest}`).

```python
from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained("models/phantom-base-{size}")
```

## Limits

It draws simulated breasts at {size} × {size} pixels. It knows no lesions beyond the phantoms', no pairs, no real tissue, and
isn't fit for anything clinical. A learning rate or step count that suits it says nothing about a large epsilon-prediction base.
"""  # noqa: E501
