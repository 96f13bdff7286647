"""Views of breasts whose other view is missing, brought to what a study's model sees, or refused with the reason."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mammorgb_utils.data.batch.workers import map_isolated
from mammorgb_utils.data.breast_region import chest_wall_side, unlike_a_breast
from mammorgb_utils.data.cohort import record_outcome, select_images
from mammorgb_utils.data.dicom import RejectedImage
from mammorgb_utils.data.manifest import load_manifest, verify_checksums
from mammorgb_utils.data.orientation import is_upside_down
from mammorgb_utils.data.pair_folder import at_size, read_png, view_files
from mammorgb_utils.data.pairs import AIR, one_view
from mammorgb_utils.data.preprocess import KNOTS, ReferenceCDF, load_reference_cdf
from mammorgb_utils.data.synthetic import REASON, is_synthetic
from mammorgb_utils.protocol import Protocol

_UNLIKE = 0.03  # grey, mean over quantiles: matched views were up to 0.026 from their reference, others mostly farther


class LoneViewError(ValueError):
    """Views can't be completed; the message says which, why and what to do."""


@dataclass(frozen=True)
class LoneViews:
    """One view each of some breasts.

    Attributes:
        names: Of the breasts, fit for file names.
        views: `CC` or `MLO` of each.
        pictures: `(n, H, W)` float32 in [0, 1], as the study's model sees them.
        left_out: Reason to number of images or breasts that aren't among them.
        is_phantom: Whether all are known to be nobody's.
    """

    names: list[str]
    views: list[str]
    pictures: np.ndarray
    left_out: Counter
    is_phantom: bool


def lone_views(source: Path, protocol: Protocol, *, resize: bool = False, progress: bool = True) -> LoneViews:
    """Read the views of breasts whose other view is missing.

    Args:
        source: A manifest, whose images are chosen, read and preprocessed as the protocol says; or a folder of
            `<name>_CC.png` or `<name>_MLO.png` of the study's size, as its own preprocessing gives them.
        protocol: The study's.
        resize: Bring a folder's views of another size to the study's.
        progress: Whether to show a progress bar.

    Raises:
        ManifestError: The manifest or a file that it names isn't as stated.
        LoneViewError, PairFolderError: There is none, a name fits no file, or a view in a folder isn't turned,
            matched or sized as the study's.
    """
    reference = load_reference_cdf(protocol)
    found = _from_folder(source, protocol, reference, resize) if source.is_dir() else _from_manifest(
        source, protocol, reference, progress)
    if not found.names:
        reasons = "".join(f"; {count} × {reason}" for reason, count in sorted(found.left_out.items()))
        raise LoneViewError(f"{source.name}: no breast of which one view alone can be used{reasons}")
    if wrong := [name for name in found.names if not re.fullmatch(r"\w[\w.-]*", name)]:
        raise LoneViewError(f"{source.name}: pair {wrong[0]!r} names no file; use letters, digits, '.', '_' and '-'")
    return found


def _from_manifest(source: Path, protocol: Protocol, reference: ReferenceCDF, progress: bool) -> LoneViews:
    images = record_outcome(select_images(load_manifest(source, both_views=False), protocol), {}, protocol)
    lone = images[images["excluded"] == "missing view"]
    left_out = Counter(images.loc[~images.index.isin(lone.index), "excluded"].replace("", "view that has its partner"))
    verify_checksums(lone, source.parent, progress=progress)
    work = partial(one_view, reference=reference, protocol=protocol)
    kept, pictures = [], []
    with closing(map_isolated(work, [source.parent / path for path in lone["path"]])) as results:
        for row, (_, result) in tqdm(zip(lone.index, results, strict=True), desc="preprocess", unit="image",
                                     total=len(lone), disable=not progress):
            fault = result.code.replace("_", " ") if isinstance(result, RejectedImage) else _fault(
                result[0], lone.at[row, "view"], protocol, reference)
            if fault:
                left_out[fault] += 1
            else:
                kept.append(row)
                pictures.append(result[0])
    lone = lone.loc[kept]
    return LoneViews(list(lone["pair"]), list(lone["view"]), np.array(pictures, np.float32), left_out,
                     set(lone["source"]) == {"phantom"})


def _from_folder(source: Path, protocol: Protocol, reference: ReferenceCDF, resize: bool) -> LoneViews:
    found = view_files(source)
    lone = {name: next(iter(views.items())) for name, views in found.items() if len(views) == 1}
    left_out = Counter({"view that has its partner": 2 * (len(found) - len(lone))} if len(found) > len(lone) else {})
    if not lone:
        return LoneViews([], [], np.zeros(0), left_out, False)
    pictures = at_size([[read_png(file)] for _, file in lone.values()], protocol.image_size, resize)[:, 0]
    faults = {file.name: REASON if is_synthetic(file) else _fault(picture, view, protocol, reference)
              for picture, (view, file) in zip(pictures, lone.values(), strict=True)}
    if wrong := {name: fault for name, fault in faults.items() if fault}:
        name, fault = next(iter(wrong.items()))
        raise LoneViewError(f"{source.name}: {len(wrong)} of {len(lone)} views can't be completed, such as {name}: "
                            f"{fault}. Give views as this study's own preprocessing makes them, or a manifest of the "
                            "images, which are then preprocessed so")
    return LoneViews(list(lone), [view for view, _ in lone.values()], pictures, left_out, False)


def _fault(picture: np.ndarray, view: str, protocol: Protocol, reference: ReferenceCDF) -> str:
    """Why a finished view isn't turned or matched as the study's; empty where nothing tells against it.

    Matching of the whole image, and none at all, leave no distribution by which they could be known.
    """
    region = picture > AIR
    if unlike := unlike_a_breast(region):
        return unlike
    if protocol.mirror and chest_wall_side(region) != "left":
        return "its chest wall is on the right, the study's is on the left"
    if view == "MLO" and is_upside_down(picture, region):
        return "its muscle lies below: it is upside down"
    if protocol.match_scope == "foreground":
        found = np.quantile(picture[region], np.linspace(0.0, 1.0, KNOTS))
        if np.abs(found - reference.foreground).mean() > _UNLIKE:
            return "its grey levels aren't matched to the study's reference"
    return ""
