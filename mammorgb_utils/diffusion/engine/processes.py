"""Processes that train or sample together, as `accelerate launch` starts them; without it, one alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator

from mammorgb_utils.runs import exclusive


class Processes:
    """This process among its equals; each sees the same files, only the first one writes them.

    Attributes:
        rank, size: This process's number and how many there are.
        device: Where this process computes: a GPU of its own, or the CPU.
    """

    def __init__(self) -> None:
        # Precision is the protocol's, so that a launcher's setting can't change a study.
        self._accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        self.rank, self.size = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, n: int) -> range:
        """This process's part of `n` items, in order; parts differ by one item at most."""
        return range(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def joined(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model with gradients averaged over all processes (DDP); itself where there is one."""
        return self._accelerator.prepare_model(model) if self.size > 1 else model

    def unsynchronised(self, model: torch.nn.Module, hold: bool) -> AbstractContextManager:
        """Holds gradients back while a batch has further passes, so that they travel once a step."""
        return self._accelerator.no_sync(model) if self.size > 1 and hold else nullcontext()

    def total(self, value: torch.Tensor) -> float:
        """Sum of one number over all processes, the same in each."""
        return float(self._accelerator.reduce(value.detach(), "sum"))

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    def first_goes_first(self) -> AbstractContextManager:
        """The first process runs the block, then the others do."""
        return self._accelerator.main_process_first()

    @contextmanager
    def holding(self, folder: Path) -> Iterator[None]:
        """One lock for all of them; they enter when the first process has it, and leave together.

        Raises:
            RunError: Another study's process holds it.
        """
        with exclusive(folder) if self.is_first else nullcontext():
            self.wait()
            yield
            self.wait()
