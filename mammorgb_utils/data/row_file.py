"""Arrays of one shape in a file, written in any order and gathered in another, none of them kept in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammorgb_utils.runs import atomic_path


@dataclass(frozen=True)
class RowFile:
    """A file of float32 arrays, each at its row's offset.

    Written through a file handle: pages of a memory map would count as this process's memory until the last row.

    Attributes:
        path: The file; absent before the first row.
        shape: Of one row.
    """

    path: Path
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape)) * 4

    def write(self, rows: dict[int, np.ndarray]) -> None:
        """Put arrays at their rows; on return they are on disk.

        Args:
            rows: Row number to array of `shape`.

        Raises:
            ValueError: An array has another shape.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        with self.path.open("rb+") as file:
            for row, array in rows.items():
                if array.shape != self.shape:
                    raise ValueError(f"row {row} has shape {array.shape}, not {self.shape}")
                file.seek(row * self.row_bytes)
                file.write(array.astype("<f4", copy=False).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def gather(self, target: Path, rows: np.ndarray) -> None:
        """Write chosen rows as one `.npy`, atomically.

        Args:
            target: The `.npy`, `rows.shape + shape` float32.
            rows: Row numbers, any shape; each was written.

        Raises:
            ValueError: A row ends beyond the file's end.
        """
        header = {"descr": "<f4", "fortran_order": False, "shape": (*rows.shape, *self.shape)}
        with atomic_path(target) as temporary, temporary.open("wb") as out:
            np.lib.format.write_array_header_1_0(out, header)
            if rows.size:
                with self.path.open("rb") as file:
                    for row in rows.ravel():
                        out.write(self._read(file, int(row)))

    def _read(self, file, row: int) -> bytes:
        file.seek(row * self.row_bytes)
        found = file.read(self.row_bytes)
        if len(found) != self.row_bytes:
            raise ValueError(f"{self.path.name}: row {row} isn't there; remove the file to begin anew")
        return found
