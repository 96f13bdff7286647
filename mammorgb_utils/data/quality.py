"""What every image of a manifest turns out to be when it is read, and which ones a person should look at, and why."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydicom import uid

from mammorgb_utils.data import headers, kinds
from mammorgb_utils.data.batch.checksums import CACHE_FOLDER, file_stamp, make_cache_folder
from mammorgb_utils.data.batch.resumable import Record, work_through
from mammorgb_utils.data.batch.workers import FAILURES
from mammorgb_utils.data.breast_region import air_level, breast_region, chest_wall_side
from mammorgb_utils.data.cohort import chest_wall_conflicts, fingerprint, header_conflicts, of_other_patients
from mammorgb_utils.data.dicom import Mammogram, RejectedImage, one_file, read_mammogram
from mammorgb_utils.data.geometry import area_resize
from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.data.orientation import UPSIDE_DOWN, is_upside_down
from mammorgb_utils.data.preprocess import normalise, working_side
from mammorgb_utils.protocol import Protocol

BINS = 64  # of the intensity histograms
SHARE = 0.04, 0.85  # of the image that is breast: phantoms have 0.10 to 0.47, real ones 0.30 to 0.79
MOST_OPPOSITE = 0.0  # of the edge opposite the chest wall: no phantom and no real breast touches it
MOST_SATURATED = 0.05  # of the breast
LEAST_LEVELS = 64  # real ones of 8 bits have 238 and more
AREA_RATIO = 0.5, 2.0  # MLO over CC
LEAST_IMAGES = 20  # of a scanner, for a median histogram of its own
MOST_MADS = 5.0  # median absolute deviations beyond the median distance
_VERSION = 4  # raise it when the same file gives other facts
_WHITE = 1 - 1 / 512  # of the displayed range: what 8 bits would show as white
_COUNTS = ("bits", "voi_choices", "rows", "columns", "grey_levels")
_TEXTS = ("code", "reason", "doubts", "conflicts", "scanner", "transfer_syntax", "photometric", "voi",
          "header_laterality", "header_view", "chest_wall", "chest_wall_by_tags", "breast_histogram", "image_histogram",
          "print")
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
        as in a spreadsheet. Text is empty and numbers are NaN where unknown. `code`, `reason` tell of rejected images;
        rows, columns and spacing are of the whole image, `chest_wall` is by the pixels; `region_share` of the image is
        breast, `breast_cm2` its area; `air_level` in [0, 1]; `saturated_share` of the breast; `opposite_share` of the
        edge opposite the chest wall that the breast covers; `grey_levels` shown, not counted for JPEG 2000.
    """
    images, side = load_manifest(manifest, both_views=False), working_side(protocol)
    files = {row: manifest.parent / path for row, path in images["path"].items()}
    stamps = {row: f"{_VERSION}-{side}-{protocol.for_processing}-{images.at[row, 'sha256'][:16]}-{file_stamp(path)}"
              for row, path in files.items()}
    make_cache_folder(manifest.parent / CACHE_FOLDER)
    record = Record(manifest.parent / CACHE_FOLDER / f"{manifest.name}.quality.jsonl")
    known = {row: fact["stamp"] for row, fact in record.facts().items() if fact["code"] not in FAILURES}
    work_through({row: path for row, path in files.items() if known.get(row) != stamps[row]},
                 partial(image_facts, min_side=side, for_processing=protocol.for_processing),
                 lambda batch: record.add({row: _as_facts(found) | {"stamp": stamps[row]}
                                           for row, found in batch.items()}),
                 total=len(files), label="check", progress=progress)
    table = pd.DataFrame.from_dict(record.facts(), orient="index", columns=[*_TEXTS, *_COUNTS, *_MEASURES])
    table = table.astype(dict.fromkeys(_COUNTS, "Int64") | dict.fromkeys(_MEASURES, float)).fillna(
        dict.fromkeys(_TEXTS, ""))
    rows = pd.Series(images.index + 2, images.index, name="row")
    found = of_other_patients(images, table.pop("print").loc[images.index])["first"]
    copies = found.map(lambda row: f"the same picture as in row {row + 2}, of another patient")
    table["copies"] = copies.astype(object).reindex(table.index, fill_value="")
    return pd.concat([rows, images[_FROM_MANIFEST].astype(object), table.loc[images.index]], axis=1)


def _as_facts(found: dict[str, Any] | RejectedImage) -> dict[str, Any]:
    return {"code": found.code, "reason": found.reason} if isinstance(found, RejectedImage) else found


def image_facts(path: Path, min_side: int, for_processing: str) -> dict[str, Any]:
    """What one image is, as `check_images` lists it; JPEG 2000 is read reduced, all else whole to count its greys."""
    if not os.path.isfile(path):  # False, and no error, where its folder can't be entered
        return {"code": "missing_file", "reason": "the file that the manifest names isn't there"}
    facts, is_jpeg_2000 = _header_facts(path)
    try:
        with one_file(path):
            mammogram = read_mammogram(path, min_side=min_side if is_jpeg_2000 else None, for_processing=for_processing)
            measured, told = _measured(mammogram, min_side, facts, is_jpeg_2000), facts["doubts"].split("; ")
            conflicts = [sentence for sentence in mammogram.conflicts if sentence not in told]
            conflicts += [UPSIDE_DOWN] if measured.pop("upside_down") and mammogram.view == "MLO" else []
            stated = {"code": "", "reason": "", "conflicts": "; ".join(conflicts)}
            return facts | stated | mammogram.header_facts() | measured
    except RejectedImage as error:
        if isinstance(error.__cause__, MemoryError):  # the worker's limit, which is told from a damaged file elsewhere
            raise
        return facts | _as_facts(error)


def _header_facts(path: Path) -> tuple[dict[str, Any], bool]:
    """What the header tells even of an image that is rejected, and whether its pixels are JPEG 2000."""
    try:
        header = headers.read_header(path, ("Rows", "Columns", "BitsStored", "PhotometricInterpretation"))
        syntax = header.file_meta.TransferSyntaxUID
        name = syntax.name if syntax.is_transfer_syntax else "unknown"
        facts = {"scanner": headers.scanner_of(header), "transfer_syntax": name, "rows": int(header.Rows),
                 "columns": int(header.Columns), "bits": int(header.BitsStored),
                 "doubts": "; ".join(kinds.doubts(header)), "photometric": headers.photometric_of(header)}
        return facts, syntax in uid.JPEG2000TransferSyntaxes
    except headers.READ_ERRORS:
        return {"doubts": ""}, False


def _measured(mammogram: Mammogram, min_side: int, facts: dict[str, Any], is_reduced: bool) -> dict[str, Any]:
    whole = mammogram.pixels
    full = (facts["rows"], facts["columns"]) if is_reduced else whole.shape
    if (full[0] < full[1]) != (whole.shape[0] < whole.shape[1]):
        full = full[::-1]  # it was stored lying
    factor = max(1, min(whole.shape) // min_side)
    small = area_resize(whole, (whole.shape[0] // factor, whole.shape[1] // factor)) if factor > 1 else whole
    normalised, region = normalise(small)
    wall, breast = chest_wall_side(region), small[region]
    leftward = normalised[:, ::-1] if wall == "right" else normalised
    spacing = [_rounded(mm * n / m) for mm, n, m in zip(mammogram.spacing_mm or (), whole.shape, full, strict=False)]
    extent = full[0] * full[1] * np.prod(spacing) / 100 if spacing else None
    return {"rows": full[0], "columns": full[1], "row_spacing_mm": spacing[0] if spacing else None,
            "column_spacing_mm": spacing[1] if spacing else None, "chest_wall": wall,
            "region_share": _rounded(region.mean()),
            "breast_cm2": _rounded(region.mean() * extent) if spacing else None,
            "air_level": _rounded(air_level(small, region)),
            "saturated_share": _rounded((breast >= _WHITE).mean()),
            "opposite_share": _rounded(region[:, -1 if wall == "left" else 0].mean()),
            "grey_levels": None if is_reduced else _levels(whole),
            "breast_histogram": _histogram(breast), "image_histogram": _histogram(small),
            "print": fingerprint(leftward), "upside_down": is_upside_down(normalised, region)}


def _levels(pixels: np.ndarray) -> int:
    """Different greys, told apart to 16 bits; of a large image some 800 rows are enough."""
    levels = (pixels[::max(1, pixels.shape[0] // 800)] * np.float32(65535) + np.float32(0.5)).astype(np.int32)
    return int(np.count_nonzero(np.bincount(levels.ravel())))


def _histogram(pixels: np.ndarray) -> str:
    bins = np.minimum((pixels * np.float32(BINS)).astype(np.intp), BINS - 1)
    return " ".join(map(str, np.bincount(bins.ravel(), minlength=BINS)))


def _rounded(value: float) -> float:
    return round(float(value), 5)


def histograms(images: pd.DataFrame, column: str) -> np.ndarray:
    """`"breast_histogram"` or `"image_histogram"` of `check_images`.

    Returns:
        `(N, 64)` float32 shares of the pixels by displayed grey from 0 to 1; NaN where an image was rejected.
    """
    counts = np.array([text.split() or [np.nan] * BINS for text in images[column]], np.float64).reshape(-1, BINS)
    return (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(np.float32)


def picture(path: Path, longest: int, for_processing: str) -> tuple[np.ndarray, np.ndarray]:
    """A small picture of one image, its longer side of `longest` px, for thumbnails.

    Returns:
        `(H, W)` float32 in [0, 1], displayed grey, and the breast region, `(H, W)` bool, which may be empty.
    """
    pixels = read_mammogram(path, min_side=working_side(Protocol()), for_processing=for_processing).pixels
    scale = min(1.0, longest / max(pixels.shape))
    shape = tuple(max(1, round(side * scale)) for side in pixels.shape)
    region = area_resize(breast_region(pixels).astype(np.float32), shape) > 0.5
    return np.clip(area_resize(pixels, shape), 0.0, 1.0), region


def find_odd(images: pd.DataFrame) -> pd.DataFrame:
    """Every reason to look at an image of `check_images`.

    Returns:
        One row a reason and image, the most odd of a reason first: `reason`, a heading; `image`, the index in
        `images`; `sentence`, what was found, without any identifier.
    """
    read, gone = (images[(images["code"] == "") == is_read] for is_read in (True, False))
    parts = [_listed(f"Rejected: {code.replace('_', ' ')}", rows["reason"]) for code, rows in gone.groupby("code")]
    parts += [_listed(reason, rule(read)) for reason, rule in RULES.items()] if len(read) else []
    return pd.concat([_listed("", pd.Series(dtype=object)), *parts], ignore_index=True)


def with_reasons(images: pd.DataFrame, odd: pd.DataFrame) -> pd.DataFrame:
    """`images` with the column `odd`: all sentences of an image, empty where it is as usual."""
    texts = odd.groupby("image")["sentence"].agg("; ".join) if len(odd) else pd.Series(dtype=object)
    return images.assign(odd=texts.reindex(images.index).fillna(""))


def scanner_distances(images: pd.DataFrame) -> pd.Series:
    """How far each breast's histogram is from the median histogram of its scanner.

    Returns:
        Earth mover's distance in displayed grey, 0 to 1: in one dimension, the area between the cumulative
        distributions; NaN where fewer than 20 images are of the scanner.
    """
    curves = np.cumsum(histograms(images, "breast_histogram"), axis=1)
    distances = pd.Series(np.nan, images.index)
    for places in images.groupby("scanner").indices.values():
        if len(places) >= LEAST_IMAGES:
            median = np.median(curves[places], axis=0)
            distances.iloc[places] = np.abs(curves[places] - median).mean(axis=1)
    return distances


def _listed(reason: str, sentences: pd.Series) -> pd.DataFrame:
    stated = sentences[sentences != ""]
    return pd.DataFrame({"reason": reason, "image": stated.index, "sentence": stated.to_numpy(object)})


def _beyond(measure: pd.Series, sentence: str, low: float = -np.inf, high: float = np.inf) -> pd.Series:
    """The sentence where a measure is out of its range, the farthest first."""
    found = measure[(measure < low) | (measure > high)].astype(float)
    excess = np.maximum(low - found, found - high).sort_values(ascending=False, kind="stable")
    return found.loc[excess.index].map(sentence.format).astype(object)


def _areas(images: pd.DataFrame) -> pd.Series:
    """Areas in cm² where the header tells a spacing, else in pixels."""
    pixels = images["region_share"] * images["rows"].astype(float) * images["columns"].astype(float)
    known = images["breast_cm2"].notna().groupby(images["pair"]).transform("all")
    area = images["breast_cm2"].where(known, pixels)
    by_view = area.groupby([images["pair"], images["view"]]).median().unstack().reindex(columns=["CC", "MLO"])
    ratio = images["pair"].map(by_view["MLO"] / by_view["CC"])
    far = _beyond(np.log2(ratio), "", *np.log2(AREA_RATIO)).index
    return ratio.loc[far].map("the region of its MLO view is {:.2f} times that of its CC view".format).astype(object)


def _unlike_scanner(images: pd.DataFrame) -> pd.Series:
    distance = scanner_distances(images)
    median = distance.groupby(images["scanner"]).transform("median")
    spread = (distance - median).abs().groupby(images["scanner"]).transform("median")
    excess = ((distance - median) / spread.where(spread > 0)).where(spread > 0, 0.0)
    return _beyond(excess, "its greys are {:.1f} median deviations farther than usual from those of its scanner",
                   high=MOST_MADS)


RULES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "Tags contradict each other": lambda images: images["conflicts"],
    "Chest wall not where the tags put it": chest_wall_conflicts,
    "Side or view not as in the manifest": header_conflicts,
    f"Breast region out of {SHARE[0]:.0%} to {SHARE[1]:.0%} of the image": lambda images: _beyond(
        images["region_share"], "the breast region covers {:.1%} of the image", *SHARE),
    "Breast region reaches the edge opposite its chest wall": lambda images: _beyond(
        images["opposite_share"], "the breast region takes {:.1%} of the edge opposite its chest wall",
        high=MOST_OPPOSITE),
    f"More than {MOST_SATURATED:.0%} of the breast is white": lambda images: _beyond(
        images["saturated_share"], "{:.1%} of the breast is white", high=MOST_SATURATED),
    f"Fewer than {LEAST_LEVELS} grey levels": lambda images: _beyond(
        images["grey_levels"].dropna(), "{:.0f} different grey levels", low=LEAST_LEVELS),
    "The two views of a breast differ too much in area": _areas,
    "Greys unlike those of its scanner": _unlike_scanner,
    "Kind of image not known here": lambda images: images["doubts"],
    "The same picture under another patient": lambda images: images["copies"],
}
