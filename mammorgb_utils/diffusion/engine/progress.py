"""Progress with remaining time, in a terminal, a notebook and a log; and the memory that it takes."""

from __future__ import annotations

import resource
import sys

import torch
from tqdm import tqdm


def progress_bar(what: str, total: int, done: int = 0, *, show: bool = True, unit: str = "step") -> tqdm:
    """A text bar on stderr; where no terminal is watched it is refreshed every 20 s only, so that logs stay short."""
    interval = 2.0 if sys.stderr.isatty() else 20.0
    return tqdm(desc=what, total=total, initial=done, unit=unit, disable=not show, mininterval=interval,
                maxinterval=interval, dynamic_ncols=sys.stderr.isatty(), file=sys.stderr)


def peak_memory_mb(device: torch.device) -> float:
    """Most memory held so far [10⁶ bytes]: the GPU's by tensors, else this process's."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
