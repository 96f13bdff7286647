"""What decides a training, and all that it changes: recipe, weights, their average, the optimisers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers import UNet2DModel

from mammorgb_utils.diffusion.engine.checkpoints import Tensors
from mammorgb_utils.diffusion.engine.optimizers import Optimizer


class TrainingError(RuntimeError):
    """Training can't start or go on; the message says why and what to change."""


class Diverged(TrainingError):
    """Loss, gradient or weights stopped being numbers."""


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, apart from the images and the base."""

    steps: int
    batch_size: int
    seed: int
    learning_rate: float  # of AdamW
    optimizer: str = "adamw"  # or "muon": Muon on the kernels, AdamW on the rest
    muon_learning_rate: float = 0.01
    timestep_mix: str = "uniform"  # or "middle"
    lr_schedule: str = "constant"  # or "cosine", to 0 at the last step
    warmup_steps: int = 0  # linear
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.0  # 0 = no average kept
    precision: str = "auto"

    def rate_share(self, step: int) -> float:
        """Share of the full learning rates at a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        decay = 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.lr_schedule == "cosine" else 1.0
        return warm * decay

    def lr(self, step: int) -> float:
        """AdamW's learning rate at a step, counted from 0."""
        return self.learning_rate * self.rate_share(step)

    def ema_decay_at(self, step: int) -> float:
        """Decay of the weight average, low at first so that the starting weights are soon forgotten."""
        return min(self.ema_decay, (1 + step) / (10 + step))


class BatchSource(Protocol):
    """Images to learn from; what a batch holds is a function of the step."""

    data_sha256: str

    def __len__(self) -> int:
        """Images in an epoch."""

    def images(self, step: int, examples: range) -> torch.Tensor:
        """`(len(examples), 3, H, W)` float32 in [−1, 1] on the training device: these members of the step's batch."""

    def labels(self, step: int, examples: range) -> torch.Tensor | None:
        """`(len(examples),)` labels of a conditional training on that device."""


class State:
    """Weights, their average, the optimiser and the number of finished steps: all that a checkpoint holds."""

    def __init__(self, unet: UNet2DModel, recipe: Recipe, device: torch.device) -> None:
        # With gradients, CPUs are faster in the plain layout, at bf16 too.
        layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.unet = unet.to(device, memory_format=layout).train()
        self.model: torch.nn.Module = self.unet  # what is called: the same weights, compiled or joined to others
        self.weights = dict(self.unet.named_parameters())
        self.ema = {name: w.detach().clone() for name, w in self.weights.items()} if recipe.ema_decay else {}
        self.optimizer = Optimizer(self.weights, recipe)
        self.step = 0
        self.noise: dict[range, torch.Tensor] = {}  # drawn ahead for the coming step, by its members of the batch

    def tensors(self) -> Tensors:
        """Groups for a checkpoint."""
        groups = {"weights": dict(self.weights), "optimizer": self.optimizer.tensors()}
        return groups | ({"ema": self.ema} if self.ema else {})

    @torch.no_grad()
    def restore(self, step: int, tensors: Tensors) -> None:
        """Take over a checkpoint, in the memory layout of this state."""
        self.step, self.noise = step, {}
        for name, weight in self.weights.items():
            weight.copy_(tensors["weights"][name])
            if self.ema:
                self.ema[name].copy_(tensors["ema"][name])
        self.optimizer.restore(tensors["optimizer"])

    @torch.no_grad()
    def update_ema(self, decay: float) -> None:
        if self.ema:
            torch._foreach_lerp_(list(self.ema.values()), list(self.weights.values()), 1.0 - decay)

    def finite(self) -> bool:
        """Whether every weight is a number."""
        norms = torch._foreach_norm([w.detach() for w in self.weights.values()])
        return bool(torch.isfinite(torch.stack(norms)).all())
