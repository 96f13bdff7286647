"""What long work has found out, one JSON line a row, so that a killed call continues where it stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def logged(path: Path) -> dict[int, dict[str, Any]]:
    """Read a log.

    Args:
        path: Of a log; it may be absent.

    Returns:
        Row number to what was logged of it; the last line counts where a row was logged twice.
    """
    if not path.is_file():
        return {}
    facts = {}
    with path.open("rb") as lines:
        for line in lines:
            try:
                fact = json.loads(line)
                facts[fact.pop("row")] = fact
            except (ValueError, KeyError, AttributeError):  # a line that a kill cut short
                continue
    return facts


def append_to_log(path: Path, facts: dict[int, dict[str, Any]]) -> None:
    """Add rows to a log; on return they are on disk.

    Args:
        path: Of a log, which is begun where it is absent.
        facts: Row number to what JSON can hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as log:
        if log.tell() and not _ends_with_a_line(log):
            log.write(b"\n")  # a kill cut the last line short: what comes next must not be lost with it
        log.writelines((json.dumps({"row": row} | fact) + "\n").encode() for row, fact in facts.items())
        log.flush()
        os.fsync(log.fileno())


def _ends_with_a_line(log: Any) -> bool:
    log.seek(-1, os.SEEK_END)
    return log.read(1) == b"\n"
