"""The sets of pairs that one evaluation compares, and the overlap of their masks, a row a pair.

Notebook 04, A2, `mammorgb score` and the trials of appendices build one `StudySets` and call the same functions, so
that a candidate or a trial's pairs are a set like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import HELDOUT, TRAIN, load_pairs, real_pairs
from mammorgb_utils.evaluation.consistency import NEAREST_AREA, nearest_area_overlap, shuffled_overlap
from mammorgb_utils.evaluation.overlap import PairMasks, pair_masks, pair_metrics, plausible
from mammorgb_utils.evaluation.threads import on_every_core
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run

REAL = "real"  # the set that the others are compared with
_LABELS = ["set", "pair", "patient"]
Indexed = tuple[np.ndarray, pd.DataFrame]  # pairs, and row by row their `pair` and `patient`


@dataclass(frozen=True)
class StudySets:
    """Sets of pairs by name, with the masks that every measure works on.

    Attributes:
        pairs: `(N, 2, H, W)` float32 in [0, 1] of each set, CC first, chest wall on the left.
        masks: Of these pairs, by the protocol's method.
        index: Row by row `pair`, `patient` and what else is known of each set.
        protocol: The study's.
        train, heldout: Training pairs and pairs held out of training with their index; no rows where there are none.
    """

    pairs: dict[str, np.ndarray]
    masks: dict[str, PairMasks]
    index: dict[str, pd.DataFrame]
    protocol: Protocol
    train: Indexed
    heldout: Indexed

    @classmethod
    def of(cls, sets: Mapping[str, np.ndarray | Indexed], protocol: Protocol, *,
           train: np.ndarray | Indexed | None = None, heldout: Indexed | None = None) -> StudySets:
        """Take any sets, and find their masks.

        Args:
            sets: By name `(N, 2, H, W)` float in [0, 1]; or these and their index. Pairs without an index are numbered,
                and each is its own patient.
            protocol: Gives the mask method, the shufflings and their seed.
            train, heldout: For what `beyond` measures.
        """
        pairs, index = ({name: indexed(name, given)[part] for name, given in sets.items()} for part in (0, 1))
        masks = {name: pair_masks(views, protocol.mask_method) for name, views in pairs.items()}
        empty = np.zeros((0, 2, protocol.image_size, protocol.image_size), np.float32)
        others = (indexed(name, empty if given is None else given)
                  for name, given in ((TRAIN, train), (HELDOUT, heldout)))
        return cls(pairs, masks, index, protocol, *others)

    def with_set(self, name: str, pairs: np.ndarray, index: pd.DataFrame | None = None) -> StudySets:
        """These and one set more, as `of` takes it; only its masks are made."""
        more = StudySets.of({name: pairs if index is None else (pairs, index)}, self.protocol)
        return replace(self, **{part: getattr(self, part) | getattr(more, part)
                                for part in ("pairs", "masks", "index")})

    @property
    def patients(self) -> dict[str, np.ndarray]:
        """`(N,)` text: whose pairs they are."""
        return {name: index["patient"].to_numpy() for name, index in self.index.items()}

    @property
    def source(self) -> str:
        """Where the real pairs come from, as the manifest says."""
        return "/".join(sorted(set(self.index[REAL]["source"])))

    def labelled(self, name: str, rows: pd.DataFrame) -> pd.DataFrame:
        """A table of a row a pair of one set, with `set`, `pair` and `patient`."""
        index = self.index[name]
        return rows.assign(set=name, pair=index["pair"].to_numpy(), patient=index["patient"].to_numpy())

    def rows(self, measure: Callable[[np.ndarray, PairMasks], pd.DataFrame]) -> pd.DataFrame:
        """What a measure of pairs and their masks gives for every set, with `set`, `pair` and `patient`."""
        return pd.concat([self.labelled(name, measure(pairs, self.masks[name])) for name, pairs in self.pairs.items()],
                         ignore_index=True)


def study_sets(run: Run, *, with_train: bool = False) -> StudySets:
    """What a study compares: real pairs of the protocol's split, and the synthetic ones of each encoding.

    Args:
        run: A study whose pairs are preprocessed (else a CohortError is raised) and drawn.
        with_train: Put the training pairs before them, as a set `train`.
    """
    train = load_pairs(run, TRAIN)
    sets = ({TRAIN: train} if with_train else {}) | {REAL: real_pairs(run)}
    sets |= {name: np.load(run.samples(name), mmap_mode="r") for name in run.encodings()}
    return StudySets.of(sets, run.protocol, train=train, heldout=load_pairs(run, HELDOUT))


def overlap_table(sets: StudySets) -> pd.DataFrame:
    """Overlap and shape of every pair's masks: metrics/overlap.csv.

    Returns:
        `set`, `pair`, `patient`, the columns of `pair_metrics`, and `plausible` where the real set is there to say it.
    """
    measured = {name: pair_metrics(pairs, masks=sets.masks[name]) for name, pairs in sets.pairs.items()}
    if REAL in measured:
        measured = {name: rows.assign(plausible=plausible(rows, measured[REAL])) for name, rows in measured.items()}
    table = pd.concat([sets.labelled(name, rows) for name, rows in measured.items()], ignore_index=True)
    return table[[*_LABELS, *table.columns.difference(_LABELS, sort=False)]]


def shuffled_table(sets: StudySets) -> pd.DataFrame:
    """Overlap of each CC mask with strangers' MLO masks: metrics/shuffled.csv.

    Returns:
        `set` and the columns of `shuffled_overlap`; after all sets the trivial baseline of the real one, as the set
        `NEAREST_AREA`. Pairs that lack a mask take no part, and one pair alone has no row. A patient who holds more
        than half of a set raises a ValueError.
    """
    draws = {"n_draws": sets.protocol.n_derangements, "seed": sets.protocol.seed}
    who = {name: {"pairs": index["pair"], "patients": index["patient"]} for name, index in sets.index.items()}
    shuffled = {name: shuffled_overlap(masks, **who[name], **draws) for name, masks in sets.masks.items()}
    if REAL in shuffled:
        shuffled[NEAREST_AREA] = nearest_area_overlap(sets.masks[REAL], **who[REAL])
    table = pd.concat([rows.assign(set=name) for name, rows in shuffled.items()], ignore_index=True)
    return table[["set", *table.columns.drop("set")]]


def overlap_by_method(sets: StudySets,
                      masks: Mapping[str, Mapping[str, PairMasks]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`overlap_table` and `shuffled_table` under each mask method, each led by `mask_method`.

    Args:
        sets: What is compared; strangers are the same ones under every method that finds all masks.
        masks: Set name to what `masks_by_method` gave for it.
    """
    def tables(method: str) -> list[pd.DataFrame]:
        other = replace(sets, masks={name: found[method] for name, found in masks.items()})
        found = [overlap_table(other), shuffled_table(other)]
        for table in found:
            table.insert(0, "mask_method", method)
        return found

    overlap, shuffled = zip(*on_every_core(tables, masks[REAL]), strict=True)
    return pd.concat(overlap, ignore_index=True), pd.concat(shuffled, ignore_index=True)


def indexed(name: str, given: np.ndarray | Indexed) -> Indexed:
    """Pairs and their index; without one they are numbered, and each is its own patient."""
    if isinstance(given, tuple):
        return given
    own = numbered(name, range(len(given)))
    return given, pd.DataFrame({"pair": own, "patient": own})


def numbered(name: str, numbers: Iterable[int]) -> list[str]:
    """Names of pairs, or of patients, that have none of their own."""
    return [f"{name}-{number:05d}" for number in numbers]
