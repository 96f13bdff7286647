"""Who is in the cohort: one case a patient, usable pairs and what a study must exclude, in seeded order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mammorgb_utils.data.phantom.anatomy import EXTRA_STREAM, HELDOUT_STREAM, TRAIN_STREAM
from mammorgb_utils.data.phantom.storage import ARTEFACTS

ARTEFACT_SHARE = 0.07
EXTRA_SHARES = {"other_birads": 0.05, "implant": 0.015, "missing_view": 0.015, "duplicate": 0.01, "unreadable": 0.007}
_GRADES = (1, 3, 4, 5, 0)


@dataclass(frozen=True)
class Case:
    """One patient of a cohort.

    `role` is `"usable"` or a key of `EXTRA_SHARES`; `stream` and `number` with the cohort's seed make the
    breast's seed key; `artefact` is empty or a member of `ARTEFACTS`.
    """

    patient: str
    role: str
    split: str
    stream: int
    number: int
    birads: int = 2
    artefact: str = ""

    def key(self, seed: int) -> tuple[int, int, int]:
        """Seed key of this case's breast."""
        return seed, self.stream, self.number


def plan_cases(n_pairs: int, seed: int) -> list[Case]:
    """All cases of a cohort, shuffled by its seed.

    Args:
        n_pairs: Usable pairs; what must be excluded comes on top, each kind at least once.
        seed: The cohort's.

    Raises:
        ValueError: Fewer than 2 pairs can't be split.
    """
    if n_pairs < 2:
        raise ValueError(f"n_pairs: at least 2 are needed for two splits (got {n_pairs})")
    rng = np.random.default_rng([seed, 0, n_pairs])
    cases = _usable(n_pairs, rng) + _extra(n_pairs)
    order = rng.permutation(len(cases))
    return [Case(f"P{place + 1:04d}", *cases[index]) for place, index in enumerate(order)]


def _usable(n_pairs: int, rng: np.random.Generator) -> list[tuple]:
    artefacts = [""] * n_pairs
    marked = rng.choice(n_pairs, max(1, round(ARTEFACT_SHARE * n_pairs)), replace=False)
    for turn, index in enumerate(marked):
        artefacts[index] = ARTEFACTS[turn % len(ARTEFACTS)]
    n_train = (n_pairs + 1) // 2
    return [("usable", "train", TRAIN_STREAM, i, 2, artefacts[i]) if i < n_train else
            ("usable", "heldout", HELDOUT_STREAM, i - n_train, 2, artefacts[i]) for i in range(n_pairs)]


def _extra(n_pairs: int) -> list[tuple]:
    roles = [role for role, share in EXTRA_SHARES.items() for _ in range(max(1, round(share * n_pairs)))]
    grades = [_GRADES[i % len(_GRADES)] if role == "other_birads" else 2 for i, role in enumerate(roles)]
    return [(role, ("train", "heldout")[i % 2], EXTRA_STREAM, i, grades[i], "") for i, role in enumerate(roles)]
