"""SHA-256 of many files, in threads, remembered between calls."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from mammorgb_utils.data.archives.base import AdapterError
from mammorgb_utils.runs import sha256, write_json

_BATCH = 64  # files hashed between two looks at the clock
_SAVE_EVERY = 10.0  # seconds of work that a kill may cost; each save rewrites the whole cache


def cached_checksums(folder: Path, paths: list[str], cache: Path, *, progress: bool = True) -> list[str]:
    """SHA-256 of each file; a killed call continues, an unchanged file isn't read again.

    Args:
        folder: What `paths` are relative to.
        cache: JSON of `path|size|mtime` to digest. It holds paths: its folder gets a `.gitignore` of its own.

    Returns:
        Hex digests in the order of `paths`.

    Raises:
        AdapterError: A file can't be read; it isn't named, as its path may identify a patient.
    """
    known = _load(cache)
    keys = [_key(folder, path) for path in paths]
    todo = [(key, path) for key, path in zip(keys, paths, strict=True) if key not in known]
    bar = tqdm(total=len(paths), initial=len(paths) - len(todo), desc="checksums", unit="file", mininterval=2,
               disable=not progress)
    saved = time.monotonic()
    try:
        with ThreadPoolExecutor() as pool, bar:
            for start in range(0, len(todo), _BATCH):
                batch = todo[start:start + _BATCH]
                digests = pool.map(lambda item: _digest(folder / item[1]), batch)
                known |= dict(zip((key for key, _ in batch), digests, strict=True))
                bar.update(len(batch))
                if time.monotonic() - saved >= _SAVE_EVERY:
                    write_json(cache, known)
                    saved = time.monotonic()
    finally:
        write_json(cache, known)
    return [known[key] for key in keys]


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise AdapterError(f"an image file can't be read ({error.strerror or type(error).__name__}); see to the "
                           "archive's permissions and disk, then repeat the command, which continues") from None


def _key(folder: Path, path: str) -> str:
    stat = (folder / path).stat()
    return f"{path}|{stat.st_size}|{stat.st_mtime_ns}"


def _load(cache: Path) -> dict[str, str]:
    cache.parent.mkdir(parents=True, exist_ok=True)
    (cache.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}
