import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from mammorgb_utils.diffusion.encoding import encode_pair
from mammorgb_utils.diffusion.sampling import SamplingError, make_sampler, sample_pairs
from mammorgb_utils.diffusion.training import train

TOLERANCE = {"atol": 2e-3 if torch.cuda.is_available() else 2e-4, "rtol": 0}  # GPUs convolve in TF32


@pytest.fixture(params=["ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++"])
def protocol(request, tiny):
    return tiny.model_copy(update={"sampler": request.param})


def test_image_is_a_function_of_seed_and_number(trained, protocol):
    images = sample_pairs(trained, 5, protocol, seed=3, progress=False)
    assert images.shape == (5, 2, 16, 16) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    np.testing.assert_array_equal(images, sample_pairs(trained, 5, protocol, seed=3, progress=False))
    one_by_one = protocol.model_copy(update={"sampling_batch": 1})
    np.testing.assert_allclose(sample_pairs(trained, 5, one_by_one, seed=3, progress=False), images, **TOLERANCE)
    shard = sample_pairs(trained, 2, protocol, seed=3, start=3, progress=False)
    np.testing.assert_allclose(shard, images[3:], **TOLERANCE)
    assert np.abs(sample_pairs(trained, 5, protocol, seed=4, progress=False) - images).max() > 0.01
    assert all(np.abs(images[0] - other).max() > 0.01 for other in images[1:])


def test_values_are_not_rounded_to_8_bits(trained, tiny):
    images = sample_pairs(trained, 2, tiny, seed=0, progress=False)
    inside = images[(images > 0) & (images < 1)]
    assert np.mean(np.abs(inside * 255 - np.round(inside * 255)) > 1e-3) > 0.9


def test_third_channel_is_returned_beside_the_same_views(trained, tiny):
    images, third = sample_pairs(trained, 3, tiny, seed=1, return_third=True, progress=False)
    assert third.shape == (3, 16, 16)
    np.testing.assert_array_equal(images, sample_pairs(trained, 3, tiny, seed=1, progress=False))


def schedule(model_dir):
    return DDPMScheduler.from_pretrained(model_dir / "scheduler")


def test_samplers_carry_the_trained_schedule(trained, protocol):
    scheduler = make_sampler(schedule(trained), protocol.sampler, 4)
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.beta_schedule == "squaredcos_cap_v2"
    assert len(scheduler.timesteps) == 4


def test_air_stays_in_range_during_sampling(trained, tiny):
    """The predicted image is clipped to [−1, 1] at each step by every sampler."""
    for sampler in ("ddpm", "ddim", "dpmsolver++", "sde-dpmsolver++"):
        scheduler = make_sampler(schedule(trained), sampler, 4)
        x, t = torch.zeros(1, 3, 16, 16), scheduler.timesteps[-1]
        for t in scheduler.timesteps:
            x = scheduler.step(torch.full_like(x, -30.0), t, x).prev_sample
        assert x.abs().max() <= 1.0, sampler


def test_ddim_and_dpmsolver_follow_the_same_path(trained, tiny):
    """Both solve one differential equation without noise; with clipped images but unclipped noise DDIM leaves it."""
    asked = [tiny.model_copy(update={"sampler": s, "sampling_steps": 100}) for s in ("ddim", "dpmsolver++")]
    paths = [sample_pairs(trained, 4, protocol, seed=0, progress=False) for protocol in asked]
    assert np.abs(paths[0] - paths[1]).mean() < 0.006


def test_refused(tmp_path, trained, tiny):
    with pytest.raises(SamplingError, match="holds no mammorgb.json: it isn't a finished model; train it first"):
        sample_pairs(tmp_path, 1, tiny, seed=0)
    with pytest.raises(SamplingError, match="n is 0"):
        sample_pairs(trained, 0, tiny, seed=0)
    with pytest.raises(SamplingError, match="sampling_steps 2000 exceeds the 1000"):
        sample_pairs(trained, 1, tiny.model_copy(update={"sampling_steps": 2000}), seed=0)


def test_a_model_that_has_learned_one_pair_draws_it(tmp_path, tiny):
    """End to end: after training on copies of a single pair, R and G are that pair and B is its encoding."""
    cc = np.zeros((16, 16), np.float32)
    cc[4:12, :8] = 0.8
    mlo = np.roll(cc, 2, axis=0) * 0.5
    pairs = np.repeat(np.stack([cc, mlo])[None], 8, axis=0)
    protocol = tiny.model_copy(update={"batch_size": 8, "epochs": 240.0, "learning_rate": 6e-3, "sampling_steps": 8,
                                       "lr_schedule": "cosine", "checkpoint_every": 240})
    model = train(pairs, protocol, "sum", tmp_path, progress=False)
    views, third = sample_pairs(model, 3, protocol, seed=0, return_third=True, progress=False)
    rgb = encode_pair(cc, mlo, "sum")
    drawn = np.concatenate([views, third[:, None]], axis=1)
    assert np.abs(drawn - rgb.transpose(2, 0, 1)).mean() < 0.1
    assert np.corrcoef(drawn.mean(axis=0).ravel(), rgb.transpose(2, 0, 1).ravel())[0, 1] > 0.95


def test_the_stochastic_solver_needs_two_steps(trained, tiny):
    with pytest.raises(SamplingError, match="sampling_steps 1: sde-dpmsolver"):
        make_sampler(schedule(trained), "sde-dpmsolver++", 1)


def test_quadratic_steps_end_at_less_noise_and_never_visit_a_level_twice(trained):
    for sampler in ("dpmsolver++", "sde-dpmsolver++"):
        even, quadratic = (make_sampler(schedule(trained), sampler, 25, name) for name in ("trailing", "quadratic"))
        assert quadratic.sigmas[-2] < even.sigmas[-2] / 5 and quadratic.timesteps[0] == 999
        assert len(quadratic.timesteps) == len(even.timesteps) == 25
    for steps in (2, 8, 100, 500, 1000):
        visited = make_sampler(schedule(trained), "dpmsolver++", steps).timesteps.numpy()
        assert len(visited) == steps and visited[0] == 999 and (np.diff(visited) < 0).all()
