"""Whether the third channel that a model drew is the one that its own two views give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mammorgb_utils.diffusion.encoding import encode_pair
from mammorgb_utils.evaluation.consistency import derangement
from mammorgb_utils.evaluation.overlap import PairMasks
from mammorgb_utils.evaluation.threads import on_every_core
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.streams import Stream, generator

MAX_PAIRS = 500  # of a set, the first ones: more would add little but time
OWN = "own"  # the null column's word for a pair's own third channel
NULLS = ("global", "strata")


def computed_third(pairs: np.ndarray, encoding: str, *, sum_scale: float) -> np.ndarray:
    """The third channel that the encoding makes of the views.

    Args:
        pairs: `(N, 2, H, W)` float in [0, 1], CC first.
        encoding: A third channel's name.
        sum_scale: As for `encode_pair`.

    Returns:
        `(N, H, W)` of the pairs' dtype, in [0, 1].
    """
    third = np.empty((len(pairs), *pairs.shape[2:]), pairs.dtype)  # a list of channels would keep whole images alive
    for row, (cc, mlo) in zip(third, pairs, strict=True):
        row[:] = encode_pair(cc, mlo, encoding, sum_scale=sum_scale)[..., 2]
    return third


def third_residuals(pairs: np.ndarray, third: np.ndarray | None, masks: PairMasks, encoding: str, protocol: Protocol, *,
                    names: Sequence, patients: Sequence, strata: Sequence) -> pd.DataFrame:
    """Mean absolute difference between drawn and computed third channel inside the breast, own and strangers'.

    Args:
        pairs: `(N, 2, H, W)` float32 in [0, 1], CC first; the first `MAX_PAIRS` count.
        third: `(N, H, W)` third channel that was drawn with each pair; None for real pairs, whose own is computed.
        masks: Masks of the pairs; the residual is taken where either view shows breast.
        encoding: What the third channel is meant to be.
        protocol: `sum_scale`, `n_derangements` and `seed`.
        names, patients, strata: Identifier, patient and stratum of each pair.

    Returns:
        `measure` (`third_<encoding>`), `null` (`own`: the pair's third channel; `global`, `strata`: another's),
        `draw`, `cc_pair` (whose views), `mlo_pair` (whose third channel), `residual`: over the standard deviation of
        the computed channel inside the breast; where that is 0, as for `zero`, of the intensity range.

    Raises:
        ValueError: A third channel is missing for some pair.
    """
    if third is not None and len(third) != len(pairs):
        raise ValueError(f"third: {len(third)} channels for {len(pairs)} pairs; draw both in one run (notebook 03)")
    n = min(len(pairs), MAX_PAIRS)
    names, patients, strata = (np.asarray(labels)[:n] for labels in (names, patients, strata))
    expected = computed_third(pairs[:n], encoding, sum_scale=protocol.sum_scale)
    third = np.asarray(expected if third is None else third[:n], np.float32)
    inside = masks.breast[:n].any(axis=1)
    rng, asked = generator(protocol.seed, Stream.ANATOMY_THIRD_CHANNEL), [(OWN, 0, np.arange(n))]
    for null, labels in (("global", None), ("strata", strata)):
        asked += [(null, draw, derangement(n, rng, patients=patients, strata=labels))
                  for draw in range(protocol.n_derangements)]
    found = on_every_core(lambda row: _residual(expected, third, inside, row[2]), asked)
    table = pd.concat([pd.DataFrame({"null": null, "draw": draw, "cc_pair": names, "mlo_pair": names[partner],
                                     "residual": residual})
                       for (null, draw, partner), residual in zip(asked, found, strict=True)], ignore_index=True)
    spread = float(np.std(expected[inside], dtype=float)) if inside.any() else 0.0
    table["residual"] /= spread or 1.0
    table.insert(0, "measure", f"third_{encoding}")
    return table


def _residual(expected: np.ndarray, third: np.ndarray, inside: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """`(n,)` mean of |third of the partner − expected| inside the breast; NaN without one."""
    total = [np.abs(third[j] - expected[i])[inside[i]].sum(dtype=float) for i, j in enumerate(partner)]
    count = inside.sum(axis=(1, 2))
    return np.divide(total, count, out=np.full(len(partner), np.nan), where=count > 0)
