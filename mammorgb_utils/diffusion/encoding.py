"""Two views as one RGB image: R = CC, G = MLO, B = one of three functions of both, or a control."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from mammorgb_utils.diffusion.randomness import control_order, control_picture
from mammorgb_utils.protocol import THIRD_CHANNELS

Array = TypeVar("Array", np.ndarray, torch.Tensor)
CONTROLS = ("copy", "noise", "other")  # of appendices: they carry no information about the pair


class EncodingError(ValueError):
    """Views can't be encoded; the message says what is wrong with them."""


def encode_pair(cc: Array, mlo: Array, third_channel: str, *, sum_scale: float = 0.5) -> Array:
    """One pair of views as an RGB image.

    Args:
        cc, mlo: `(H, W)` views, floating point, in [0, 1]; numpy arrays or torch tensors.
        third_channel: `"sum"`: `clip((CC + MLO) · sum_scale, 0, 1)`; `"absdiff"`: `|CC − MLO|`; `"zero"`: 0.
        sum_scale: Factor that brings the sum into range.

    Returns:
        `(H, W, 3)` in [0, 1], of the views' dtype and kind.

    Raises:
        EncodingError: Shapes or dtypes differ, or a value lies outside [0, 1] or is NaN.

    Source:
        The paper's encoding; how it brings the sum into range isn't stated (`Protocol.sum_scale`).
    """
    for name, view in (("CC", cc), ("MLO", mlo)):
        check_views(view, name)
    if cc.ndim != 2 or cc.shape != mlo.shape or cc.dtype != mlo.dtype:
        raise EncodingError(f"CC {tuple(cc.shape)} {cc.dtype} and MLO {tuple(mlo.shape)} {mlo.dtype}: "
                            "two (H, W) views of equal shape and dtype are needed")
    channels = [cc, mlo, _third(cc, mlo, third_channel, sum_scale)]
    return torch.stack(channels, dim=-1) if isinstance(cc, torch.Tensor) else np.stack(channels, axis=-1)


def decode_pair(rgb: Array) -> tuple[Array, Array]:
    """Read the views back from R and G of an `(H, W, 3)` image; the inverse of `encode_pair`.

    Returns:
        CC and MLO, each `(H, W)`, values untouched.

    Raises:
        EncodingError: The image isn't `(H, W, 3)`.
    """
    if rgb.ndim != 3 or rgb.shape[-1] != 3:
        raise EncodingError(f"an (H, W, 3) image is needed, got {tuple(rgb.shape)}")
    return rgb[..., 0], rgb[..., 1]


def encode_batch(pairs: torch.Tensor, third_channel: str, sum_scale: float) -> torch.Tensor:
    """Pairs as model images, on the device where they lie.

    Args:
        pairs: `(N, 2, H, W)` in [0, 1], CC first; the range was checked when the array was opened.
        third_channel, sum_scale: As for `encode_pair`.

    Returns:
        `(N, 3, H, W)` in [−1, 1].
    """
    return stack_batch(pairs, _third(pairs[:, 0], pairs[:, 1], third_channel, sum_scale))


def stack_batch(pairs: torch.Tensor, third: torch.Tensor) -> torch.Tensor:
    """Pairs `(N, 2, H, W)` and third channels `(N, H, W)`, both in [0, 1], as model images in [−1, 1]."""
    return torch.cat([pairs, third.unsqueeze(1)], dim=1).mul_(2).sub_(1)


def decode_batch(images: torch.Tensor) -> torch.Tensor:
    """Model images `(N, 3, H, W)` in about [−1, 1] as RGB in [0, 1], in float and clipped, never via 8 bits."""
    return images.float().add(1).mul_(0.5).clamp_(0, 1)


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


def check_views(views: Array, name: str) -> None:
    """Hold views to the declared intensity range.

    Args:
        views: Array of any shape with spatial axes last; a memory-mapped one is read in blocks.
        name: What to call it in the error.

    Raises:
        EncodingError: The dtype isn't floating point, or a value lies outside [0, 1] or is NaN.
    """
    torch_dtype = isinstance(views, torch.Tensor)
    if not (views.dtype.is_floating_point if torch_dtype else np.issubdtype(views.dtype, np.floating)):
        raise EncodingError(f"{name}: dtype is {views.dtype}, floating point in [0, 1] is needed; divide by full range")
    for block in views if views.ndim > 2 else [views]:
        low, high = float(block.min()), float(block.max())
        if not (low >= 0.0 and high <= 1.0):  # false for NaN too
            raise EncodingError(f"{name}: values from {low:g} to {high:g}, but views are declared in [0, 1]")


def _third(cc: Array, mlo: Array, third_channel: str, sum_scale: float) -> Array:
    if third_channel == "sum":
        return ((cc + mlo) * sum_scale).clip(0, 1)
    if third_channel == "absdiff":
        return abs(cc - mlo)
    if third_channel == "zero":
        return cc * 0
    raise EncodingError(f"third_channel {third_channel!r}: use one of {', '.join(THIRD_CHANNELS)}")
