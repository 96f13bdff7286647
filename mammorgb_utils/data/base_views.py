"""The phantom views that the small base model learns from, and how to tell that they are still the same."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mammorgb_utils.data.dicom import Mammogram
from mammorgb_utils.data.geometry import area_resize
from mammorgb_utils.data.phantom import BASE_STREAM, Breast, make_breast, render_view
from mammorgb_utils.data.preprocess import ReferenceCDF, load_reference_cdf, preprocess_view
from mammorgb_utils.protocol import VIEWS, Protocol
from mammorgb_utils.runs import write_array

HELDOUT_BREASTS = 144  # the last ones of the base's phantoms: never learned from, to measure what was learned
_FINGERPRINT_BREASTS = 4
_FINGERPRINT_SIDE = 8  # blocks a side: coarse enough to survive another CPU's rounding


def base_views(n_breasts: int, seed: int, protocol: Protocol, *, cache: Path | None = None) -> np.ndarray:
    """Preprocess both views of phantoms from the base stream, which no cohort shares; `seed` begins each one's seed.

    Returns:
        `(2 * n_breasts, H, W)` float32 in [0, 1], CC and MLO in turn; written to the `.npy` `cache` once, and loaded
        from then on.
    """
    if cache is not None and cache.is_file():
        views = np.load(cache, mmap_mode="r")
        if len(views) != 2 * n_breasts:
            raise ValueError(f"{cache.name} holds {len(views) // 2} breasts, {n_breasts} are asked for; remove it")
        return views
    work = partial(_both_views, seed=seed, protocol=protocol)
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        done = pool.map(work, range(n_breasts), chunksize=8)
        views = np.concatenate(list(tqdm(done, total=n_breasts, desc="base phantoms", unit="breast", mininterval=2)))
    if cache is not None:
        write_array(cache, views)
    return views


def fingerprint(seed: int, protocol: Protocol) -> dict[str, list]:
    """The seed and, of the first few preprocessed base `views`, 8 × 8 block means in [0, 1] to 4 decimals.

    A change of phantom or preprocessing that a model could notice moves them by far more than a machine's rounding.
    """
    views = np.concatenate([_both_views(case, seed=seed, protocol=protocol) for case in range(_FINGERPRINT_BREASTS)])
    blocks = [area_resize(view, (_FINGERPRINT_SIDE,) * 2) for view in views]
    return {"seed": seed, "views": [[round(float(v), 4) for v in block.ravel()] for block in blocks]}


def phantom_view(breast: Breast, view: str, reference: ReferenceCDF, protocol: Protocol) -> np.ndarray:
    """A phantom's CC or MLO view as the model sees it, without the way through a file: as `preprocess_view`."""
    pixels = render_view(breast, view).astype(np.float32)
    mammogram = Mammogram(pixels, breast.laterality, view, False, None, "MONOCHROME2", False, "none")
    return preprocess_view(mammogram, reference, protocol)


def _both_views(case: int, *, seed: int, protocol: Protocol) -> np.ndarray:
    breast, reference = make_breast((seed, BASE_STREAM, case)), load_reference_cdf(protocol)
    return np.stack([phantom_view(breast, view, reference, protocol) for view in VIEWS])
