import numpy as np
import torch

from mammorgb_utils.diffusion.randomness import batch_indices, image_generator, probe_noise, timesteps, training_noise


def test_an_epoch_shows_every_item_once_and_epochs_differ():
    drawn = np.concatenate([batch_indices(12, 4, seed=5, step=step) for step in range(6)])
    first, second = drawn[:12], drawn[12:]
    assert sorted(first) == sorted(second) == list(range(12))
    assert list(first) != list(second)


def test_batches_that_cross_an_epoch_still_draw_without_replacement():
    drawn = np.concatenate([batch_indices(10, 4, seed=5, step=step) for step in range(5)])
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))


def test_draws_depend_on_seed_step_and_stream_alone():
    assert np.array_equal(batch_indices(50, 8, 1, 3), batch_indices(50, 8, 1, 3))
    for other in ((2, 3, 0), (1, 4, 0), (1, 3, 1)):
        assert not np.array_equal(batch_indices(50, 8, 1, 3), batch_indices(50, 8, *other))
    assert np.array_equal(timesteps(1000, 8, 1, 3), timesteps(1000, 8, 1, 3))
    assert not np.array_equal(timesteps(1000, 8, 1, 3), timesteps(1000, 8, 1, 4))


def test_noise_of_a_split_batch_is_the_noise_of_the_whole():
    whole = training_noise((3, 8, 8), seed=7, step=2, examples=range(4))
    parts = [training_noise((3, 8, 8), seed=7, step=2, examples=part) for part in (range(0, 1), range(1, 4))]
    assert torch.equal(whole, torch.cat(parts)) and whole.dtype == torch.float32
    assert len({float(example.sum()) for example in whole}) == 4


def test_noise_is_standard_normal():
    noise = training_noise((3, 64, 64), seed=0, step=0, examples=range(8))
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02


def test_image_generators_differ_by_seed_and_number():
    draws = {float(torch.randn(1, generator=image_generator(*key))) for key in ((0, 0), (0, 1), (1, 0), (0, 0))}
    assert len(draws) == 3


def test_the_mix_dwells_in_the_middle_and_leaves_the_uniform_half_as_it_is():
    steps = range(400)
    uniform = np.array([timesteps(1000, 16, 0, step) for step in steps])
    mixed = np.array([timesteps(1000, 16, 0, step, "middle") for step in steps])
    assert np.array_equal(mixed[:, ::2], uniform[:, ::2])
    assert mixed.min() >= 0 and mixed.max() < 1000
    middle = [((t[:, 1::2] > 250) & (t[:, 1::2] < 750)).mean() for t in (uniform, mixed)]
    assert abs(middle[0] - 0.5) < 0.03 and abs(middle[1] - 0.728) < 0.03  # of a logistic of a normal: Φ(ln 3) twice


def test_probe_noise_is_of_the_image_and_the_timestep():
    whole = probe_noise((3, 4, 4), 0, 300, range(4))
    assert torch.equal(whole[2:], probe_noise((3, 4, 4), 0, 300, range(2, 4)))
    assert not torch.equal(whole, probe_noise((3, 4, 4), 0, 450, range(4)))
