"""Muon for GPUs, which matrices one by one keep waiting, and CPUs without bfloat16, in which torch's own computes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mammorgb_utils.diffusion.engine.base import resolve_precision


@dataclass(frozen=True)
class _Stack:
    """Matrices of one smaller side, lying, their columns filled up with zeros; zeros stay zeros in every step."""

    lying: list[torch.Tensor]  # the parameters, turned where they stand
    grads: torch.Tensor  # (n, smaller side, longest side)
    momentum: torch.Tensor
    ratios: torch.Tensor  # (n, 1, 1) of the learning rate, by shape

    def cut(self, stack: torch.Tensor) -> list[torch.Tensor]:
        """Each matrix's part of a stack."""
        return [part[:, :matrix.shape[1]] for part, matrix in zip(stack, self.lying, strict=True)]


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon`, its update computed for all matrices of one smaller side together; equal within rounding."""

    _stacks: list[tuple[_Stack, list[torch.nn.Parameter]]] | None = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of all matrices by their gradients."""
        group = self.param_groups[0]
        self._stacks = self._stacks or self._stacked(group["params"])
        for stack, params in self._stacks:
            torch._foreach_copy_(stack.cut(stack.grads), [_lying(param.grad) for param in params])
            stack.momentum.lerp_(stack.grads, 1 - group["momentum"])
            update = stack.grads.lerp(stack.momentum, group["momentum"]) if group["nesterov"] else stack.momentum
            update = orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"]) * stack.ratios
            torch._foreach_mul_(stack.lying, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(stack.lying, stack.cut(update), alpha=-group["lr"])

    def _stacked(self, params: list[torch.nn.Parameter]) -> list[tuple[_Stack, list[torch.nn.Parameter]]]:
        """The stacks, which hold the momentum from now on; `state` has views of it."""
        found = []
        # A CPU has each shape by itself: to it a zero is work like any number.
        sides = [tuple(sorted(param.shape)[:1 if param.is_cuda else 2]) for param in params]
        for alike in sorted(set(sides)):
            members = [param for param, own in zip(params, sides, strict=True) if own == alike]
            lying = [_lying(param.detach()) for param in members]
            empty = lying[0].new_zeros(len(members), alike[0], max(matrix.shape[1] for matrix in lying))
            ratios = [math.sqrt(max(1.0, param.shape[0] / param.shape[1])) for param in members]
            stack = _Stack(lying, empty, empty.clone(), empty.new_tensor(ratios).view(-1, 1, 1))
            for param, part in zip(members, stack.cut(stack.momentum), strict=True):
                if param in self.state:
                    part.copy_(_lying(self.state[param]["momentum_buffer"]))
                self.state[param] = {"momentum_buffer": part if part.shape == param.shape else part.T}
            found.append((stack, members))
        return found


def orthogonal(stack: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> torch.Tensor:
    """The nearest orthogonal matrices, about, of a stack of lying float32 ones; products in bfloat16 where it's fast.

    Source:
        Jordan 2024: a quintic Newton–Schulz iteration.
    """
    a, b, c = coefficients
    fast = torch.bfloat16 if resolve_precision("auto", stack.device) == "bf16" else torch.float32
    x = (stack / stack.norm(dim=(1, 2), keepdim=True).clamp(min=eps)).to(fast)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float()


def _lying(matrix: torch.Tensor) -> torch.Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
