"""How the small base learned: held-out loss by timestep, and its single views beside unseen ones, over the steps.

`python -m benchmarks.base_curve WORK`, after `mammorgb base-model --work WORK`, measures the models that it kept every
thousand steps and writes results/base_curve.csv and results/base_curve.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure

from mammorgb_utils.data.base_views import HELDOUT_BREASTS
from mammorgb_utils.diffusion.encoding import decode_batch
from mammorgb_utils.diffusion.engine.base import load_base, pick_device
from mammorgb_utils.diffusion.engine.pretrain import unrelated_images
from mammorgb_utils.diffusion.learning import TIMESTEPS, denoising_losses
from mammorgb_utils.diffusion.sampling import denoise, make_sampler
from mammorgb_utils.evaluation.fidelity import coverage, kid
from mammorgb_utils.evaluation.fidelity.texture import view_texture
from mammorgb_utils.evaluation.masks import breast_mask
from mammorgb_utils.output import style
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "base_curve.csv"
SAMPLER, SAMPLING_STEPS, SEED, SHOWN = "sde-dpmsolver++", 25, 64, 12


def measure(folder: Path, unseen: np.ndarray, unseen_textures: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """A model's row, and the views that it drew, as many as there are unseen ones."""
    unet, schedule = load_base(str(folder), unseen.shape[-1])
    unet.to(pick_device()).eval()
    losses = denoising_losses(unet, schedule, unrelated_images(unseen), seed=SEED).mean(axis=0)
    images = denoise(unet, make_sampler(schedule, SAMPLER, SAMPLING_STEPS), SEED, range(len(unseen) // 3), bf16=False)
    views = decode_batch(images).cpu().numpy().reshape(-1, *unseen.shape[1:])
    drawn, spread = textures(views), unseen_textures.std(axis=0)
    x, y = ((values - unseen_textures.mean(axis=0)) / spread for values in (drawn, unseen_textures))
    row = {"step": int(folder.name.removeprefix("step-")), "loss": losses.mean(), "kid": kid(x, y),
           "coverage": coverage(y, x), "n_views": len(views), "n_without_texture": len(views) - len(drawn)}
    return row | {f"loss_t{t}": loss for t, loss in zip(TIMESTEPS, losses, strict=True)}, views


def textures(views: np.ndarray) -> np.ndarray:
    """Texture of those views that have one."""
    found = np.array([view_texture(view, breast_mask(view)) for view in views])
    return found[np.isfinite(found).all(axis=1)]


@style.styled
def figure(table: pd.DataFrame, unseen: np.ndarray, drawn: np.ndarray) -> Figure:
    """Loss, distance and coverage over the steps; unseen views above those that the last model drew."""
    figure = style.new_figure(style.DOUBLE_COLUMN, 110.0)
    above, below = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    panels = above.subplots(1, 3)
    losses = table.melt("step", [f"loss_t{t}" for t in TIMESTEPS], "t", "heldout")
    losses["t"] = losses["t"].str.removeprefix("loss_t").astype(int)
    sns.lineplot(losses, x="step", y="heldout", hue="t", palette="viridis", legend="full", ax=panels[0])
    panels[0].set(yscale="log", ylabel="Held-out loss", ylim=(None, 3 * losses["heldout"].max()))
    panels[0].legend(title="t", ncols=4, loc="upper right", fontsize=5, title_fontsize=6, handlelength=0.8,
                     columnspacing=0.8)
    for axes, name, label in zip(panels[1:], ("kid", "coverage"), ("KID of single views", "Coverage"), strict=True):
        sns.lineplot(table, x="step", y=name, marker="o", ax=axes, color=style.EDGE)
        axes.set(ylabel=label)
    panels[1].set(yscale="log")
    rows = [np.concatenate(list(views[:SHOWN]), axis=1) for views in (unseen, drawn)]
    axes = below.subplots()
    axes.imshow(np.concatenate(rows), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[0.25 * 2 * len(rows[0]), 0.75 * 2 * len(rows[0])])
    axes.set_yticklabels(["unseen", "drawn"])
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path, help="what `mammorgb base-model --work` filled")
    options = parser.parse_args()
    unseen = np.asarray(np.load(options.work / "views.npy", mmap_mode="r")[-2 * HELDOUT_BREASTS:])
    known = textures(unseen)
    rows, drawn = [], unseen
    for folder in sorted((options.work / "milestones").glob("step-*")):
        row, drawn = measure(folder, unseen, known)
        rows.append(row | {"device": str(pick_device()), "torch": torch.__version__})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    write_csv(RESULT, table)
    figure(table, unseen, drawn).savefig(RESULT.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
