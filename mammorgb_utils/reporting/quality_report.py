"""The quality report of a checked manifest: a table and one self-contained page, for whoever holds the archive."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from mammorgb_utils.data.batch.workers import map_isolated
from mammorgb_utils.data.dicom import RejectedImage
from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.data.quality import check_images, find_odd, histograms, picture, with_reasons
from mammorgb_utils.output.pages import data_uri, figure_uri, write_page
from mammorgb_utils.output.style import BAND, COLOURS, QUIET, new_figure, styled
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import atomic_path, write_csv

_A_REASON, _IN_ALL = 12, 120  # thumbnails
_LONGEST = 240  # px of a thumbnail
_KINDS, _CHARTS = 40, 12  # rows and figures before the rest is counted
_KIND = {"scanner": "Scanner", "transfer_syntax": "Transfer syntax", "photometric": "Photometric", "bits": "Bits",
         "voi": "VOI", "voi_choices": "Choices"}
OUTLINE = (255, 140, 0)
_GREYS = 255  # of a thumbnail's palette; the last colour is the outline's
_WARNING = ("Made from patients' images: thumbnails are patient data, and names may be burnt into them. The table has "
            "pseudonyms, but a row for every image of the archive.\n")


def quality_folder(manifest: Path) -> Path:
    """Where a manifest's report goes: beside it, ignored by git."""
    return manifest.with_name(f"{manifest.stem}_quality")


def report_quality(manifest: Path, protocol: Protocol, *, progress: bool = True) -> list[str]:
    """Read every image of a manifest and write `quality.csv`, `report.html` and `DO_NOT_SHARE.txt` beside it.

    Images that are rejected or odd don't stop the check; a killed call continues. Returns sentences for the terminal:
    counts, and no name, identifier, date or path.
    """
    images = check_images(manifest, protocol, progress=progress)
    odd = find_odd(images)
    folder = quality_folder(manifest)
    for name, text in ((".gitignore", "*\n"), ("DO_NOT_SHARE.txt", _WARNING)):  # before the first thumbnail
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    table = with_reasons(images, odd).drop(columns=["breast_histogram", "image_histogram"])
    write_csv(folder / "quality.csv", table)
    chosen = examples(images, odd)
    paths = load_manifest(manifest, both_views=False)["path"].map(lambda path: manifest.parent / path)
    pictures = _pictures(paths[sorted(set(chosen["image"]))], protocol, progress)
    write_page(folder / "report.html", "quality.html", **page_content(images, odd, chosen, pictures))
    return [f"{row['reason']}: {row['images']} ({row['share']})" for row in _reasons(images, odd)]


def examples(images: pd.DataFrame, odd: pd.DataFrame) -> pd.DataFrame:
    """The rows of `odd` that get a thumbnail: the first of each reason, in turns, until the page is full."""
    visible = odd[odd["image"].map(images["code"]).isin(["", "no_breast"])]
    turn = visible.groupby("reason").cumcount()
    return visible[turn < _A_REASON].assign(turn=turn).sort_values("turn", kind="stable").head(_IN_ALL).sort_index()


def _pictures(paths: pd.Series, protocol: Protocol, progress: bool) -> dict[int, str]:
    """Data URIs of the images that can be shown."""
    work = partial(picture, longest=_LONGEST, for_processing=protocol.for_processing)
    with closing(map_isolated(work, paths)) as results:
        shown = tqdm(results, total=len(paths), desc="thumbnails", unit="image", mininterval=2,
                     disable=None if progress else True)
        return {row: data_uri("image/png", thumbnail(*result))
                for row, (_, result) in zip(paths.index, shown, strict=True) if not isinstance(result, RejectedImage)}


def thumbnail(pixels: np.ndarray, region: np.ndarray) -> bytes:
    """PNG in a palette of greys and one colour for the region's outline; no metadata."""
    values = (pixels * (_GREYS - 1) + 0.5).astype(np.uint8)
    inner = np.pad(region, 1)
    inner = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    values[region & ~inner] = _GREYS
    image = Image.fromarray(values)
    image.putpalette([*np.repeat(np.linspace(0, 255, _GREYS).round().astype(int), 3).tolist(), *OUTLINE])
    buffer = BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def page_content(images: pd.DataFrame, odd: pd.DataFrame, chosen: pd.DataFrame,
                 pictures: dict[int, str]) -> dict[str, Any]:
    """What `quality.html` shows: counts, kinds of images, histograms, and thumbnails by their URI."""
    rejected = images["code"] != ""
    charts, more = _charts(images[~rejected])
    return {"n_images": len(images), "n_read": int((~rejected).sum()), "n_rejected": int(rejected.sum()),
            "n_look": int((images.index.isin(odd["image"]) & ~rejected).sum()),
            "sources": ", ".join(sorted(set(images["source"]))), "reasons": _reasons(images, odd),
            "kinds": _kinds(images, odd), "charts": charts, "more_charts": more,
            "groups": _groups(images, odd, chosen, pictures)}


def _reasons(images: pd.DataFrame, odd: pd.DataFrame) -> list[dict[str, Any]]:
    """Counts by reason, then of images with none and of all."""
    counts = odd.groupby("reason", sort=False)["image"].nunique()
    totals = {"Nothing to look at": len(images) - odd["image"].nunique(), "All images": len(images)}
    return [{"reason": reason, "images": int(count), "share": f"{count / len(images):.1%}", "total": total}
            for part, total in ((counts.to_dict(), False), (totals, True)) for reason, count in part.items()]


def _kinds(images: pd.DataFrame, odd: pd.DataFrame) -> dict[str, Any]:
    """Images by scanner and coding, the most frequent kind first."""
    table = images[list(_KIND)].astype("string").fillna("").replace("", "unknown")
    table = table.assign(images=1, rejected=images["code"].ne("").astype(int),
                         look=(images.index.isin(odd["image"]) & images["code"].eq("")).astype(int))
    counts = table.groupby(list(_KIND)).sum().sort_values("images", ascending=False, kind="stable").reset_index()
    rows = [{"cells": list(row[:len(_KIND)]), "images": row[-3], "rejected": row[-2], "look": row[-1]}
            for row in counts.head(_KINDS).itertuples(index=False, name=None)]
    return {"columns": list(_KIND.values()), "rows": rows, "more": max(0, len(counts) - _KINDS)}


def _charts(read: pd.DataFrame) -> tuple[list[dict[str, Any]], int]:
    """A figure a scanner, those with the most images first, and how many scanners have none."""
    scanners = read["scanner"].value_counts()
    charts = []
    for scanner, count in scanners.head(_CHARTS).items():
        rows = read[read["scanner"] == scanner]
        figure = scanner_intensities(histograms(rows, "breast_histogram"), histograms(rows, "image_histogram"))
        charts.append({"scanner": scanner, "images": count, "uri": figure_uri(figure),
                       "alt": f"Histogram of displayed greys of {count} images of {scanner}: breast and whole image"})
    return charts, max(0, len(scanners) - _CHARTS)


@styled
def scanner_intensities(breast: np.ndarray, image: np.ndarray) -> Figure:
    """Median histograms of one scanner's breasts, with their 5th to 95th percentile, and of its whole images.

    `breast` and `image` hold `(N, B)` shares of the pixels by displayed grey; the peak of air is cut off.
    """
    figure = new_figure(65.0, 40.0)  # mm; shown at 1.4 times this, so that the text is of a page's size
    axes, scale = figure.subplots(), breast.shape[1]
    grey = (np.arange(scale) + 0.5) / scale
    low, median, high = np.percentile(breast * scale, [5, 50, 95], axis=0)
    axes.fill_between(grey, low, high, color=BAND, linewidth=0, label="90 % of breasts")
    axes.plot(grey, median, color=COLOURS["sum"], label="Breast, median")
    axes.plot(grey, np.median(image * scale, axis=0), color=QUIET, linestyle=(0, (3, 1.5)), label="Image, median")
    axes.set(xlim=(0, 1), ylim=(0, max(1.05 * float(high.max()), 1e-3)), xlabel="Displayed grey, black to white",
             ylabel="Pixels per 0.01 [%]")
    axes.legend(loc="upper right", handlelength=1.5)
    return figure


def _groups(images: pd.DataFrame, odd: pd.DataFrame, chosen: pd.DataFrame,
            pictures: dict[int, str]) -> list[dict[str, Any]]:
    """For each reason its thumbnails, a list of images that can't be shown, and how many are left out."""
    groups = []
    for reason, rows in odd.groupby("reason", sort=False):
        items = [_item(images.loc[row.image], row, pictures)
                 for row in rows[rows.index.isin(chosen.index)].itertuples() if row.image in pictures]
        lines = [] if items else [_item(images.loc[row.image], row, {}) for row in rows.head(_A_REASON).itertuples()]
        groups.append({"reason": reason, "images": len(rows), "thumbnails": items, "lines": lines,
                       "more": len(rows) - len(items) - len(lines)})
    return groups


def _item(image: pd.Series, found: Any, pictures: dict[int, str]) -> dict[str, Any]:
    name = f"{image['pair']} {image['view']}"
    return {"name": name, "sentence": found.sentence, "row": image["row"], "uri": pictures.get(found.image),
            "alt": f"{name}, the breast outlined: {found.sentence}"}
