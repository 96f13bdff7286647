"""Work over many files that a kill doesn't undo: facts as JSON lines, arrays beside them, batch by batch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mammorgb_utils.data.batch.workers import map_isolated
from mammorgb_utils.runs import atomic_path

BATCH = 32  # files whose work a kill may cost


@dataclass(frozen=True)
class Record:
    """What is known of each row of a table so far, on disk: facts, and arrays that are never all in memory.

    Attributes:
        log: JSON lines, one a row and try; may be absent.
        shape: Of one row's array; None where there are only facts.
    """

    log: Path
    shape: tuple[int, ...] | None = None

    @property
    def arrays(self) -> Path:
        """Float32 arrays, each at its row's offset."""
        return self.log.with_suffix(".f32")

    def facts(self) -> dict[int, dict[str, Any]]:
        """Row to what is known of it; the last line counts where a row was tried twice."""
        if not self.log.is_file() or (self.shape and not self.arrays.is_file()):
            return {}
        facts = {}
        with self.log.open("rb") as lines:
            for line in lines:
                try:
                    fact = json.loads(line)
                    facts[fact.pop("row")] = fact
                except (ValueError, KeyError, AttributeError):  # a line that a kill cut short
                    continue
        return facts

    def add(self, facts: Mapping[int, dict[str, Any]], arrays: Mapping[int, np.ndarray] | None = None) -> None:
        """Keep facts of some rows, and their arrays first; on return they are on disk."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.shape:
            if not self.arrays.is_file():
                self.log.unlink(missing_ok=True)  # facts without their arrays are worth nothing
            self._write(arrays or {})
        with self.log.open("ab+") as log:
            if log.tell():
                log.seek(-1, os.SEEK_END)
                if log.read(1) != b"\n":  # a kill cut the last line short: what comes next must not be lost with it
                    log.write(b"\n")
            log.writelines((json.dumps({"row": row} | fact) + "\n").encode() for row, fact in facts.items())
            log.flush()
            os.fsync(log.fileno())

    def _write(self, arrays: Mapping[int, np.ndarray]) -> None:
        """Through a file handle: pages of a memory map would count as this process's memory until the last row."""
        self.arrays.touch()
        with self.arrays.open("rb+") as file:
            for row, array in arrays.items():
                if array.shape != self.shape:
                    raise ValueError(f"row {row} has shape {array.shape}, not {self.shape}")
                file.seek(row * array.size * 4)
                file.write(array.astype("<f4", copy=False).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def gather(self, target: Path, rows: np.ndarray) -> None:
        """Write the arrays of chosen rows as one `.npy`, `rows.shape + shape` float32, atomically."""
        header = {"descr": "<f4", "fortran_order": False, "shape": (*rows.shape, *self.shape)}
        size = int(np.prod(self.shape))
        with atomic_path(target) as temporary, temporary.open("wb") as out:
            np.lib.format.write_array_header_1_0(out, header)
            for row in rows.ravel():
                array = np.fromfile(self.arrays, "<f4", size, offset=int(row) * size * 4)
                if array.size != size:
                    raise ValueError(f"{self.arrays.name}: row {row} isn't there; remove the file to begin anew")
                out.write(array.tobytes())


def work_through(files: Mapping[int, Path], work: Callable[[Path], Any], keep: Callable[[dict[int, Any]], None], *,
                 total: int, label: str, progress: bool) -> None:
    """Work on files that aren't done yet, by row, in isolated processes and keep the results, a batch at a time.

    Args:
        work: As the function of `map_isolated`, which tells what can't be done by a `RejectedImage`.
        keep: Takes row to result of one batch; on its return a kill no longer costs that batch.
        total: Of all rows, done or not, for the bar.
    """
    with tqdm(total=total, initial=total - len(files), desc=label, unit="image", mininterval=2,
              disable=not progress) as bar, closing(map_isolated(work, files.values())) as results:
        outcomes = ((row, result) for row, (_, result) in zip(files, results, strict=True))
        while batch := dict(islice(outcomes, BATCH)):
            keep(batch)
            bar.update(len(batch))

