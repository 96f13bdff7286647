import numpy as np
import pytest
from tiny_models import SIZE, blob_pairs

from mammorgb_utils.diffusion.pairing import pairing_losses
from mammorgb_utils.diffusion.sampling import open_for_sampling
from mammorgb_utils.diffusion.training import train


def others(n, k):
    return (np.arange(n)[:, None] + np.arange(k)) % n


@pytest.mark.slow
def test_a_model_that_learned_pairs_prefers_the_own_mlo(tmp_path, base, tiny):
    """Views that share size and place; after some hundred steps the middle timesteps tell own from stranger."""
    protocol = tiny.model_copy(update={"epochs": 25.0, "batch_size": 16, "learning_rate": 3e-3, "ema_decay": 0.0,
                                       "sampling_weights": "raw"})
    model = train(blob_pairs(256), protocol, "zero", tmp_path, progress=False)
    pairs = blob_pairs(48, seed=7)
    losses = pairing_losses(open_for_sampling(model), pairs, others(48, 4), "zero", seed=0,
                            timesteps=(300, 450, 600)).mean(axis=2)
    assert losses.shape == (48, 4)
    assert losses[:, 0].mean() < losses[:, 1:].mean() and (losses.argmin(axis=1) == 0).mean() > 0.4


def test_the_own_row_comes_first(trained):
    pairs, model = blob_pairs(4), open_for_sampling(trained)
    with pytest.raises(ValueError, match="own row"):
        pairing_losses(model, pairs, np.array([[1, 0]] * 4), "sum", seed=0)
    losses = pairing_losses(model, pairs, others(4, 3), "sum", seed=0, timesteps=(100, 500))
    same = pairing_losses(model, pairs, others(4, 1), "sum", seed=0, timesteps=(100, 500))
    assert losses.shape == (4, 3, 2) and pairs.shape[-1] == SIZE
    np.testing.assert_allclose(losses[:, 0], same[:, 0], rtol=1e-5)
