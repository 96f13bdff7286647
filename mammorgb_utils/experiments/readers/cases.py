"""Which pairs readers see, and in which order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mammorgb_utils.streams import Stream, generator

EARLY = 3  # repeats are drawn from the first third of the order and shown in its second half


class ReaderStudyError(ValueError):
    """A reader study can't be built or scored; the message names file, field and remedy."""


def choose_cases(real: pd.DataFrame, synthetic: Mapping[str, int], *, pairs: int, repeats: int,
                 seed: int) -> pd.DataFrame:
    """Draw half of the pairs from the real set and half from the synthetic ones, mix them, and repeat some.

    Args:
        real: One row a real pair, with `pair` and `patient`; a patient is shown with one breast.
        synthetic: Pairs at hand by the name of the set; each gives an equal part.
        pairs: Different pairs to show, at least 2.
        repeats: Pairs that are shown a second time, at most a third of `pairs`.
        seed: Decides choice and order.

    Returns:
        One row a case, in the order of the page: `case`, `set`, `row` (of the set's array), `pair`, `repeat_of` (the
        earlier case, or empty). Between the two lie a sixth of the pairs at least.

    Raises:
        ReaderStudyError: There are too few pairs, or too many repeats.
    """
    if pairs < 2 or not 0 <= repeats <= pairs // EARLY:
        raise ReaderStudyError(f"{pairs} pairs, {repeats} repeats: show at least 2 pairs, and repeat at most a third")
    rng = generator(seed, Stream.READER_CASES)
    share = dict.fromkeys(synthetic, pairs // 2 // max(1, len(synthetic)))
    for name in list(share)[:pairs // 2 - sum(share.values())]:
        share[name] += 1
    chosen = [_real_rows(real, pairs - sum(share.values()), rng)]
    for name, count in share.items():
        if count > synthetic[name]:
            raise ReaderStudyError(f"{count} pairs of {name} are needed, the study has {synthetic[name]}; ask for "
                                   "fewer")
        rows = np.sort(rng.choice(synthetic[name], count, replace=False))
        chosen.append(pd.DataFrame({"set": name, "row": rows, "pair": rows.astype(str)}))
    return _in_order(pd.concat(chosen, ignore_index=True), repeats, rng)


def _real_rows(real: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    drawn = real.reset_index(drop=True).iloc[rng.permutation(len(real))].drop_duplicates("patient")
    if len(drawn) < count:
        raise ReaderStudyError(f"real pairs of {count} patients are needed, the study has {len(drawn)}; ask for fewer")
    drawn = drawn.head(count)
    return pd.DataFrame({"set": "real", "row": drawn.index.to_numpy(), "pair": drawn["pair"].to_numpy()})


def _in_order(chosen: pd.DataFrame, repeats: int, rng: np.random.Generator) -> pd.DataFrame:
    """Shuffle; what is repeated comes early the first time, and anywhere in the second half again."""
    first = rng.permutation(len(chosen))
    again = rng.choice(first[:len(first) // EARLY], repeats, replace=False)
    half = len(first) // 2
    order = np.concatenate([first[:half], rng.permutation(np.concatenate([first[half:], again]))])
    table = chosen.iloc[order].reset_index(drop=True)
    table.insert(0, "case", [f"c{number:03d}" for number in range(1, len(table) + 1)])
    earlier = table.groupby(["set", "row"], sort=False)["case"].transform("first")
    return table.assign(repeat_of=earlier.where(earlier != table["case"], ""))
