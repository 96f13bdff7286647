"""Pairs as files: a folder of PNGs to give away, and PNGs or one array from anywhere, checked before they are used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from mammorgb_utils.data.geometry import area_resize
from mammorgb_utils.protocol import VIEWS
from mammorgb_utils.runs import atomic_path

_FILE = re.compile(r"(?P<pair>.+)_(?P<view>CC|MLO)\.png", re.IGNORECASE)
_FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
_GREY_MODES = ("L", "I;16")
_EDGE = 0.25  # of the width: the strip at either side, and the corners' legs, that tell where chest wall and muscle are
_SIDE_STEP, _CORNER_STEP = 0.05, 0.15  # grey, of full scale: sides and corners that differ by less say nothing
_BLACK, _WHITE = 0.1, 0.9  # grey, of full scale: below is air as it should be, above is air of an inverted view
_WHITER = 0.02  # of the image, by which the white exceeds the black where air is white
_DARK = 0.25  # grey, of full scale: what 14 of 16 bits reach; breasts are brighter somewhere
# What a view may not be, which share of the views may be so by chance, what to do. Turned muscles are seen less surely.
_FAULTS = {
    "dark": (0.1, "{n} views use {bits} of 16 bits, as detectors do: their white is {brightest:.3g} of the full scale; "
                  "scale them, so that white is 65535, or 1 in floats"),
    "white": (0.1, "air is white in {n} views; invert them, so that 0 is air"),
    "right": (0.1, "the chest wall is on the right in {n} views; flip them left to right, as every measure expects it "
                   "on the left"),
    "down": (0.2, "{n} MLO views are upside down; flip them, so that the muscle is at the upper edge"),
}


class PairFolderError(ValueError):
    """Pairs can't be used; the message says which, why and what to do."""


def load_pair_folder(path: Path, *, size: int, resize: bool = False) -> np.ndarray:
    """Read and check pairs.

    Args:
        path: A folder with `<name>_CC.png` and `<name>_MLO.png` (grey, 8 or 16 bits), as `mammorgb export` writes
            them, in the order of their names; or a `.npy` of shape `(N, 2, H, W)`, CC first: float in [0, 1], uint8
            or uint16.
        size: Image size that is needed [px].
        resize: Bring other sizes to `size × size` by area averaging, which changes the aspect of oblong views.

    Returns:
        `(N, 2, size, size)` float32 in [0, 1], chest wall on the left.

    Raises:
        PairFolderError: Nothing is there, a view lacks its partner, shapes or values are wrong, or more views than
            chance explains use few bits, have white air, the chest wall on the right or the muscle below.
    """
    if path.suffix == ".npy" and path.is_file():
        views = _from_array(path)
    elif path.is_dir():
        views = _from_folder(path)
    else:
        raise PairFolderError(f"{path}: neither a folder of pairs nor a .npy file of shape (N, 2, H, W)")
    pairs = at_size(views, size, resize)
    _check_content(pairs)
    return pairs


def unread_files(folder: Path) -> list[str]:
    """Files in a folder of pairs, or below it, that `load_pair_folder` doesn't read; hidden ones aren't counted."""
    return [str(file.relative_to(folder)) for file in sorted(folder.rglob("*"))
            if file.is_file() and not file.name.startswith(".")
            and not (file.parent == folder and _FILE.fullmatch(file.name))]


def pairs_digest(pairs: np.ndarray) -> str:
    """SHA-256 of shape and values: the same pairs give the same, from whatever file they were read."""
    digest = hashlib.sha256(repr(pairs.shape).encode())
    for pair in pairs:
        digest.update(np.ascontiguousarray(pair, np.float32))
    return digest.hexdigest()


def load_patients(path: Path, n: int) -> np.ndarray:
    """Patient of each of `n` pairs, from the column `patient` of a CSV in their order, such as `pairs/index.csv`.

    Returns:
        `(n,)` whole numbers: who belongs together, and no name.
    """
    try:  # names need to be told apart, not read: any encoding with commas does
        table = pd.read_csv(path, dtype=str, encoding_errors="surrogateescape")
    except (pd.errors.ParserError, pd.errors.EmptyDataError):
        raise PairFolderError(f"{path.name}: not a CSV table; save one with commas and a column 'patient'") from None
    if "patient" not in table or table["patient"].isna().any():
        raise PairFolderError(f"{path.name}: needs a column 'patient' without empty cells")
    if len(table) != n:
        raise PairFolderError(f"{path.name}: {len(table)} rows for {n} pairs; give one row a pair, in the same order")
    return pd.factorize(table["patient"])[0]


def _from_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise PairFolderError(f"{path.name}: not a plain NumPy array ({error}); write it with np.save") from None
    if array.ndim != 4 or array.shape[1] != 2:
        raise PairFolderError(f"{path.name}: shape {array.shape}; it must be (N, 2, H, W), CC first")
    if not len(array):
        raise PairFolderError(f"{path.name}: holds no pairs")
    if array.dtype not in _FULL_SCALE and not np.issubdtype(array.dtype, np.floating):
        raise PairFolderError(f"{path.name}: values of type {array.dtype}; use float in [0, 1], uint8 or uint16")
    return array


def view_files(folder: Path) -> dict[str, dict[str, Path]]:
    """Files named `<name>_CC.png` and `<name>_MLO.png`, by name and view in the order of the names, one or both.

    Raises:
        PairFolderError: There are none, or one is there twice.
    """
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        if match := _FILE.fullmatch(file.name):
            views = found.setdefault(match["pair"], {})
            if views.setdefault(match["view"].upper(), file) != file:
                raise PairFolderError(f"{file.name}: this view is there twice, in other letters; keep one")
    if not found:
        others = unread_files(folder)
        there = f"; {len(others)} others are there, such as {others[0]}" if others else ""
        raise PairFolderError(f"{folder}: no files named <name>_CC.png and <name>_MLO.png{there}")
    return found


def _from_folder(folder: Path) -> list[list[np.ndarray]]:
    found = view_files(folder)
    alone = [next(iter(views.values())).name for views in found.values() if len(views) == 1]
    if alone:
        raise PairFolderError(f"{folder}: {len(alone)} views lack their partner, such as that of {alone[0]}; add it, "
                              "or take the view away")
    return [[read_png(views[name]) for name in VIEWS] for views in found.values()]


def read_png(file: Path) -> np.ndarray:
    """A grey PNG's `(H, W)` pixels, uint8 or uint16; a `PairFolderError` where it is anything else."""
    try:
        with Image.open(file, formats=["PNG"]) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PairFolderError(f"{file.name}: not a readable PNG ({error}); write it anew") from None
    if mode not in _GREY_MODES:
        raise PairFolderError(f"{file.name}: a {mode} image; save each view as grey PNG of 8 or 16 bits")
    return pixels


def at_size(views: np.ndarray | list[list[np.ndarray]], size: int, resize: bool) -> np.ndarray:
    """All views, equally many a breast, in one array, scaled to [0, 1] and, where that is allowed, resized."""
    shapes = sorted({view.shape for pair in views for view in pair})
    text = ", ".join(f"{height} × {width}" for height, width in shapes[:4]) + (", …" if len(shapes) > 4 else "")
    if len(shapes) > 1 and not resize:
        raise PairFolderError(f"the views have {len(shapes)} sizes ({text}); bring them to {size} × {size}, or repeat "
                              "with --resize")
    if shapes != [(size, size)] and not resize:
        raise PairFolderError(f"the views are {text}, the study's {size} × {size} pixels; use a study of their "
                              "size, or repeat with --resize")
    pairs = np.empty((len(views), len(views[0]), size, size), np.float32)
    for i, pair in enumerate(views):
        for j, view in enumerate(pair):
            grey = _scaled(view, i)
            pairs[i, j] = grey if grey.shape == (size, size) else area_resize(grey, (size, size)).clip(0.0, 1.0)
    return pairs


def _scaled(view: np.ndarray, number: int) -> np.ndarray:
    if view.dtype in _FULL_SCALE:
        return view.astype(np.float32) / np.float32(_FULL_SCALE[view.dtype])
    low, high = float(view.min()), float(view.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PairFolderError(f"pair {number}: values that are no numbers; write the pairs anew")
    if low < -1e-3 or high > 1.0 + 1e-3:
        raise PairFolderError(f"pair {number}: values from {low:.3g} to {high:.3g}; scale them to [0, 1], 0 = air")
    return np.clip(np.asarray(view, np.float32), 0.0, 1.0)


def _check_content(pairs: np.ndarray) -> None:
    """Refuse a set of which a considerable part isn't as every measure expects it; a few odd views pass."""
    side = pairs.shape[-1]
    band, found = max(1, round(_EDGE * side)), dict.fromkeys(_FAULTS, 0)
    corner, brightest = np.add.outer(np.arange(side), np.arange(side)) < band, 0.0
    for name, view in ((name, view) for pair in pairs for name, view in zip(VIEWS, pair, strict=True)):
        if 0.0 < (white := float(view.max())) <= _DARK:
            found["dark"], brightest = found["dark"] + 1, max(brightest, white)
        found["white"] += (view > _WHITE).mean() - (view < _BLACK).mean() > _WHITER
        found["right"] += view[:, -band:].mean() - view[:, :band].mean() > _SIDE_STEP
        found["down"] += name == "MLO" and view[::-1][corner].mean() - view[corner].mean() > _CORNER_STEP
    for fault, (share, message) in _FAULTS.items():
        n_views = len(pairs) if fault == "down" else 2 * len(pairs)
        if found[fault] > max(1, share * n_views):
            raise PairFolderError(message.format(n=f"{found[fault]} of {n_views}", brightest=brightest,
                                                 bits=round(65535 * brightest).bit_length()))


def pair_name(name: str, number: int) -> str:
    """Name of a synthetic pair in every table: `sum-00012`."""
    return f"{name}-{number:05d}"


def export_pairs(pairs: np.ndarray, folder: Path, *, prefix: str, without: Container[str] = ()) -> int:
    """Write each view as a 16-bit grey PNG without metadata: `<prefix>_00000_CC.png`, `<prefix>_00000_MLO.png`, …

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first; 0 … 1 becomes 0 … 65535.
        folder: Made when missing.
        prefix: First part of each name, such as the encoding.
        without: `pair_name`s that aren't written; files that an earlier export wrote of them are removed.

    Returns:
        Number of files written.
    """
    kept = {number for number in range(len(pairs)) if pair_name(prefix, number) not in without}
    for number, (place, name) in product(range(len(pairs)), enumerate(VIEWS)):
        file = folder / f"{prefix}_{number:05d}_{name}.png"
        if number not in kept:
            file.unlink(missing_ok=True)
            continue
        write_png(file, pairs[number, place])
    return 2 * len(kept)


def write_png(file: Path, view: np.ndarray, text: PngInfo | None = None) -> None:
    """Write a `(H, W)` view in [0, 1] as a 16-bit grey PNG, atomically, without metadata but the text that is given."""
    grey = np.rint(np.clip(view, 0.0, 1.0) * 65535.0).astype(np.uint16)
    with atomic_path(file) as temporary:
        Image.fromarray(grey).save(temporary, format="PNG", pnginfo=text)
