"""Pictures of pairs: from stored pixels to encodings, galleries, and what trainings drew on their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from skimage.measure import block_reduce

from mammorgb_utils.output import style

Steps = Sequence[tuple[str, np.ndarray]]
Sample = np.ndarray | tuple[np.ndarray, np.ndarray]

_BLUE = {"sum": "scaled sum", "absdiff": "|CC − MLO|", "zero": "0"}
_SHOWN = 360  # px: a printed panel shows no more, and a full mammogram would make a PDF of many megabytes


def shrink(view: np.ndarray, longest: int = _SHOWN) -> np.ndarray:
    """Block means of a `(H, W)` view, so that its longest side has at most `longest` pixels."""
    block = -(-max(view.shape) // longest)
    height, width = (side // block * block for side in view.shape)
    return view if block == 1 else block_reduce(view[:height, :width], block, np.mean)


@style.styled
def preprocessing_steps(views: Mapping[str, Steps]) -> Figure:
    """What each preprocessing step does to one pair.

    Args:
        views: For `"CC"` and `"MLO"`, the same steps in order as (title, `(H, W)` image in [0, 1]); sizes may differ.

    Returns:
        A row a view, a column a step, every image in its own aspect and on the same grey scale.
    """
    columns = {len(steps) for steps in views.values()}
    if len(columns) != 1:
        raise ValueError(f"views have different numbers of steps: { {v: len(s) for v, s in views.items()} }")
    figure = style.new_figure(style.DOUBLE_COLUMN, 50.0 * len(views))
    grid = figure.subplots(len(views), columns.pop(), squeeze=False)
    for row, (view, steps) in zip(grid, views.items(), strict=True):
        for number, (axes, (title, image)) in enumerate(zip(row, steps, strict=True), start=1):
            axes.imshow(shrink(image), vmin=0, vmax=1)
            style.bare(axes, frame=style.QUIET)
            axes.set_title(f"{number}. {title[:1].upper()}{title[1:]}")
            axes.set_xlabel(f"{image.shape[1]} × {image.shape[0]} px", color=style.QUIET, fontsize=6)
        row[0].set_ylabel(view, fontweight="bold")
    return figure


@style.styled
def reference_cdf(before: Sequence[Sample], after: Sequence[Sample], reference: tuple[np.ndarray, np.ndarray],
                  *, above: float | None = 0.0) -> Figure:
    """Cumulative grey-level distributions of sample images before and after the histogram matching.

    Args:
        before, after: Images of any shape with values in [0, 1], or (values, cdf) where the CDF is known.
        reference: (values in [0, 1], cdf in [0, 1]) of the matching's target, both rising.
        above: Of images only pixels above this value count: 0 leaves out the air. None counts all.

    Returns:
        Two panels with the reference in bold; each states the median of the largest vertical distance to it.
    """
    figure = style.new_figure(style.DOUBLE_COLUMN, 66.0)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, samples in zip(panels, ("Before matching", "After matching"), (before, after), strict=True):
        _cdf_panel(axes, [_cdf(sample, above) for sample in samples], reference)
        axes.set(title=f"{title} (n = {len(samples)} images)", xlabel="Grey level (0 = air, 1 = brightest)")
    panels[0].set_ylabel("Share of pixels at or below")
    panels[1].legend(loc="upper left")
    style.panel_letters(panels)
    return figure


def _cdf(sample: Sample, above: float | None) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(sample, tuple):
        return sample
    values = np.asarray(sample, dtype=float).ravel()
    values = values[values > above] if above is not None else values
    if values.size == 0:
        raise ValueError(f"an image has no pixel above {above}; leave it out, or lower `above`")
    grid = np.linspace(0.0, 1.0, 513)
    return grid, np.searchsorted(np.sort(values), grid, side="right") / values.size


def _cdf_panel(axes: Axes, samples: list[tuple[np.ndarray, np.ndarray]],
               reference: tuple[np.ndarray, np.ndarray]) -> None:
    for values, cdf in samples:
        axes.plot(values, cdf, color=style.COLOURS["sum"], alpha=0.55, linewidth=0.6)
    axes.plot([], [], color=style.COLOURS["sum"], linewidth=0.6, label="Images")
    axes.plot(*reference, color=style.COLOURS["real"], linewidth=2.2, linestyle=(0, (4, 1)), label="Reference")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    if samples:
        largest = [np.abs(cdf - np.interp(values, *reference)).max() for values, cdf in samples]
        axes.text(0.98, 0.04, f"largest distance to reference:\nmedian {np.median(largest):.3f}",
                  transform=axes.transAxes, ha="right", va="bottom", color=style.QUIET, fontsize=6.5,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85})


@style.styled
def encodings(pair: np.ndarray, images: Mapping[str, np.ndarray]) -> Figure:
    """One pair and the images that the encodings make of it.

    Args:
        pair: `(2, H, W)` in [0, 1], CC first.
        images: For each encoding its `(H, W, 3)` image in [0, 1].
    """
    shown = style.present_sets(images)
    figure = style.new_figure(style.DOUBLE_COLUMN, 96.0 if len(shown) > 1 else 120.0)
    grid = figure.subplots(2, 1 + len(shown), squeeze=False)
    for axes, view, title in zip(grid[:, 0], pair, ("CC → red", "MLO → green"), strict=True):
        axes.imshow(view, vmin=0, vmax=1)
        axes.set_title(title)
    for (top, bottom), name in zip(grid[:, 1:].T, shown, strict=True):
        top.imshow(np.clip(images[name], 0, 1))
        top.set_title(style.LABELS[name], fontweight="bold")
        bottom.imshow(images[name][..., 2], vmin=0, vmax=1)
        bottom.set_title(f"blue: {_BLUE[name]}")
    for axes in grid.flat:
        style.bare(axes, frame=style.QUIET)
    return figure


@style.styled
def gallery(pairs: np.ndarray, captions: Sequence[str] | None = None, *, title: str = "", columns: int = 4,
            frame: str = style.QUIET) -> Figure:
    """Pairs side by side, CC on the left of each frame and MLO on the right.

    Args:
        pairs: `(n, 2, H, W)` in [0, 1], at least one.
        captions: A short line below each pair.
        columns: Pairs a row.
        frame: Colour of the fine line around each pair.
    """
    if len(pairs) == 0:
        raise ValueError("a gallery needs at least one pair")
    if captions is not None and len(captions) != len(pairs):
        raise ValueError(f"{len(captions)} captions for {len(pairs)} pairs")
    rows = -(-len(pairs) // columns)
    cell = (style.DOUBLE_COLUMN / columns - 1.2) / 2 * pairs.shape[2] / pairs.shape[3]
    cell += 4.6 if captions is not None else 1.4
    figure = style.new_figure(style.DOUBLE_COLUMN, rows * cell + (8 if title else 4))
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    grid = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index >= len(pairs):
            axes.axis("off")
            continue
        _pair(axes, pairs[index], frame, head=index < columns)
        if captions is not None:
            axes.set_xlabel(captions[index], fontsize=6)
    if title:
        figure.suptitle(title, fontweight="bold")
    return figure


def _pair(axes: Axes, pair: np.ndarray, frame: str, *, head: bool) -> None:
    width = pair.shape[2]
    axes.imshow(np.concatenate(list(pair), axis=1), vmin=0, vmax=1)
    axes.axvline(width - 0.5, color=frame, linewidth=0.6)
    style.bare(axes, frame=frame)
    if head:
        for x, view in ((0.25, "CC"), (0.75, "MLO")):
            axes.text(x, 1.02, view, transform=axes.transAxes, ha="center", va="bottom", fontsize=6.5,
                      color=style.QUIET)


@style.styled
def training_strips(folders: Mapping[str, Path]) -> Figure:
    """What each encoding's training drew on its way into `step-<step>.png`: CC above MLO, a pair a column."""
    found = {name: sorted(folder.glob("step-*.png")) for name, folder in folders.items()}
    if empty := [name for name, files in found.items() if not files]:
        raise ValueError(f"training/{empty[0]}/strips: no strip; remove the training's folder and train again")
    columns = max(map(len, found.values()))
    figure = style.new_figure(style.DOUBLE_COLUMN, 18.0 * len(found) + 4.0)
    for row, (name, files) in zip(figure.subplots(len(found), columns, squeeze=False), found.items(), strict=True):
        for axis, file in zip(row, files, strict=False):
            axis.imshow(np.asarray(Image.open(file)), vmin=0, vmax=255)
            axis.set_title(f"step {int(file.stem.removeprefix('step-'))}")
        for axis in row:
            style.bare(axis)
        row[0].set_ylabel(style.LABELS[name])
    return figure
