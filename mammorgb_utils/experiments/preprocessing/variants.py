"""A3: a study under other preprocessing, its views made anew, one model trained on each kind, and drawn from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mammorgb_utils.data.batch.reference import average_reference, read_curves
from mammorgb_utils.data.cohort import CohortError
from mammorgb_utils.data.pairs import kept_images, load_pairs, preprocess_cohort, real_pairs
from mammorgb_utils.data.preprocess import ReferenceCDF
from mammorgb_utils.diffusion.engine.loop import CHECKPOINTS
from mammorgb_utils.experiments.preprocessing.audit import SCOPES
from mammorgb_utils.experiments.trial import TrialError, run_trial
from mammorgb_utils.output.style import DOUBLE_COLUMN, QUIET, bare, new_figure, styled
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, Run, exclusive
from mammorgb_utils.streams import Stream, generator

STUDY = "study"  # name and field of the variant that is the study's own preprocessing
FILM_GAMMA = 2.0  # exponent on the mean reference: fat darker and contrast in dense tissue higher, as on film
MAX_REFERENCE_IMAGES = 150  # training images read anew for the references: the darkest third is then 50 of them
_REFERENCES = {"dark": "darkest third of the study's training views",
               "bright": "brightest third of the study's training views",
               "gamma": f"study's training views, intensities to the power of {FILM_GAMMA:g}"}
LABELS = {
    "study": "As in\nthe study", "mirror-off": "Not\nmirrored", "mirror-on": "Mirrored", "match-none": "Not\nmatched",
    "match-image": "Whole image\nmatched", "match-foreground": "Breast\nmatched", "reference-dark": "Darker\nreference",
    "reference-bright": "Brighter\nreference", "reference-gamma": "Film-like\nreference"}


@dataclass(frozen=True)
class Variant:
    """One preprocessing that differs from the study's in one protocol field."""

    name: str  # of its folder below the appendix's
    field: str  # `mirror`, `match_scope`, `reference_cdf`, or `STUDY` for the study's own
    choice: str  # its value in words: `on`, `off`; a scope; a reference of `make_references`; `as it is`


def variants_of(protocol: Protocol) -> tuple[Variant, ...]:
    """The study's own preprocessing, and every other one that changes a single choice.

    Mirroring is turned over, the histogram matching gets the scopes that the study hasn't, and its target another
    reference. A study that matches nothing has no variants of the reference, as there it decides nothing; one that pads
    isn't tried without mirroring, as its padding would part right breasts from their edge.
    """
    found = [Variant(STUDY, STUDY, "as it is")]
    mirror = "off" if protocol.mirror else "on"
    if mirror == "on" or protocol.aspect == "squash":
        found.append(Variant(f"mirror-{mirror}", "mirror", mirror))
    found += [Variant(f"match-{scope}", "match_scope", scope) for scope in SCOPES if scope != protocol.match_scope]
    if protocol.match_scope != "none":
        found += [Variant(f"reference-{name}", "reference_cdf", name) for name in _REFERENCES]
    return tuple(found)


def variant_run(study: Run, variant: Variant) -> Run:
    """The variant's own small study: the same manifest, a folder below the appendix's, and one field changed."""
    if variant.field == STUDY:
        return study
    file = _reference_file(study, variant.choice)  # named from the project's root where it lies there
    value = {"mirror": variant.choice == "on", "match_scope": variant.choice,
             "reference_cdf": str(file.relative_to(PROJECT_ROOT) if file.is_relative_to(PROJECT_ROOT) else file),
             }[variant.field]
    return replace(study, root=study.appendix("A3") / variant.name,
                   protocol=study.protocol.changed(**{variant.field: value}))


def make_references(study: Run, *, progress: bool = True) -> pd.DataFrame:
    """Take other reference CDFs from the study's own training images, once a study.

    Writes `appendices/A3/reference-<name>.json`: averages over the darkest and the brightest third of the views, by
    mean intensity inside the breast, and over all of them with `FILM_GAMMA`. At most `MAX_REFERENCE_IMAGES` views are
    read, drawn by the seed.

    Returns:
        One row a reference: `choice`, `taken_from`, `n_images`, and its `lower_quartile`, `median` and
        `upper_quartile` inside the breast, in [0, 1].
    """
    files = {name: _reference_file(study, name) for name in _REFERENCES}
    with exclusive(study.appendix("A3")):
        if not all(file.is_file() for file in files.values()):
            for name, reference in references_of(_training_curves(study, progress)).items():
                reference.save(files[name])
    stored = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}
    return pd.DataFrame([[name, curve["name"], curve["n_images"], *np.quantile(curve["foreground"], (0.25, 0.5, 0.75))]
                         for name, curve in stored.items()], columns=["choice", "taken_from", "n_images",
                                                                      "lower_quartile", "median", "upper_quartile"])


def preprocess_variants(study: Run, variants: Iterable[Variant], *, progress: bool = True) -> dict[str, Run]:
    """Preprocess the whole cohort under every variant; what is finished is loaded, what was killed continues.

    Returns:
        Each variant's run by its name; `load_pairs` and `real_pairs` read its views.
    """
    runs = {variant.name: variant_run(study, variant) for variant in variants}
    expected = load_pairs(study, "all")[1].groupby("split")["pair"].apply(list).to_dict()
    for name, run in runs.items():
        made = expected if run is study else preprocess_cohort(
            run, progress=progress).groupby("split")["pair"].apply(list).to_dict()
        if made != expected:
            raise CohortError(f"variant {name}: its pairs aren't those of pairs/index.csv; are all files of the "
                              "manifest still readable? Then remove the variant's folder below appendices/A3")
    return runs


def example_views(runs: dict[str, Run]) -> dict[str, np.ndarray]:
    """One real breast, `(2, H, W)` in [0, 1], under every variant of `preprocess_variants`: the first right one, as a
    left one doesn't show what mirroring does; the first of all where none is a right one."""
    _, index = real_pairs(next(iter(runs.values())))
    row = int(index["laterality"].eq("R").argmax())
    return {name: np.array(real_pairs(run)[0][row]) for name, run in runs.items()}


@styled
def figure(real: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray]) -> Figure:
    """One real breast, and below it the first drawn pair, under every preprocessing: a column a variant.

    Args:
        real: Variant name to the same real pair, `(2, H, W)` in [0, 1], CC first.
        drawn: The same of pairs drawn from one seed; a variant without any has an empty place.
    """
    figure = new_figure(DOUBLE_COLUMN, 9.0 + 4 * (DOUBLE_COLUMN - 12.0) / len(real))
    grid = figure.subplots(4, len(real), squeeze=False)
    for column, name in zip(grid.T, real, strict=True):
        for axes, view in zip(column, [*real[name], *drawn.get(name, (None, None))], strict=True):
            if view is not None:
                axes.imshow(view, vmin=0, vmax=1)
            bare(axes, frame=QUIET)
            axes.set_box_aspect(1)
        column[0].set_title(LABELS[name], pad=3)
    for axes, label in zip(grid[:, 0], ("Real CC", "Real MLO", "Drawn CC", "Drawn MLO"), strict=True):
        axes.set_ylabel(label)
    return figure


def draw_variant(study: Run, variant: Variant, real: pd.DataFrame, budget: Protocol, encoding: str, *,
                 progress: bool = True) -> np.ndarray:
    """Train one model on the variant's training pairs and draw from it; at once where this has been done.

    Args:
        study, variant: Whose pairs are trained on; they are made.
        real: The variant's real rows of `overlap_table`.
        budget: The study's protocol with the appendix's `epochs` and `n_synthetic`: equal for every variant, and so
            are the seed, the order of batches, and all noise.

    Returns:
        `(n, 2, H, W)` float32 in [0, 1], CC first, as drawn; no pairs where the training diverged.
    """
    folder = study.appendix("A3") / variant.name / f"trial-{encoding}"
    pairs, _ = load_pairs(variant_run(study, variant), "train")
    rows = run_trial(pairs, real, budget, encoding, folder, keep_models=True, progress=progress)
    for part in (f"training/{CHECKPOINTS}", "training/milestones", "model"):  # samples alone are looked at again
        shutil.rmtree(folder / part, ignore_errors=True)
    if rows["n"].iloc[-1] == 0:
        return np.zeros((0, *pairs.shape[1:]), np.float32)
    file = folder / "samples" / "model" / "pairs.npy"
    if not file.is_file():
        raise TrialError(f"variant {variant.name}: its samples are gone; remove {folder.name} in its folder below "
                         "appendices/A3 to do it anew")
    return np.load(file, mmap_mode="r")


def _reference_file(study: Run, name: str) -> Path:
    return study.appendix("A3") / f"reference-{name}.json"


def _training_curves(study: Run, progress: bool) -> list[np.ndarray]:
    """Quantile functions of training images that the study uses: breast, and whole image."""
    images = kept_images(study)
    paths = images.loc[images["split"] == "train", "path"].to_numpy()
    rng = generator(study.protocol.seed, Stream.REFERENCE_IMAGES)
    chosen = np.sort(rng.choice(len(paths), min(MAX_REFERENCE_IMAGES, len(paths)), replace=False))
    files = [study.manifest.parent / path for path in paths[chosen]]
    curves = list(read_curves(files, study.protocol, label="references", progress=progress))
    if len(curves) < len(_REFERENCES):
        raise CohortError(f"references: {len(curves)} of {len(files)} training images can be read; three at least are "
                          "needed for thirds. Are the manifest's files still in their place?")
    return curves


def references_of(curves: list[np.ndarray]) -> dict[str, ReferenceCDF]:
    """References `dark`, `bright` and `gamma` from `quantile_curves` of views; thirds never share a view."""
    order = np.argsort([foreground.mean() for foreground, _ in curves], kind="stable")
    third = len(order) // 3
    mean = average_reference(curves, _REFERENCES["gamma"])
    return {"dark": average_reference([curves[i] for i in order[:third]], _REFERENCES["dark"]),
            "bright": average_reference([curves[i] for i in order[-third:]], _REFERENCES["bright"]),
            "gamma": replace(mean, foreground=mean.foreground**FILM_GAMMA, image=mean.image**FILM_GAMMA)}
