"""Third channels that carry no information about the pair: what an encoding is held against."""

from __future__ import annotations

import numpy as np

from mammorgb_utils.diffusion.randomness import control_order, control_picture

CONTROLS = ("copy", "noise", "other")


def control_channel(pairs: np.ndarray, control: str, members: np.ndarray, seed: int) -> np.ndarray:
    """The third channel of some pairs in a control encoding, fixed for each pair.

    Args:
        pairs: `(N, 2, H, W)` float32 in [0, 1], CC first; all of them, as `"other"` takes one from another.
        control: `"copy"`: CC again; `"noise"`: white noise; `"other"`: the CC view of another pair.
        members: `(n,)` rows of `pairs`.
        seed: Of noise and partners.

    Returns:
        `(n, H, W)` float32 in [0, 1].
    """
    if control == "noise":
        return np.stack([control_picture(pairs.shape[-2:], seed, int(member)) for member in members])
    rows = members if control == "copy" else control_order(len(pairs), seed)[members]
    return np.asarray(pairs[rows, 0], dtype=np.float32)
