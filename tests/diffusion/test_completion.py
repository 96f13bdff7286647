"""A view drawn beside a given one: our step is RePaint's, the given view stays, and images depend on their number."""

import numpy as np
import pytest
import torch
from diffusers import RePaintScheduler
from tiny_models import SIZE, blob_pairs

from mammorgb_utils.diffusion.completion import less_noise, levels
from mammorgb_utils.diffusion.sampling import SamplingError, sample_pairs

ATOL = 2e-3 if torch.cuda.is_available() else 2e-4


@pytest.mark.parametrize("timestep", [980, 500, 20, 0])
def test_a_step_is_repaints(timestep):
    """diffusers' own step on an epsilon model, with the same noise; it clips nothing here."""
    theirs = RePaintScheduler(eta=1.0, clip_sample=False)
    theirs.set_timesteps(50, jump_length=10, jump_n_sample=1)
    generator = torch.Generator().manual_seed(0)
    x, prediction, known = (torch.randn(2, 3, 8, 8, generator=generator) for _ in range(3))
    mask = torch.zeros(1, 3, 1, 1)
    mask[:, 0] = 1
    expected = theirs.step(prediction, timestep, x, known, mask, generator=torch.Generator().manual_seed(7)).prev_sample
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
    after = float(theirs.alphas_cumprod[timestep - 20]) if timestep else 1.0
    ours = less_noise(prediction, x, noise, float(theirs.alphas_cumprod[timestep]), after,
                      {"prediction_type": "epsilon", "clip_sample": False})
    ours[:, 0] = after**0.5 * known[:, 0] + (1 - after) ** 0.5 * noise[:, 0]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_prediction_types_say_the_same():
    generator = torch.Generator().manual_seed(1)
    clean, noise, fresh = (torch.randn(2, 3, 4, 4, generator=generator).clamp(-1, 1) for _ in range(3))
    alpha, after = 0.3, 0.6
    x = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
    said = {"epsilon": noise, "sample": clean, "v_prediction": alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean}
    steps = [less_noise(prediction, x, fresh, alpha, after, {"prediction_type": kind, "clip_sample": True})
             for kind, prediction in said.items()]
    for step in steps[1:]:
        torch.testing.assert_close(step, steps[0], rtol=1e-4, atol=1e-5)
    last = less_noise(clean, x, fresh, alpha, 1.0, {"prediction_type": "sample", "clip_sample": True})
    torch.testing.assert_close(last, clean)


def test_a_walk_goes_back_by_jumps_and_ends_clean():
    assert list(levels(4, jump=4, resamplings=3)) == [4, 3, 2, 1, 0]
    walk = list(levels(6, jump=2, resamplings=2))
    assert walk == [6, 5, 4, 3, 2, 4, 3, 2, 1, 0, 2, 1, 0]
    assert sum(b < a for a, b in zip(walk, walk[1:], strict=False)) == 10


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_the_given_view_stays_and_the_other_is_a_function_of_seed_and_number(trained, tiny, view):
    channel, pairs = ["CC", "MLO"].index(view), blob_pairs(5, seed=4)
    protocol = tiny.model_copy(update={"sampling_steps": 8})
    given = {"given": pairs[:, channel], "given_view": view, "progress": False}
    drawn = sample_pairs(trained, 5, protocol, 3, **given)
    np.testing.assert_allclose(drawn[:, channel], pairs[:, channel], atol=1e-6)
    assert drawn.shape == (5, 2, SIZE, SIZE) and drawn.min() >= 0 and drawn.max() <= 1
    alone = sample_pairs(trained, 1, protocol, 3, start=4, **given | {"given": pairs[4:, channel]})
    np.testing.assert_allclose(alone[0], drawn[4], atol=ATOL)
    other = sample_pairs(trained, 5, protocol, 4, **given)
    assert np.abs(other[:, 1 - channel] - drawn[:, 1 - channel]).max() > 0.01


@pytest.mark.parametrize(("view", "given", "message"), [
    ("LM", np.zeros((2, SIZE, SIZE), np.float32), "use CC or MLO"),
    ("CC", np.zeros((3, SIZE, SIZE), np.float32), r"shape \(3, 16, 16\); \(2, 16, 16\) is needed"),
    ("CC", np.full((2, SIZE, SIZE), 300.0, np.float32), "given CC views.*preprocess them as the study's"),
])
def test_what_is_given_must_fit(trained, tiny, view, given, message):
    with pytest.raises(SamplingError, match=message):
        sample_pairs(trained, 2, tiny, 0, given=given, given_view=view, progress=False)
