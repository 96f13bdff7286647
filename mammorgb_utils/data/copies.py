"""The same picture in two files, whatever they wrap it in: told by what is seen, not by a file's bytes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from mammorgb_utils.data.geometry import area_resize

_SIDE, _COARSE = 16, 4  # blocks a side of a print, and of what is searched
_NEAR = 2  # of 255: what lossy coding, fewer bits or a lower resolution move a block by; two breasts differ by tens


def fingerprint(view: np.ndarray) -> str:
    """Block means of a normalised view in [0, 1], chest wall on the left, as 512 hex digits."""
    blocks = area_resize(view, (_SIDE, _SIDE)) * 255
    return np.rint(np.clip(blocks, 0, 255)).astype(np.uint8).tobytes().hex()


def same_pictures(prints: pd.Series) -> pd.Series:
    """A number an image, the same for images that show the same.

    Args:
        prints: Of `fingerprint`; images without one, which is empty, are left out.
    """
    prints = prints[prints != ""]
    if prints.empty:
        return pd.Series(dtype=int)
    known, place = np.unique(prints.to_numpy(str), return_inverse=True)
    values = np.frombuffer(bytes.fromhex("".join(known)), np.uint8).reshape(len(known), -1).astype(np.int16)
    step = _SIDE // _COARSE
    coarse = values.reshape(-1, _COARSE, step, _COARSE, step).mean(axis=(2, 4)).reshape(len(known), -1)
    near = KDTree(coarse).query_pairs(_NEAR, p=np.inf, output_type="ndarray")
    near = near[np.abs(values[near[:, 0]] - values[near[:, 1]]).max(axis=1, initial=0) <= _NEAR]
    links = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(len(known), len(known)))
    return pd.Series(connected_components(links, directed=False)[1][place], prints.index)


def of_other_patients(images: pd.DataFrame, prints: pd.Series) -> pd.DataFrame:
    """Images that show what an earlier image of another patient shows.

    Args:
        images: With `patient`, in the manifest's order.
        prints: Of `fingerprint`, empty where an image has none.

    Returns:
        One row such an image, indexed as `images`: `first`, the index of the earliest image of its picture.
    """
    group = same_pictures(prints)
    first = pd.Series(group.index, group.index).groupby(group).transform("min")
    patient = images["patient"]
    other = patient[first.to_numpy()].to_numpy() != patient[first.index].to_numpy()
    return pd.DataFrame({"first": first[other]})
