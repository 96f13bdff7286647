"""Making a reference for histogram matching: the average distribution of grey over many mammograms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mammorgb_utils.data.batch.workers import map_isolated
from mammorgb_utils.data.cohort import CohortError, select_images
from mammorgb_utils.data.dicom import Mammogram, RejectedImage, one_file
from mammorgb_utils.data.manifest import load_manifest, verify_checksums
from mammorgb_utils.data.preprocess import KNOTS, ReferenceCDF, normalise, read_view, without_objects
from mammorgb_utils.protocol import Protocol


def reference_from_manifest(manifest: Path, protocol: Protocol, name: str, *, progress: bool = True) -> ReferenceCDF:
    """Average the quantile functions of a manifest's training images that the protocol accepts.

    Raises:
        CohortError: No image could be read.
    """
    images = select_images(load_manifest(manifest), protocol)
    images = images[(images["excluded"] == "") & (images["split"] == "train")]
    verify_checksums(images, manifest.parent, progress=progress)
    paths = [manifest.parent / path for path in images["path"]]
    total, n_images = np.zeros(1), 0
    for curves in read_curves(paths, protocol, label="reference", progress=progress):
        total, n_images = total + curves, n_images + 1
    if not n_images:
        raise CohortError("no training image of the manifest could be read, so there is no reference")
    return average_reference([total / n_images], name, n_images)


def read_curves(paths: Sequence[Path], protocol: Protocol, *, label: str, progress: bool) -> Iterator[np.ndarray]:
    """`quantile_curves` of files, `(2, 257)` each; those that can't be read are left out."""
    with closing(map_isolated(partial(_curves, protocol=protocol), paths)) as results:
        for _, found in tqdm(results, total=len(paths), desc=label, unit="image", mininterval=2, disable=not progress):
            if not isinstance(found, RejectedImage):
                yield found


def _curves(path: Path, protocol: Protocol) -> np.ndarray:
    with one_file(path):
        return np.stack(quantile_curves(read_view(path, protocol)))


def quantile_curves(mammogram: Mammogram) -> tuple[np.ndarray, np.ndarray]:
    """Quantile functions of one normalised mammogram: breast, and whole image without labels and borders.

    Returns:
        Two `(257,)` float arrays of intensities at evenly spaced quantiles.
    """
    normalised, region = normalise(mammogram.pixels)
    plain = without_objects(normalised, mammogram.pixels, region)
    return tuple(np.quantile(part, np.linspace(0, 1, KNOTS)) for part in (normalised[region], plain))


def average_reference(curves: Sequence[Sequence[np.ndarray]], name: str, n_images: int = 0) -> ReferenceCDF:
    """Average `quantile_curves`: the barycentre of the distributions, so that no single image decides.

    They stand for `n_images`, by default one each.
    """
    foreground, image = (np.mean([pair[i] for pair in curves], axis=0).astype(np.float32) for i in (0, 1))
    return ReferenceCDF(name, n_images or len(curves), foreground, image)
