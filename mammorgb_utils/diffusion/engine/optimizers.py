"""AdamW, or Muon on the kernels with AdamW on the rest: one interface, one state in a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mammorgb_utils.diffusion.engine.base import resolve_precision
from mammorgb_utils.diffusion.engine.stacked_muon import StackedMuon

if TYPE_CHECKING:
    from mammorgb_utils.diffusion.engine.state import Recipe

# What maps into and out of the model isn't a hidden layer; Muon is made for those.
_NOT_HIDDEN = ("conv_in.", "conv_out.", "time_embedding.", "class_embedding.")


class Optimizer:
    """One update of all weights, whichever optimisers share them.

    Source:
        Loshchilov & Hutter 2019 (AdamW), Jordan 2024 (Muon); `Protocol.optimizer` decides.
    """

    def __init__(self, weights: dict[str, torch.nn.Parameter], recipe: Recipe) -> None:
        hidden = {name for name, w in weights.items() if w.ndim >= 2 and not name.startswith(_NOT_HIDDEN)}
        kernels = {name: weights[name] for name in weights if recipe.optimizer == "muon" and name in hidden}
        self._rest = {name: w for name, w in weights.items() if name not in kernels}
        self._kernels = kernels
        self._matrices = {name: torch.nn.Parameter(_as_matrix(w)) for name, w in kernels.items()}
        self._adamw = torch.optim.AdamW(self._rest.values(), lr=recipe.learning_rate,
                                        weight_decay=recipe.weight_decay, fused=True)
        device = next(iter(weights.values())).device
        slow = device.type == "cuda" or resolve_precision("auto", device) == "fp32"  # for torch's own Muon
        muon = StackedMuon if slow else torch.optim.Muon
        self._muon = muon(self._matrices.values(), lr=recipe.muon_learning_rate,
                          weight_decay=recipe.weight_decay) if kernels else None
        self._full_rates = recipe.learning_rate, recipe.muon_learning_rate

    def step(self, share: float) -> None:
        """Update the weights by their gradients, at a share of the full learning rates."""
        for name, matrix in self._matrices.items():
            matrix.grad = _as_matrix(self._kernels[name].grad.contiguous(memory_format=_layout(self._kernels[name])))
        for optimizer, rate in zip((self._adamw, self._muon), self._full_rates, strict=True):
            if optimizer:
                optimizer.param_groups[0]["lr"] = rate * share
                optimizer.step()

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state by weight and name of the moment; each moment in its weight's shape."""
        moments = {f"{name}/{key}": value for name, weight in self._rest.items()
                   for key, value in self._adamw.state[weight].items()}
        return moments | {f"{name}/momentum": self._momentum(name) for name in self._kernels}

    @torch.no_grad()
    def restore(self, saved: dict[str, torch.Tensor]) -> None:
        """Take over a saved state, in the memory layout of these weights."""
        for name, weight in self._rest.items():
            state = {key: saved[f"{name}/{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            self._adamw.state[weight] = {
                key: value.to(weight.device) if key == "step" else torch.empty_like(weight).copy_(value)
                for key, value in state.items()}
        for name, weight in self._kernels.items():
            momentum = _as_matrix(torch.empty_like(weight).copy_(saved[f"{name}/momentum"]))
            self._muon.state[self._matrices[name]] = {"momentum_buffer": momentum}

    def _momentum(self, name: str) -> torch.Tensor:
        weight = self._kernels[name]
        buffer = self._muon.state[self._matrices[name]]["momentum_buffer"].contiguous()
        return buffer.as_strided(weight.shape, weight.stride())


def _layout(tensor: torch.Tensor) -> torch.memory_format:
    last = tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _as_matrix(tensor: torch.Tensor) -> torch.Tensor:
    """A kernel as `(out, in · k · k)` on the same storage; the order of columns is the layout's, which Muon ignores."""
    return tensor.detach().as_strided((len(tensor), tensor[0].numel()), (tensor[0].numel(), 1))
