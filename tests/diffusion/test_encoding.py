import numpy as np
import pytest
import torch

from mammorgb_utils.diffusion.encoding import (
    THIRD_CHANNELS,
    EncodingError,
    decode_batch,
    decode_pair,
    encode_batch,
    encode_pair,
)

CC = np.array([[0.0, 0.25, 1.0]], np.float32)
MLO = np.array([[0.5, 0.75, 1.0]], np.float32)


@pytest.mark.parametrize(("third_channel", "sum_scale", "expected"), [
    ("sum", 0.5, [[0.25, 0.5, 1.0]]),
    ("sum", 1.0, [[0.5, 1.0, 1.0]]),  # the last one is clipped
    ("absdiff", 0.5, [[0.5, 0.5, 0.0]]),
    ("zero", 0.5, [[0.0, 0.0, 0.0]]),
])
def test_hand_worked_third_channel(third_channel, sum_scale, expected):
    rgb = encode_pair(CC, MLO, third_channel, sum_scale=sum_scale)
    assert rgb.shape == (1, 3, 3) and rgb.dtype == np.float32
    np.testing.assert_array_equal(rgb[..., 0], CC)
    np.testing.assert_array_equal(rgb[..., 1], MLO)
    np.testing.assert_array_equal(rgb[..., 2], expected)


@pytest.mark.parametrize("third_channel", THIRD_CHANNELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_torch_and_batch_agree_and_decode_inverts(third_channel, dtype):
    pairs = np.random.default_rng(1).random((5, 2, 7, 9)).astype(dtype)
    batch = encode_batch(torch.from_numpy(pairs), third_channel, 0.7)
    assert batch.shape == (5, 3, 7, 9) and batch.min() >= -1 and batch.max() <= 1
    for (cc, mlo), image in zip(pairs, batch, strict=True):
        rgb = encode_pair(cc, mlo, third_channel, sum_scale=0.7)
        from_torch = encode_pair(torch.from_numpy(cc), torch.from_numpy(mlo), third_channel, sum_scale=0.7)
        np.testing.assert_array_equal(rgb, from_torch.numpy())
        np.testing.assert_array_equal(rgb * 2 - 1, image.permute(1, 2, 0).numpy())
        for view, original in zip(decode_pair(rgb), (cc, mlo), strict=True):
            np.testing.assert_array_equal(view, original)


def test_decoding_keeps_more_than_8_bits_and_clips():
    levels = torch.linspace(-1.1, 1.1, 3 * 4096).reshape(1, 3, 64, 64)
    decoded = decode_batch(levels)
    assert decoded.min() == 0 and decoded.max() == 1 and decoded.unique().numel() > 10_000


@pytest.mark.parametrize(("cc", "mlo", "third_channel", "message"), [
    (CC * 255, MLO, "sum", r"CC: values from 0 to 255"),
    (CC, MLO - 0.6, "sum", r"MLO: values from -0.1"),
    (CC, MLO * np.nan, "sum", r"MLO: values from nan"),
    (np.zeros((1, 3), np.uint8), MLO, "sum", r"CC: dtype is uint8"),
    (CC, MLO[:, :2], "sum", r"equal shape"),
    (CC, MLO, "product", r"third_channel 'product': use one of sum, absdiff, zero"),
])
def test_refused(cc, mlo, third_channel, message):
    with pytest.raises(EncodingError, match=message):
        encode_pair(cc, mlo, third_channel)


def test_decode_refuses_channel_first():
    with pytest.raises(EncodingError, match=r"\(H, W, 3\)"):
        decode_pair(np.zeros((3, 8, 8)))
