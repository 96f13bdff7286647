"""From one mammogram to one normalised view: chest wall left, matched to a reference, area-averaged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammorgb_utils.data import breast_region as regions
from mammorgb_utils.data.dicom import Mammogram, RejectedImage, read_mammogram
from mammorgb_utils.data.geometry import area_resize, inner, pad_to_square
from mammorgb_utils.data.grey_scale import air_is_bright
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, sha256, write_json

_LEVELS = 4096  # grey levels that the matching tells apart
KNOTS = 257  # quantiles that a stored reference holds


@dataclass(frozen=True)
class ReferenceCDF:
    """What histogram matching aims at: quantile functions of breast and of whole image.

    Attributes:
        name: Which images it was taken from.
        n_images: How many.
        sha256: Of the stored file; empty before it is saved.
        foreground, image: `(257,)` float32, intensities in [0, 1] at evenly spaced quantiles.
    """

    name: str
    n_images: int
    foreground: np.ndarray
    image: np.ndarray
    sha256: str = ""

    def save(self, path: str | Path) -> None:
        """Write the reference as JSON, atomically."""
        curves = {key: [round(float(v), 6) for v in getattr(self, key)] for key in ("foreground", "image")}
        write_json(Path(path), {"name": self.name, "n_images": self.n_images, **curves})


def load_reference_cdf(protocol: Protocol) -> ReferenceCDF:
    """The reference that the protocol names: a packaged one, or a file of `mammorgb reference-cdf`.

    Raises:
        FileNotFoundError: There is no such reference.
        ValueError: The file isn't a reference.
    """
    name = protocol.reference_cdf
    path = Path(__file__).parent / f"reference_cdf_{name}.json"
    path = path if path.is_file() else PROJECT_ROOT / name
    if not path.is_file():
        raise FileNotFoundError(f"reference_cdf: {name!r} is neither packaged nor a file; make one with "
                                "`mammorgb reference-cdf MANIFEST OUT` and give its path")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        curves = {key: np.asarray(stored[key], np.float32) for key in ("foreground", "image")}
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: not a reference CDF; write it anew with `mammorgb reference-cdf`") from error
    if any(c.shape != (KNOTS,) or np.any(np.diff(c) < 0) for c in curves.values()):
        raise ValueError(f"{path.name}: its curves must be {KNOTS} ascending intensities; write it anew")
    return ReferenceCDF(str(stored["name"]), int(stored["n_images"]), **curves, sha256=sha256(path))


def working_side(protocol: Protocol) -> int:
    """Shorter side that whole cohorts are read with at least, `min_side` of `read_mammogram` [px].

    The breast region is found on at most 512 px; a view that is averaged from twice its size shows no difference.
    """
    return max(512, 2 * protocol.image_size)


def read_view(path: str | Path, protocol: Protocol) -> Mammogram:
    """Read a mammogram as every stage of a study does: `for_processing` decides, at most averaged to `working_side`."""
    return read_mammogram(path, min_side=working_side(protocol), for_processing=protocol.for_processing)


def preprocess_view(mammogram: Mammogram, reference_cdf: ReferenceCDF, protocol: Protocol) -> np.ndarray:
    """One view as the model sees it.

    Args:
        mammogram: As read, chest wall on either side.
        reference_cdf: What `protocol.match_scope` is matched to.
        protocol: `mirror`, `match_scope`, `aspect` and `image_size` decide.

    Returns:
        `(image_size, image_size)` float32 in [0, 1], 0 = air, chest wall on the left.

    Raises:
        RejectedImage: There is no breast in it (code `no_breast`).
    """
    return preprocessing_steps(mammogram, reference_cdf, protocol)["resized"]


def preprocessing_steps(mammogram: Mammogram, reference_cdf: ReferenceCDF, protocol: Protocol) -> dict[str, np.ndarray]:
    """All stages of `preprocess_view`, by name, in order: decoded, normalised, chest wall left, matched, resized."""
    normalised, region = normalise(mammogram.pixels)
    leftward = np.s_[:, ::-1] if protocol.mirror and regions.chest_wall_side(region) == "right" else np.s_[:]
    upright, breast = normalised[leftward], region[leftward]
    if protocol.match_scope == "image":
        plain = without_objects(normalised, mammogram.pixels, region)[leftward]
        matched = match_histogram(plain, plain.ravel(), reference_cdf.image)
    elif protocol.match_scope == "foreground":
        matched = np.where(breast, match_histogram(upright, upright[breast], reference_cdf.foreground), np.float32(0))
    else:
        matched = np.where(breast, upright, np.float32(0))
    columns = np.flatnonzero(breast.any(axis=0))  # those behind the breast, where a film's border was, are cut off
    matched = matched[:, columns[0]:] if regions.chest_wall_side(breast) == "left" else matched[:, :columns[-1] + 1]
    return {"decoded": mammogram.pixels, "normalised": normalised, "chest wall left": upright,
            "matched": matched, "resized": frame_view(matched, protocol)}


def frame_view(matched: np.ndarray, protocol: Protocol) -> np.ndarray:
    """A matched `(H, W)` view on the study's square; `aspect`, `match_scope` and `image_size` decide."""
    if protocol.aspect == "pad":
        # Whole-image matching turns air grey: padding with black would draw the picture's frame.
        far = matched[:, -max(1, matched.shape[1] // 50):]
        matched = pad_to_square(matched, float(np.median(far)) if protocol.match_scope == "image" else 0.0)
    return np.clip(area_resize(matched, (protocol.image_size,) * 2), 0.0, 1.0)


def normalise(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stretch air to 0 and the breast's 99.9th percentile to 1; the view, and the breast region, `(H, W)` bool.

    Raises:
        RejectedImage: No breast stands out from the background, or what does can't be one; the reason tells which.
    """
    region = regions.breast_region(pixels)
    if reason := regions.unlike_a_breast(region):
        raise RejectedImage(Path(), "no_breast", reason)
    if _is_inverted(pixels):
        raise RejectedImage(Path(), "inverted", "its air is brighter than its breast: its grey scale is turned over")
    low, high = regions.air_level(pixels, region), float(np.percentile(pixels[region], 99.9))
    scaled = (pixels - np.float32(low)) / np.float32(max(high - low, 1e-6))
    return np.clip(scaled, 0.0, 1.0).astype(np.float32, copy=False), region


def _is_inverted(pixels: np.ndarray) -> bool:
    """Whether air is bright within whatever black frame, and what stands out there frames the picture, as air does."""
    within = pixels[inner(pixels == pixels.min())]
    region = regions.breast_region(within) if air_is_bright(within) else None
    return region is not None and regions.frames_the_picture(region)


def without_objects(normalised: np.ndarray, pixels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Labels and borders become air, so that the whole image's histogram is breast and air; air stays as recorded."""
    return np.where(regions.foreign_objects(pixels, region), np.float32(0), normalised)


def match_histogram(view: np.ndarray, sample: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Send each intensity of `view` to the reference's intensity at its rank within `sample`, all in [0, 1].

    `quantiles` are the reference's at evenly spaced ranks from 0 to 1. Ties share the rank of their upper end, as in
    skimage's `match_histograms`.
    """
    counts = np.bincount((sample * (_LEVELS - 1) + 0.5).astype(np.int32).ravel(), minlength=_LEVELS)
    rank = np.cumsum(counts) / max(sample.size, 1)
    table = np.interp(rank, np.linspace(0, 1, quantiles.size), quantiles).astype(np.float32)
    return table[(view * (_LEVELS - 1) + 0.5).astype(np.int32)]
