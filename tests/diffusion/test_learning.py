import numpy as np
import torch
from tiny_models import SIZE, blob_pairs

from mammorgb_utils.diffusion.encoding import encode_batch
from mammorgb_utils.diffusion.engine.base import load_base
from mammorgb_utils.diffusion.engine.model_folder import open_model
from mammorgb_utils.diffusion.learning import denoising_losses
from mammorgb_utils.diffusion.randomness import probe_noise


def images(n, seed=1):
    return encode_batch(torch.from_numpy(blob_pairs(n, seed=seed)), "sum", 0.5)


def test_the_loss_on_unseen_images_is_the_mean_squared_error_of_the_prediction(base):
    unet, scheduler = load_base(str(base), SIZE)
    found = denoising_losses(unet, scheduler, images(5), seed=3, timesteps=(100, 700), batch_size=2)
    assert found.shape == (5, 2)
    alpha = scheduler.alphas_cumprod[700]
    clean, noise = images(5)[3], probe_noise((3, SIZE, SIZE), 3, 700, range(3, 4))[0]
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    target = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
    with torch.no_grad():
        error = unet(noisy[None], torch.tensor([700])).sample[0] - target
    np.testing.assert_allclose(found[3, 1], float(error.square().mean()), rtol=1e-4)


def test_it_does_not_depend_on_the_batch_and_falls_with_training(base, trained):
    unet, scheduler = load_base(str(base), SIZE)
    whole, parts = (denoising_losses(unet, scheduler, images(6), seed=0, batch_size=size) for size in (6, 4))
    np.testing.assert_allclose(whole, parts, rtol=1e-4)
    learned = denoising_losses(open_model(trained).unet, scheduler, images(6), seed=0)
    assert learned.mean() < whole.mean()
