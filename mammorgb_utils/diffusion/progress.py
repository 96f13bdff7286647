"""Progress with remaining time, in a terminal, a notebook and a log."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress_bar(what: str, total: int, done: int = 0, *, show: bool = True, unit: str = "step") -> tqdm:
    """A text bar on stderr; where no terminal is watched it is refreshed every 20 s only, so that logs stay short."""
    interval = 2.0 if sys.stderr.isatty() else 20.0
    return tqdm(desc=what, total=total, initial=done, unit=unit, disable=not show, mininterval=interval,
                maxinterval=interval, dynamic_ncols=sys.stderr.isatty(), file=sys.stderr)
