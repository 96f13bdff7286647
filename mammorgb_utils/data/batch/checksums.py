"""SHA-256 of many files, in threads, remembered between calls."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from mammorgb_utils.runs import sha256, write_json

CACHE_FOLDER = ".mammorgb-cache"  # beside the manifest; ignored by git, as it holds paths
BATCH = 256  # files hashed between two looks at the clock; a pool holds a future for each file it was given
SAVE_EVERY = 10.0  # seconds of work that a kill may cost; each save rewrites the whole cache


def checksums(folder: Path, paths: Sequence[str], *, cache: Path | None = None, progress: bool = True) -> list[str]:
    """SHA-256 of each file; with a cache, a killed call continues and an unchanged file isn't read again.

    Args:
        folder: What `paths` are relative to.
        paths: Files that are there.
        cache: JSON of `path|size|mtime` to digest. It holds paths: its folder gets a `.gitignore` of its own.

    Returns:
        Hex digests in order, or in words why a file can't be read: the error itself would name its path.
    """
    known = _load(cache) if cache else {}
    keys = [f"{path}|{file_stamp(folder / path)}" for path in paths] if cache else paths
    todo = [(key, path) for key, path in zip(keys, paths, strict=True) if key not in known]
    saved = time.monotonic()

    def digest(item: tuple[str, str]) -> str:
        try:
            return sha256(folder / item[1])
        except OSError as error:
            return error.strerror or type(error).__name__

    try:
        with ThreadPoolExecutor() as pool, tqdm(total=len(paths), initial=len(paths) - len(todo), desc="checksums",
                                                unit="file", mininterval=2, disable=not progress) as bar:
            for start in range(0, len(todo), BATCH):
                batch = todo[start:start + BATCH]
                known |= dict(zip((key for key, _ in batch), pool.map(digest, batch), strict=True))
                bar.update(len(batch))
                if cache and time.monotonic() - saved >= SAVE_EVERY:
                    _save(cache, known)
                    saved = time.monotonic()
    finally:
        if cache:
            _save(cache, known)
    return [known[key] for key in keys]


def is_digest(found: str) -> bool:
    """Whether it is a digest, and not a sentence about a file that can't be read."""
    return len(found) == 64 and " " not in found


def make_cache_folder(folder: Path) -> None:
    """A folder that git ignores, as what it holds names files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")



def file_stamp(path: Path) -> str:
    """Size and time of a file's last change, which a new content moves."""
    try:
        stat = path.stat()
        return f"{stat.st_size}|{stat.st_mtime_ns}"
    except OSError:
        return "absent"


def _load(cache: Path) -> dict[str, str]:
    make_cache_folder(cache.parent)
    try:
        return dict(json.loads(cache.read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):  # a damaged cache costs time alone
        return {}


def _save(cache: Path, known: dict[str, str]) -> None:
    write_json(cache, {key: found for key, found in known.items() if is_digest(found)})
