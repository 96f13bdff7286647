"""All pairs of a study under one numbering, and the items that a classifier is asked about: a CC beside an MLO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import HELDOUT, TRAIN, load_pairs
from mammorgb_utils.evaluation.anatomy import anatomy, height_over_width
from mammorgb_utils.evaluation.sets import Indexed, StudySets
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run

STRANGERS = 4  # MLO views of like area that every CC is shown beside its own


class Items(NamedTuple):
    """What a classifier learns from or is tested on: `(M,)` rows of the pool for CC and MLO, and `(M,)` bool labels."""

    cc: np.ndarray
    mlo: np.ndarray
    label: np.ndarray

    @classmethod
    def joined(cls, *parts: Items) -> Items:
        """The items of several parts as one."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def repeated(self, times: float, rng: np.random.Generator) -> Items:
        """Every class that many times as often, in an order drawn anew: items come sorted by area."""
        places = [rng.permutation(np.flatnonzero(self.label == label)) for label in (True, False)]
        chosen = np.concatenate([np.resize(part, round(times * len(part))) for part in places])
        return Items(*(column[chosen] for column in self))


@dataclass(frozen=True)
class Pool:
    """Pairs of the sets `train`, `heldout` and of each encoding, numbered through.

    Attributes:
        parts: Set name to `(N, 2, H, W)` float32 in [0, 1], CC first; they stay on disk.
        anatomy: One row a pair of all sets in that order: `set`, `pair`, `patient`, and what `anatomy` measures.
    """

    parts: Mapping[str, np.ndarray]
    anatomy: pd.DataFrame

    @classmethod
    def of(cls, sets: Mapping[str, np.ndarray | Indexed], protocol: Protocol) -> Pool:
        """Take any sets as `StudySets.of` does, and measure them."""
        found = StudySets.of(sets, protocol)
        return cls(found.pairs, found.rows(partial(anatomy, ratio=height_over_width(protocol))))

    @cached_property
    def patients(self) -> np.ndarray:
        """`(N,)` int: whose pair each row is; a synthetic pair is its own patient."""
        return np.unique(self.anatomy["patient"].to_numpy(str), return_inverse=True)[1]

    @cached_property
    def areas(self) -> np.ndarray:
        """`(N,)` fraction of the image that the MLO breast covers; NaN where a view has no mask."""
        return self.anatomy["mlo_area"].where(self.anatomy["cc_area"].notna()).to_numpy(float)

    @cached_property
    def _rows(self) -> Mapping[str, np.ndarray]:
        return {name: places[np.isfinite(self.areas[places])]
                for name, places in self.anatomy.groupby("set", sort=False).indices.items()}

    def rows(self, name: str) -> np.ndarray:
        """The rows of a set whose views both have a mask: of others no area is known."""
        return self._rows[name]

    def views(self, rows: np.ndarray, view: int) -> np.ndarray:
        """`(len(rows), H, W)` float32: CC (0) or MLO (1) views of some rows."""
        size = next(iter(self.parts.values())).shape[2:]
        found, start = np.empty((len(rows), *size), np.float32), 0
        for part in self.parts.values():
            inside = (rows >= start) & (rows < start + len(part))
            found[inside] = part[rows[inside] - start, view]
            start += len(part)
        return found


def study_pool(run: Run) -> Pool:
    """Training and held-out pairs of a study and the synthetic pairs of each encoding; notebook 03 is done."""
    sets = {split: load_pairs(run, split) for split in (TRAIN, HELDOUT)}
    return Pool.of(sets | {name: np.load(run.samples(name), mmap_mode="r") for name in run.encodings()}, run.protocol)


def pairing_items(pool: Pool, cc: np.ndarray, mlo: np.ndarray | None = None) -> Items:
    """Does this MLO belong to this CC: each CC beside its own, and beside strangers' whose area is nearest to it.

    So size, which any two breasts may share, tells nothing.

    Args:
        cc: Rows of the pool.
        mlo: The MLO that counts as each CC's own; by default that of the same row. No stranger is of its patient, nor
            of the CC's.

    Returns:
        Own pairs first; up to `STRANGERS` strangers a CC, fewer where there aren't so many.
    """
    mlo = cc if mlo is None else mlo
    order = np.argsort(pool.areas[mlo], kind="stable")
    cc, mlo, patients = cc[order], mlo[order], pool.patients
    steps = np.stack([np.arange(1, 2 * STRANGERS + 1), -np.arange(1, 2 * STRANGERS + 1)], axis=1).ravel()
    places = np.arange(len(cc))[:, None] + steps
    inside = (places >= 0) & (places < len(cc))
    others = mlo[np.clip(places, 0, max(len(cc) - 1, 0))]
    usable = inside & (patients[others] != patients[cc][:, None]) & (patients[others] != patients[mlo][:, None])
    usable &= np.cumsum(usable, axis=1) <= STRANGERS
    beside = np.nonzero(usable)
    label = np.arange(len(cc) + len(beside[0])) < len(cc)
    return Items(np.concatenate([cc, cc[beside[0]]]), np.concatenate([mlo, others[beside]]), label)


def label_items(rows: np.ndarray, label: np.ndarray) -> Items:
    """Whole pairs with a label each."""
    return Items(rows, rows, label.astype(bool))
