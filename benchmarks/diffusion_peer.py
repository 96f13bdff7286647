"""What users of diffusers run today: its unconditional training example's loop, with its defaults, on our pairs.

Written from the example's documented behaviour: PIL images through transforms in a DataLoader, AdamW with its
settings, epsilon loss, noise in the weights' precision, gradients clipped at 1, a cosine schedule with warm-up.
torchvision has no build for every machine, so resize, crop and normalisation are done with Pillow and numpy.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.optimization import get_scheduler
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset):
    """RGB pictures as an image folder gives them."""

    def __init__(self, rgb: np.ndarray, size: int) -> None:
        self._pictures, self._size = [Image.fromarray(np.uint8(255 * image + 0.5)) for image in rgb], size

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, i: int) -> torch.Tensor:
        picture = self._pictures[i].resize((self._size, self._size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1).sub(0.5).div(0.5)


def train(unet: UNet2DModel, rgb: np.ndarray, *, batch_size: int, steps: int,
          bf16: bool = False) -> Iterator[float]:
    """Run the loop, a step each time it is asked.

    Args:
        unet: The model; it is trained in place.
        rgb: `(N, H, W, 3)` float in [0, 1].
        batch_size, steps: Of the loop and its schedule.
        bf16: As accelerate's mixed precision, which wraps the model's call just so; the example's default is fp32.

    Yields:
        Losses.
    """
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    loader = DataLoader(Pictures(rgb, rgb.shape[1]), batch_size=batch_size, shuffle=True)
    rates = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=steps)
    unet, optimizer, loader, rates = accelerator.prepare(unet.train(), optimizer, loader, rates)
    while True:
        for clean in loader:
            noise = torch.randn_like(clean)
            t = torch.randint(0, 1000, (len(clean),), device=clean.device).long()
            with accelerator.accumulate(unet):
                with torch.autocast(clean.device.type, torch.bfloat16, enabled=bf16):
                    prediction = unet(scheduler.add_noise(clean, noise, t), t).sample
                loss = F.mse_loss(prediction.float(), noise.float())
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(unet.parameters(), 1.0)
                optimizer.step()
                rates.step()
                optimizer.zero_grad()
            yield loss.detach().item()
