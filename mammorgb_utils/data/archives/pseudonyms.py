"""Pseudonyms and the split: who a patient is stays behind, which images belong together doesn't."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mammorgb_utils.data.archives.base import AdapterError

_SHORTEST_SECRET = 16  # bytes


def pseudonyms(letter: str, keys: Iterable[str], *scope: str, seed: int, secret: bytes | None,
               width: int = 1) -> dict[str, str]:
    """Key to pseudonym, the same whatever the order of the keys.

    Without a secret, numbers in an order shuffled by the seed. With one, keyed digests (HMAC-SHA-256) of scope and key:
    the same patient has the same name in every manifest made with that secret, and nobody without it can test a guess.
    A bare hash would let anyone find a patient by hashing every possible ID.
    """
    ordered = sorted(set(keys))
    if secret is not None:
        texts = {key: "\0".join((*scope, key)).encode() for key in ordered}
        return {key: letter + hmac.new(secret, text, "sha256").hexdigest()[:16] for key, text in texts.items()}
    order = np.random.default_rng([seed, 1]).permutation(len(ordered))
    return {key: f"{letter}{number + 1:0{width}d}" for key, number in zip(ordered, order, strict=True)}


def read_secret(path: Path) -> bytes:
    """The secret of a file, without white space around it; an absent or short one is an `AdapterError`."""
    remedy = "make one with `openssl rand -hex 32 > FILE`, keep it, and keep it to yourself"
    if not path.is_file():
        raise AdapterError(f"--secret-file: no such file; {remedy}")
    secret = path.read_bytes().strip()
    if len(secret) < _SHORTEST_SECRET:
        raise AdapterError(f"--secret-file: holds fewer than {_SHORTEST_SECRET} bytes; {remedy}")
    return secret


def split_patients(keys: Iterable[str], heldout_fraction: float, seed: int) -> dict[str, str]:
    """Each patient to `"train"` or `"heldout"`, the same whatever the order of the keys."""
    if not 0.0 <= heldout_fraction <= 1.0:
        raise AdapterError("--heldout-fraction: must lie within 0 and 1, such as 0.5")
    ordered = sorted(set(keys))
    order = np.random.default_rng([seed, 2]).permutation(len(ordered))
    limit = round(heldout_fraction * len(ordered))
    return {key: "heldout" if place < limit else "train" for key, place in zip(ordered, order, strict=True)}
