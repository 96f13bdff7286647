import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import SIZE, blob_pairs

from mammorgb_utils.diffusion.engine.base import load_base, pick_device
from mammorgb_utils.diffusion.engine.looks import draw_strip, noise_levels, sample_walk, strip_steps
from mammorgb_utils.diffusion.engine.state import Recipe, State
from mammorgb_utils.diffusion.learning import training_step
from mammorgb_utils.diffusion.sampling import sample_pairs
from mammorgb_utils.diffusion.training import PairSource


@pytest.mark.parametrize(("steps", "expected"), [(6, {1, 2, 3, 4, 5, 6}), (60, {10, 20, 30, 40, 50, 60}), (1, {1}),
                                                 (2, {1, 2})])
def test_strips_are_evenly_spaced_and_the_last_step_has_one(steps, expected):
    assert strip_steps(steps) == expected


def test_a_training_leaves_its_strips(trained):
    strips = sorted((trained.parent / "training" / "strips").iterdir())
    assert [file.name for file in strips] == [f"step-{step:08d}.png" for step in range(1, 7)]
    picture = Image.open(strips[-1])
    assert picture.mode == "L" and picture.size == (4 * SIZE, 2 * SIZE) and not picture.info


def test_a_strip_shows_the_average_and_leaves_the_state_as_it_is(tmp_path, base):
    recipe = Recipe(steps=4, batch_size=4, seed=0, learning_rate=1e-2, ema_decay=0.9, precision="fp32")
    unet, scheduler = load_base(str(base), SIZE)
    state, source = State(unet, recipe, pick_device()), PairSource(blob_pairs(8), "sum", 0.5, recipe)
    for _ in range(3):
        training_step(state, scheduler, source, recipe)
    before = {name: weight.detach().clone() for name, weight in state.weights.items()}
    strip = np.asarray(Image.open(draw_strip(state, scheduler, 0, tmp_path, bf16=False)))
    assert all(torch.equal(state.weights[name], weight) for name, weight in before.items())
    again = np.asarray(Image.open(draw_strip(state, scheduler, 0, tmp_path, bf16=False)))
    with torch.no_grad():
        for name, weight in state.weights.items():
            state.ema[name].copy_(weight + 0.1)
    other = np.asarray(Image.open(draw_strip(state, scheduler, 0, tmp_path, bf16=False)))
    assert np.array_equal(strip, again) and not np.array_equal(strip, other)


def test_noise_levels_go_from_the_pair_to_noise(tiny, pairs):
    levels = noise_levels(pairs[0], tiny, [0, 500, 999])
    assert levels.shape == (3, 2, SIZE, SIZE) and levels.min() >= 0 and levels.max() <= 1
    nearness = [np.corrcoef(level.ravel(), pairs[0].ravel())[0, 1] for level in levels]
    assert nearness[0] > 0.95 > nearness[1] > nearness[2] and abs(nearness[2]) < 0.2


def test_a_walk_ends_in_the_pair_that_sampling_draws(trained, tiny):
    steps, moments = sample_walk(trained, tiny, image=3, moments=3)
    assert steps == sorted(steps, reverse=True) and moments.shape == (3, 2, SIZE, SIZE)
    drawn = sample_pairs(trained, 1, tiny, tiny.seed, start=3, progress=False)
    np.testing.assert_allclose(moments[-1], drawn[0], atol=2e-4)
