"""Work on many pairs at once, in as many processes as there are cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from joblib import Parallel, delayed

Result = TypeVar("Result")

WORTH = 2**25  # pixels of a channel, as of 512 pairs at 256 px: with fewer, starting processes takes longer
_PIXELS = 2**22  # pixels of a channel that a process is handed at once


def in_chunks(work: Callable[..., Result], *stacks: np.ndarray) -> Iterator[Result]:
    """Results of a function on some hundred rows of the stacks at a time, in their order.

    Args:
        work: Takes a part of each stack; importable by name, or a `functools.partial` of such a function.
        stacks: `(N, …)` each; the first is `(N, 2, H, W)` and decides into how many parts they are cut.
    """
    n, pixels = len(stacks[0]), int(np.prod(stacks[0].shape[2:]))
    if n * pixels < WORTH:
        return iter([work(*stacks)])
    rows = max(1, _PIXELS // pixels)
    parts = (tuple(stack[first:first + rows] for stack in stacks) for first in range(0, n, rows))
    # Without files: a patient's pixels belong below runs/ alone.
    return Parallel(n_jobs=-1, return_as="generator", max_nbytes=None)(delayed(work)(*part) for part in parts)
