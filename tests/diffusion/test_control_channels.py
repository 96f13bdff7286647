import numpy as np
import pytest
import torch
from tiny_models import blob_pairs, equal, weights

from mammorgb_utils.diffusion.encoding import CONTROLS, control_channel
from mammorgb_utils.diffusion.engine.state import Recipe
from mammorgb_utils.diffusion.training import PairSource, train

PAIRS = blob_pairs(6)
ROWS = np.array([4, 0, 5])


def test_a_control_is_fixed_for_each_pair_whatever_the_batch():
    for control in CONTROLS:
        together = control_channel(PAIRS, control, ROWS, seed=1)
        one = [control_channel(PAIRS, control, ROWS[[i]], seed=1)[0] for i in range(3)]
        assert together.dtype == np.float32 and np.array_equal(together, np.stack(one))
        assert 0 <= together.min() and together.max() <= 1


def test_copy_is_cc_other_is_anothers_cc_and_noise_is_noise():
    every = np.arange(6)
    assert np.array_equal(control_channel(PAIRS, "copy", ROWS, seed=1), PAIRS[ROWS, 0])
    other = control_channel(PAIRS, "other", every, seed=1)
    partners = [int(np.flatnonzero([np.array_equal(view, cc) for cc in PAIRS[:, 0]])[0]) for view in other]
    assert sorted(partners) == list(every) and all(i != j for i, j in enumerate(partners))
    noise = control_channel(PAIRS, "noise", every, seed=1)
    assert abs(noise.mean() - 0.5) < 0.03 and abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.2
    assert not np.array_equal(noise, control_channel(PAIRS, "noise", every, seed=2))


@pytest.mark.parametrize("control", CONTROLS)
def test_views_are_untouched_and_a_control_trains(tmp_path, tiny, pairs, trained, control):
    recipe = Recipe(steps=3, batch_size=4, seed=9, learning_rate=1e-3)
    images, plain = (PairSource(pairs, name, 0.5, recipe).images(1, range(4)) for name in (control, "sum"))
    assert torch.equal(images[:, :2], plain[:, :2]) and not torch.equal(images[:, 2], plain[:, 2])
    model = train(pairs, tiny, control, tmp_path, progress=False)
    assert not equal(weights(model), weights(trained))
