"""Work on every core, in threads: scipy and numpy let go of the interpreter while they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from mammorgb_utils.data.batch.workers import available_cores

Item, Result = TypeVar("Item"), TypeVar("Result")

_PIXELS = 2**20  # pixels of a channel in a part: 16 pairs at 256 px


def parts_on_every_core(work: Callable[..., Result], *stacks: np.ndarray) -> Iterator[Result]:
    """Results of a function on a part of the stacks at a time, in their order.

    On two cores threads gain as much as processes, which would be handed every image and started first.

    Args:
        work: Takes a part of each stack.
        stacks: `(N, …)` each; the first is `(N, 2, H, W)` and decides into how many parts they are cut.
    """
    rows = max(1, _PIXELS // int(np.prod(stacks[0].shape[2:])))
    parts = [tuple(stack[first:first + rows] for stack in stacks) for first in range(0, len(stacks[0]), rows)]
    return on_every_core(lambda part: work(*part), parts or [stacks])


def on_every_core(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results of a function on each item, in their order; one item is worked on at once, without a thread."""
    items = list(items)
    if len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(available_cores()) as pool:
        yield from pool.map(work, items)
