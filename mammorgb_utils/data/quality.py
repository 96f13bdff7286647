"""What every image of a manifest turns out to be when it is read: facts for a quality report, resumable."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
from pydicom import uid
from tqdm import tqdm

from mammorgb_utils.data import headers
from mammorgb_utils.data.archives.build import CACHE_FOLDER
from mammorgb_utils.data.breast_region import air_level, breast_region, chest_wall_side
from mammorgb_utils.data.dicom import Mammogram, RejectedImage, one_file, read_mammogram
from mammorgb_utils.data.geometry import area_resize
from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.data.preprocess import normalise, working_side
from mammorgb_utils.data.progress_log import append_to_log, logged
from mammorgb_utils.data.workers import FAILURES, map_isolated
from mammorgb_utils.protocol import Protocol

BINS = 64  # of the intensity histograms
_VERSION = 2  # raise it when the same file gives other facts
_FLUSH_EVERY = 32  # images whose work a kill may cost
_WHITE = 1 - 1 / 512  # of the displayed range: what 8 bits would show as white
_TAGS = [*headers.TAGS, "Rows", "Columns", "BitsStored", "PhotometricInterpretation"]
_COUNTS = ("bits", "voi_choices", "rows", "columns", "grey_levels")
_TEXTS = ("code", "reason", "conflicts", "scanner", "transfer_syntax", "photometric", "voi", "header_laterality",
          "header_view", "chest_wall", "chest_wall_by_tags", "breast_histogram", "image_histogram")
_MEASURES = ("row_spacing_mm", "column_spacing_mm", "region_share", "breast_cm2", "air_level", "saturated_share",
             "opposite_share")
_FROM_MANIFEST = ["pair", "laterality", "view", "source"]


def check_images(manifest: Path, protocol: Protocol, *, progress: bool = True) -> pd.DataFrame:
    """Read every image of a manifest and tell what it is; a killed call continues.

    What was found is kept in `.mammorgb-cache/` beside the manifest. An image is read again when its file, its
    checksum or the way of reading has changed, or when its worker died, ran out of time or out of memory. Memory
    doesn't grow with the images but for their rows of text, some 3 kB an image.

    Args:
        manifest: The file.
        protocol: `for_processing` and `image_size` decide how images are read.

    Returns:
        One row an image, indexed as `load_manifest`; neither path nor checksum nor a header's free text. `row` counts
        as in a spreadsheet. Text is empty and numbers are NaN where unknown:
        `pair`, `laterality`, `view`, `source` of the manifest; `code`, `reason` where the image is rejected;
        `conflicts`; `scanner`, `transfer_syntax`, `photometric`, `voi`; `bits`, `voi_choices`; `rows`, `columns` and
        `row_spacing_mm`, `column_spacing_mm` of the whole image; `header_laterality`, `header_view`; `chest_wall` by
        the pixels, `chest_wall_by_tags`; `region_share` of the image that is breast, `breast_cm2` its area;
        `air_level` in [0, 1]; `saturated_share` of the breast; `opposite_share` of the edge opposite the chest wall
        that the breast covers; `grey_levels` shown, not counted for JPEG 2000; `breast_histogram` and
        `image_histogram` for `histograms`.

    Raises:
        ManifestError: The manifest isn't valid.
    """
    images = load_manifest(manifest)
    stamps = [_stamp(manifest.parent / path, digest, protocol)
              for path, digest in zip(images["path"], images["sha256"], strict=True)]
    facts = _read_resumably(manifest, images["path"], pd.Series(stamps, images.index), protocol, progress)
    table = pd.DataFrame.from_dict(facts, orient="index", columns=[*_TEXTS, *_COUNTS, *_MEASURES])
    table = table.astype(dict.fromkeys(_COUNTS, "Int64") | dict.fromkeys(_MEASURES, float)).fillna(
        dict.fromkeys(_TEXTS, ""))
    rows = pd.Series(images.index + 2, images.index, name="row")
    return pd.concat([rows, images[_FROM_MANIFEST].astype(object), table.loc[images.index]], axis=1)


def histograms(images: pd.DataFrame, column: str) -> np.ndarray:
    """Histograms of `check_images`.

    Args:
        images: Rows of it.
        column: `"breast_histogram"` or `"image_histogram"`.

    Returns:
        `(N, 64)` float32 shares of the pixels by displayed grey from 0 to 1; NaN where an image was rejected.
    """
    result = np.full((len(images), BINS), np.nan, np.float32)
    for row, text in zip(result, images[column], strict=True):
        if text:
            counts = np.array(text.split(), np.float64)
            row[:] = counts / max(counts.sum(), 1)
    return result


def picture(path: Path, longest: int, for_processing: str) -> tuple[np.ndarray, np.ndarray]:
    """A small picture of one image, for thumbnails.

    Args:
        path: The file.
        longest: Longer side of the picture [px].
        for_processing: As in `read_mammogram`.

    Returns:
        `(H, W)` float32 in [0, 1], displayed grey, and the breast region, `(H, W)` bool, which may be empty.

    Raises:
        RejectedImage: As `read_mammogram`.
    """
    pixels = read_mammogram(path, min_side=working_side(Protocol()), for_processing=for_processing).pixels
    scale = min(1.0, longest / max(pixels.shape))
    shape = tuple(max(1, round(side * scale)) for side in pixels.shape)
    region = area_resize(breast_region(pixels).astype(np.float32), shape) > 0.5
    return np.clip(area_resize(pixels, shape), 0.0, 1.0), region


def image_facts(path: Path, min_side: int, for_processing: str) -> dict[str, Any]:
    """What one image is, as `check_images` lists it; JSON can hold it.

    JPEG 2000 is read at reduced resolution, as the study does; everything else whole, to count its grey levels.
    """
    if not os.path.isfile(path):  # False, and no error, where its folder can't be entered
        return {"code": "missing_file", "reason": "the file that the manifest names isn't there"}
    facts, is_jpeg_2000 = _header_facts(path)
    side = min_side if is_jpeg_2000 else None
    try:
        with one_file(path):
            mammogram = read_mammogram(path, min_side=side, for_processing=for_processing)
            return facts | _stated(mammogram) | _measured(mammogram, min_side, facts, is_jpeg_2000)
    except RejectedImage as error:
        if isinstance(error.__cause__, MemoryError):  # the worker's limit, which is told from a damaged file elsewhere
            raise
        return facts | {"code": error.code, "reason": error.reason}


def _header_facts(path: Path) -> tuple[dict[str, Any], bool]:
    """What the header tells even of an image that is rejected, and whether its pixels are JPEG 2000."""
    try:
        with warnings.catch_warnings(action="ignore"):  # they quote header values
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        syntax = header.file_meta.TransferSyntaxUID
        inverse = header.PhotometricInterpretation == "MONOCHROME1"
        return {"scanner": headers.scanner_of(header), "transfer_syntax": syntax.name if syntax.is_transfer_syntax
                else "unknown", "photometric": "MONOCHROME1" if inverse else "MONOCHROME2", "rows": int(header.Rows),
                "columns": int(header.Columns), "bits": int(header.BitsStored)}, syntax in uid.JPEG2000TransferSyntaxes
    except headers.READ_ERRORS:
        return {}, False


def _stated(mammogram: Mammogram) -> dict[str, Any]:
    return {"code": "", "reason": "", "conflicts": "; ".join(mammogram.conflicts), "scanner": mammogram.scanner,
            "transfer_syntax": mammogram.transfer_syntax, "photometric": mammogram.photometric, "bits": mammogram.bits,
            "voi": mammogram.voi, "voi_choices": mammogram.voi_choices,
            "header_laterality": mammogram.laterality or "", "header_view": mammogram.view or "",
            "chest_wall_by_tags": mammogram.chest_wall_by_tags or ""}


def _measured(mammogram: Mammogram, min_side: int, facts: dict[str, Any], is_reduced: bool) -> dict[str, Any]:
    whole = mammogram.pixels
    full = (facts["rows"], facts["columns"]) if is_reduced else whole.shape
    factor = max(1, min(whole.shape) // min_side)
    small = area_resize(whole, (whole.shape[0] // factor, whole.shape[1] // factor)) if factor > 1 else whole
    _, region = normalise(small)
    wall = chest_wall_side(region)
    spacing = [_rounded(mm * n / m) for mm, n, m in zip(mammogram.spacing_mm or (), whole.shape, full, strict=False)]
    extent = full[0] * full[1] * np.prod(spacing) / 100 if spacing else None
    breast = small[region]
    return {"rows": full[0], "columns": full[1], "row_spacing_mm": spacing[0] if spacing else None,
            "column_spacing_mm": spacing[1] if spacing else None, "chest_wall": wall,
            "region_share": _rounded(region.mean()),
            "breast_cm2": _rounded(region.mean() * extent) if spacing else None,
            "air_level": _rounded(air_level(small, region)),
            "saturated_share": _rounded((breast >= _WHITE).mean()),
            "opposite_share": _rounded(region[:, -1 if wall == "left" else 0].mean()),
            "grey_levels": None if is_reduced else _levels(whole),
            "breast_histogram": _histogram(breast), "image_histogram": _histogram(small)}


def _levels(pixels: np.ndarray) -> int:
    """Different greys, told apart to 16 bits; of a large image some 800 rows are enough."""
    levels = (pixels[::max(1, pixels.shape[0] // 800)] * np.float32(65535) + np.float32(0.5)).astype(np.int32)
    return int(np.count_nonzero(np.bincount(levels.ravel())))


def _histogram(pixels: np.ndarray) -> str:
    bins = np.minimum((pixels * np.float32(BINS)).astype(np.intp), BINS - 1)
    return " ".join(map(str, np.bincount(bins.ravel(), minlength=BINS)))


def _rounded(value: float) -> float:
    return round(float(value), 5)


def _stamp(path: Path, digest: str, protocol: Protocol) -> str:
    """What the facts of an image depend on: file, content and way of reading."""
    try:
        stat = path.stat()
        file = f"{stat.st_size}-{stat.st_mtime_ns}"
    except OSError:
        file = "absent"
    return f"{_VERSION}-{working_side(protocol)}-{protocol.for_processing}-{digest[:16]}-{file}"


def _read_resumably(manifest: Path, paths: pd.Series, stamps: pd.Series, protocol: Protocol,
                    progress: bool) -> dict[int, dict[str, Any]]:
    cache = manifest.parent / CACHE_FOLDER
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n", encoding="utf-8")
    log = cache / f"{manifest.name}.quality.jsonl"
    known = {row: fact["stamp"] for row, fact in logged(log).items() if fact["code"] not in FAILURES}
    todo = stamps.index[[known.get(row) != stamp for row, stamp in stamps.items()]]
    with tqdm(total=len(paths), initial=len(paths) - len(todo), desc="check", unit="image", mininterval=2,
              disable=None if progress else True) as bar, closing(
                  _in_batches(manifest.parent, paths[todo], protocol)) as batches:
        for batch in batches:
            append_to_log(log, {row: fact | {"stamp": stamps[row]} for row, fact in batch.items()})
            bar.update(len(batch))
    return logged(log)


def _in_batches(folder: Path, todo: pd.Series, protocol: Protocol) -> Iterator[dict[int, dict[str, Any]]]:
    work = partial(image_facts, min_side=working_side(protocol), for_processing=protocol.for_processing)
    with closing(map_isolated(work, (folder / path for path in todo))) as results:
        outcomes = ((row, _outcome(result)) for row, (_, result) in zip(todo.index, results, strict=True))
        while batch := dict(islice(outcomes, _FLUSH_EVERY)):
            yield batch


def _outcome(result: dict[str, Any] | RejectedImage) -> dict[str, Any]:
    return {"code": result.code, "reason": result.reason} if isinstance(result, RejectedImage) else result
