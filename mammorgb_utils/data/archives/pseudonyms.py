"""Pseudonyms and the split: who a patient is stays behind, which images belong together doesn't."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mammorgb_utils.data.archives.base import AdapterError

_SHORTEST_SECRET = 16  # bytes


class Pseudonyms:
    """Names for patients and exams.

    Without a secret, numbers in an order shuffled by the seed. With one, keyed digests (HMAC-SHA-256): the same
    patient has the same name in every manifest made with that secret, and nobody without it can test a guess.
    A bare hash would let anyone find a patient by hashing every possible ID.
    """

    def __init__(self, source: str, seed: int, secret: bytes | None = None) -> None:
        self._source, self._seed, self._secret = source, seed, secret

    def patients(self, keys: Iterable[str]) -> dict[str, str]:
        """Key to pseudonym, the same whatever the order of the keys."""
        return self._named("P", keys, "patient", width=5)

    def exams(self, patient: str, keys: Iterable[str]) -> dict[str, str]:
        """Key to pseudonym of one patient's exams."""
        return self._named("E", keys, f"exam\0{patient}", width=1)

    def _named(self, letter: str, keys: Iterable[str], scope: str, width: int) -> dict[str, str]:
        ordered = sorted(set(keys))
        if self._secret is not None:
            return {key: letter + self._digest(f"{self._source}\0{scope}\0{key}") for key in ordered}
        order = np.random.default_rng([self._seed, 1]).permutation(len(ordered))
        return {key: f"{letter}{number + 1:0{width}d}" for key, number in zip(ordered, order, strict=True)}

    def _digest(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), "sha256").hexdigest()[:16]


def read_secret(path: Path) -> bytes:
    """The secret of a file, without white space around it.

    Raises:
        AdapterError: There is no such file, or it holds too little.
    """
    remedy = "make one with `openssl rand -hex 32 > FILE`, keep it, and keep it to yourself"
    if not path.is_file():
        raise AdapterError(f"--secret-file: no such file; {remedy}")
    secret = path.read_bytes().strip()
    if len(secret) < _SHORTEST_SECRET:
        raise AdapterError(f"--secret-file: holds fewer than {_SHORTEST_SECRET} bytes; {remedy}")
    return secret


def split_patients(keys: Iterable[str], heldout_fraction: float, seed: int) -> dict[str, str]:
    """Each patient to `"train"` or `"heldout"`, the same whatever the order of the keys.

    Raises:
        AdapterError: The fraction isn't within 0 and 1.
    """
    if not 0.0 <= heldout_fraction <= 1.0:
        raise AdapterError("--heldout-fraction: must lie within 0 and 1, such as 0.5")
    ordered = sorted(set(keys))
    order = np.random.default_rng([seed, 2]).permutation(len(ordered))
    limit = round(heldout_fraction * len(ordered))
    return {key: "heldout" if place < limit else "train" for key, place in zip(ordered, order, strict=True)}
