"""One small base, one unbroken training: shared by the tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import SIZE, blob_pairs, save_base

from mammorgb_utils.diffusion.training import train
from mammorgb_utils.protocol import Protocol


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks this small run fastest on one thread, and a busy machine doesn't hold them up."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "v")


@pytest.fixture(scope="session")
def tiny(base) -> Protocol:
    """Six steps of four 16-pixel pairs."""
    return Protocol.load("smoke", base_model=str(base), image_size=SIZE, batch_size=4, epochs=2.0, ema_decay=0.9,
                         checkpoint_every=2, sampling_steps=4, sampling_batch=3, precision="fp32", learning_rate=1e-3)


@pytest.fixture(scope="session")
def pairs() -> np.ndarray:
    return blob_pairs(12)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, pairs, tiny) -> Path:
    """The finished model of an unbroken run in the sum encoding; its training folder lies beside it."""
    root = tmp_path_factory.mktemp("unbroken")
    return train(pairs, tiny, "sum", root / "training", model_dir=root / "model", progress=False)
