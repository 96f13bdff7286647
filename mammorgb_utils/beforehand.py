"""What manifest, profile, base and disk tell about a study before its first notebook: all faults at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from mammorgb_utils.data.cohort import CohortError, pair_rows, record_outcome, require_pairs, select_images
from mammorgb_utils.data.preprocess import load_reference_cdf
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import RunError

_LEAST = 3  # pairs of a set, and patients, below which no test says anything
_CHECKPOINT = 4  # times a base's weights in fp32: weights, average and two moments
_COPIES = _CHECKPOINT + 6  # that a training leaves: also its model and five on the way
_GB = 1e9


def require_feasible(protocol: Protocol, manifest: pd.DataFrame | None, root: Path) -> None:
    """Refuse, with one `RunError`, a study that would fail after hours; pixels may still leave out more images.

    Args:
        protocol: The study's.
        manifest: Of `load_manifest`; None where phantoms will be made, half of them for training.
        root: The run folder; what is there already is taken for done.
    """
    faults = list(_faults(protocol, manifest, root))
    if faults:
        raise RunError("nothing was computed: " + "; ".join(faults) if len(faults) == 1 else
                       f"nothing was computed, {len(faults)} faults:\n" + "\n".join(f"- {fault}" for fault in faults))


def _faults(protocol: Protocol, manifest: pd.DataFrame | None, root: Path) -> Iterator[str]:
    n_pairs = protocol.phantom_pairs
    try:
        index = _expected_pairs(protocol, manifest)
        n_pairs = len(index)
        yield from _too_small(protocol, index)
        if manifest is not None and protocol.condition == "density":
            yield from _unlearnable(index)
    except CohortError as error:
        yield str(error)
    try:
        load_reference_cdf(protocol)
    except (ValueError, OSError) as error:
        yield str(error)
    weights = 0
    if not all((root / "models" / name / "model_index.json").is_file() for name in protocol.encodings):
        from mammorgb_utils.diffusion.engine.base import base_weights  # torch takes seconds

        try:
            with safe_open(base_weights(protocol.base_model, protocol.image_size), framework="numpy") as stored:
                weights = 4 * sum(prod(stored.get_slice(name).get_shape()) for name in stored.keys())
        except (ValueError, OSError) as error:
            yield str(error)
        except SafetensorError as error:
            yield f"base_model {protocol.base_model!r}: its weights can't be read ({error}); fetch it again"
    yield from _too_large(protocol, n_pairs, weights, root)


def _expected_pairs(protocol: Protocol, manifest: pd.DataFrame | None) -> pd.DataFrame:
    """A row a pair: its split and patient."""
    if manifest is None:
        numbers = pd.RangeIndex(protocol.phantom_pairs)
        return pd.DataFrame({"split": np.where(numbers % 2, "heldout", "train"), "patient": numbers})
    images = record_outcome(select_images(manifest, protocol), {}, protocol)
    index = pair_rows(images)[0]
    require_pairs(index, images)
    return index


def _too_small(protocol: Protocol, index: pd.DataFrame) -> Iterator[str]:
    """Splits and sets that a batch or a test can't be made of."""
    train = int((index["split"] == "train").sum())
    if train < protocol.batch_size:
        yield (f"batch_size is {protocol.batch_size}, and the cohort has {train} training pairs; lower batch_size, "
               "or give more patients to the split train")
    real = index if protocol.real_split == "all" else index[index["split"] == protocol.real_split]
    patients = min(real["patient"].nunique(), protocol.n_real or len(real))
    sets = {"patients of the real pairs (real_split, n_real)": patients, "n_synthetic": protocol.n_synthetic}
    for name, number in sets.items():
        if number < _LEAST:
            yield f"{name}: {number}; at least {_LEAST} are needed for any test, and hundreds for one with power"


def _unlearnable(index: pd.DataFrame) -> Iterator[str]:
    """Grades of density that a training can't be given."""
    from mammorgb_utils.diffusion.conditioning import FEWEST, fault_of  # torch takes seconds

    if "density" not in index:
        yield ("condition is density, and the manifest has no column density; add it, A to D (for phantoms "
               "`mammorgb phantom --overwrite` does), or set condition to none")
    elif fault := fault_of(index.loc[index["split"] == "train", "density"]):
        yield (f"condition is density, and the manifest's training pairs have, of a grade, too few: {fault}; at least "
               f"{FEWEST} of each are needed: add pairs, leave the density of rare grades empty, or set condition to "
               "none")


def _too_large(protocol: Protocol, n_pairs: int, weights: int, root: Path) -> Iterator[str]:
    """A study that the disk hasn't room for, as far as it isn't there already."""
    view, names = 4 * protocol.image_size ** 2, protocol.encodings
    missing = sum(not (root / "samples" / name / "pairs.npy").is_file() for name in names)
    views = 3 * missing * protocol.n_synthetic  # below: pairs lie there twice while they are written
    views += 0 if (root / "pairs" / "pairs.npy").is_file() else 4 * n_pairs
    needed = (len(names) * _COPIES + _CHECKPOINT) * weights + views * view
    existing = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if needed > free:
        yield (f"the disk of runs/ has {free / _GB:.1f} GB free, and pairs, models and samples take about "
               f"{needed / _GB:.1f} GB; make room")
