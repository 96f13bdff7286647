"""Freeze the artefact detectors' thresholds on one phantom cohort and score them on another.

`python benchmarks/artefact_thresholds.py` writes `benchmarks/results/artefact_scores.csv`, every detector's score of
every pair, and `artefact_detectors.csv` beside it: thresholds, false positives, sensitivity by way of planting. Two
minutes on two cores. Pairs go through the study's own preprocessing at 64 and 256 px; each kind of artefact is then
planted into a random half of them by the functions below.

Rule of the fit, both sizes together: where planted pairs' 10th percentile lies above clean pairs' 99th, the threshold
is halfway between them; elsewhere it is the 99th percentile of clean pairs, so that 1 % of them are flagged.

Scored beside the planted ones: artefacts that the second cohort's files hold themselves, after matching within the
breast and over the whole image; and, where `MAMMORGB_REAL_DATA` names their folder, pairs of real mammograms.
"""

import argparse
import multiprocessing
import os
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from mammorgb_utils.data.dicom import Mammogram
from mammorgb_utils.data.phantom import write_cohort
from mammorgb_utils.data.preprocess import load_reference_cdf, preprocess_view, read_view
from mammorgb_utils.evaluation.artefacts import DETECTORS, artefact_scores
from mammorgb_utils.evaluation.masks import breast_mask
from mammorgb_utils.evaluation.overlap import pair_masks
from mammorgb_utils.evaluation.statistics import rate_row
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULTS = PROJECT_ROOT / "benchmarks" / "results"
FIT_SEED, FIT_PAIRS = 5, 36  # the cohort that thresholds are frozen on
SCORED_SEED, SCORED_PAIRS = 17, 72  # the cohort that they are scored on; no threshold or detector was chosen on it
SCORED_COHORT = 240  # pairs of it that are written: few hold an artefact of their own
SIZES = (64, 256)  # px
SCOPES = ("foreground", "image")
STREAM = 50  # of random numbers
FALSE_POSITIVES, MISSED = 0.01, 0.10
WORKERS = 2
Planted = tuple[np.ndarray, str]


def plant_background_offset(pair: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Planted:
    """One view's air becomes grey."""
    return _in_one_view(pair, lambda view: np.maximum(view, rng.uniform(0.05, 0.14)), rng), "grey air"


def plant_edge_line(pair: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Planted:
    """A straight bright line across the field, a dark one through the breast, or a bright strip at the border."""
    variant = str(rng.choice(["bright line", "dark line", "bright strip"]))
    return _in_one_view(pair, lambda view: _with_line(view, variant, rng), rng), variant


def plant_label_remnant(pair: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Planted:
    """Bars of a label's size and brightness, free in air or touching the breast."""
    variant = str(rng.choice(["in air", "touching"]))
    return _in_one_view(pair, lambda view: _with_label(view, variant, rng), rng), variant


def plant_cut_breast(pair: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Planted:
    """The lower part of a view, or the upper one of CC, leaves the field; or the breast collapses to a sliver."""
    variant = str(rng.choice(["CC below", "MLO below", "CC above", "collapsed"]))
    planted = pair.copy()
    which = 1 if variant == "MLO below" or (variant == "collapsed" and rng.random() < 0.5) else 0
    planted[which] = _collapsed(pair[which]) if variant == "collapsed" else _shifted(pair[which], variant, rng)
    return planted, variant


def plant_view_mismatch(pair: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Planted:
    """Views swapped, MLO replaced by another breast's CC, or by another breast's MLO of any size."""
    variant = str(rng.choice(["views swapped", "CC as MLO", "another's MLO"]))
    if variant == "views swapped":
        return pair[::-1].copy(), variant
    return np.stack([pair[0], other[0 if variant == "CC as MLO" else 1]]), variant


def plant_checkerboard(pair: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Planted:
    """The pattern that learnt upsampling leaves: every second or fourth pixel brighter, within the breast."""
    period = int(rng.choice([2, 4]))
    height, width = pair.shape[1:]
    pattern = np.outer(np.arange(height) % period < period // 2, np.arange(width) % period < period // 2)
    amplitude = rng.uniform(0.04, 0.12)
    return _in_one_view(pair, lambda view: np.where(view > 0.02, view + amplitude * pattern, view), rng), \
        f"every {period} px"


def plant_other_contour(pair: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Planted:
    """The outline of the pair's other view, drawn into one view: bright, or, into the larger breast's tissue, dark."""
    variant, which, masks = str(rng.choice(["bright", "dark"])), int(rng.integers(2)), [breast_mask(v) for v in pair]
    which = which if variant == "bright" else int(masks[1].sum() > masks[0].sum())
    mask = masks[1 - which]
    line = mask & ~ndimage.minimum_filter(mask, 2 * (len(mask) // 64) + 1, mode="nearest")
    depth = rng.uniform(0.1, 0.25) * (1 if variant == "bright" else -1)
    planted = pair.copy()
    planted[which] = np.clip(pair[which] + depth * line, 0.0, 1.0)
    return planted, variant


PLANTS = {name: globals()[f"plant_{name}"] for name in DETECTORS}


def _in_one_view(pair: np.ndarray, change, rng: np.random.Generator) -> np.ndarray:
    planted, which = pair.copy(), int(rng.integers(2))
    planted[which] = np.clip(change(pair[which]), 0.0, 1.0)
    return planted


def _with_line(view: np.ndarray, variant: str, rng: np.random.Generator) -> np.ndarray:
    side, lined = len(view), view.copy()
    wide = int(rng.integers(1, max(2, side // 64) + 1))
    rows, columns = (np.flatnonzero((view > 0.05).any(axis=axis)) for axis in (1, 0))
    if variant == "bright strip":
        lined[-max(2, round(0.05 * side)):] = rng.uniform(0.3, 1.0)
    elif variant == "dark line":
        at = int(rng.uniform(rows[0] + 0.3 * rows.size, rows[0] + 0.7 * rows.size))
        lined[at:at + wide] *= rng.uniform(0.3, 0.7)
    elif rng.random() < 0.5:
        at = int(rng.uniform(0.6, 0.9) * side)
        lined[:, at:at + wide] = np.maximum(lined[:, at:at + wide], rng.uniform(0.25, 0.45))
    else:
        at = int(rng.uniform(rows[0] + 0.2 * rows.size, 0.97 * side))
        lined[at:at + wide] = np.maximum(lined[at:at + wide], rng.uniform(0.25, 0.45))
    return lined


def _with_label(view: np.ndarray, variant: str, rng: np.random.Generator) -> np.ndarray:
    side, lettered = len(view), view.copy()
    height, width = (max(2, round(rng.uniform(*share) * side)) for share in ((0.04, 0.07), (0.10, 0.20)))
    top = int(rng.uniform(0.1, 0.8) * side)
    edge = int(np.flatnonzero((view[top:top + height] > 0.05).any(axis=0)).max(initial=0))
    nearest, last = edge + max(2, round(0.06 * side)), side - width - 1
    left = min(edge, last) if variant == "touching" or nearest >= last else int(rng.integers(nearest, last))
    bars = np.arange(width) % max(2, round(side / 32)) < max(1, round(side / 64))
    region = lettered[top:top + height, left:left + width]
    region[:, bars] = np.maximum(region[:, bars], rng.uniform(0.7, 1.0))
    return lettered


def _shifted(view: np.ndarray, variant: str, rng: np.random.Generator) -> np.ndarray:
    rows, side = np.flatnonzero((view > 0.05).any(axis=1)), len(view)
    lost = rng.uniform(0.2, 0.4) if variant == "CC below" else rng.uniform(0.35, 0.5)
    lost = rng.uniform(0.15, 0.35) if variant == "MLO below" else lost
    shift = -(rows[0] + round(lost * rows.size)) if variant == "CC above" else side - rows[-1] + round(lost * rows.size)
    return ndimage.shift(view, (shift, 0), order=0, mode="nearest" if variant == "MLO below" else "constant")


def _collapsed(view: np.ndarray) -> np.ndarray:
    narrow = ndimage.zoom(view, (1.0, 0.08), order=1)
    return np.pad(narrow, ((0, 0), (0, view.shape[1] - narrow.shape[1])))


def phantom_pairs(folder: Path, n: int, artefact: bool) -> list[tuple[str, str, Path, Path]]:
    """Name, artefact and files of the first usable pairs without an artefact, or of those with one."""
    truth = pd.read_csv(folder / "truth.csv", keep_default_na=False)
    usable = truth[(truth["role"] == "usable") & ((truth["artefact"] != "") == artefact)].head(n)
    return [(row.pair, row.artefact, *(folder / row.patient / f"E1_{row.laterality}_{view}.dcm"
                                       for view in ("CC", "MLO"))) for row in usable.itertuples()]


def preprocessed(item: tuple[str, str, Path, Path], size: int, scope: str = "foreground") -> np.ndarray:
    protocol = Protocol(image_size=size, match_scope=scope)
    reference = load_reference_cdf(protocol)
    return np.stack([preprocess_view(_read(path, protocol), reference, protocol) for path in item[2:]])


def _read(path: Path, protocol: Protocol) -> Mammogram:
    if path.suffix == ".dcm":
        return read_view(path, protocol)
    grey = np.asarray(Image.open(path)).astype(np.float32)
    grey = grey[..., 0] if grey.ndim == 3 else grey
    return Mammogram(grey / grey.max(), "L", "CC", False, None, "MONOCHROME2", False, "none")


def scored(pair: np.ndarray, **labels: object) -> dict[str, object]:
    stack = pair[None].astype(np.float32)
    return labels | artefact_scores(stack, pair_masks(stack)).iloc[0].round(5).to_dict()


def clean_and_planted(job: tuple, cohort: str, size: int, origin: str = "clean") -> list[dict[str, object]]:
    """Scores of one pair as it is, and of each kind that is planted into it; half of the pairs get a kind."""
    number, item, partner = job
    pair, other = preprocessed(item, size), preprocessed(partner, size) if number >= 0 else None
    labels = {"cohort": cohort, "image_size": size, "match_scope": "foreground"}
    rows = [scored(pair, **labels, origin=origin, artefact="", variant="")]
    for kind, (name, plant) in enumerate(PLANTS.items()):
        if number >= 0 and np.random.default_rng([STREAM, kind, number // 2]).integers(2) == number % 2:
            planted, variant = plant(pair, other, np.random.default_rng([STREAM, kind, number, len(cohort)]))
            rows.append(scored(planted, **labels, origin="planted", artefact=name, variant=variant))
    return rows


def as_stored(item: tuple, scope: str) -> list[dict[str, object]]:
    return [scored(preprocessed(item, SIZES[0], scope), cohort="scored", image_size=SIZES[0], match_scope=scope,
                   origin="in the file", artefact=item[1].replace("paddle_line", "edge_line"), variant="")]


def measure(n_fit: int, n_scored: int, pool) -> pd.DataFrame:
    rows = []

    def run(work, jobs, what):
        for found in tqdm(pool.imap(work, jobs), total=len(jobs), desc=what, mininterval=5):
            rows.extend(found)

    with tempfile.TemporaryDirectory() as written:
        fit, second = Path(written) / "fit", Path(written) / "scored"
        write_cohort(fit, n_fit, FIT_SEED, workers=WORKERS)
        write_cohort(second, max(SCORED_COHORT, n_scored), SCORED_SEED, workers=WORKERS)
        for cohort, where, n in (("fit", fit, n_fit), ("scored", second, n_scored)):
            items = phantom_pairs(where, n, artefact=False)
            jobs = [(i, item, items[i - 1]) for i, item in enumerate(items)]
            for size in SIZES:
                run(partial(clean_and_planted, cohort=cohort, size=size), jobs, f"{cohort} {size}")
        for scope in SCOPES:
            run(partial(as_stored, scope=scope), phantom_pairs(second, SCORED_COHORT, artefact=True),
                f"in the file, {scope}")
    folder = Path(os.environ.get("MAMMORGB_REAL_DATA", "absent")) / "pairs"
    names = sorted({file.stem.rsplit("_", 1)[0] for file in folder.glob("*.png")})
    jobs = [(-1, (name, "", folder / f"{name}_CC.png", folder / f"{name}_MLO.png"), None) for name in names]
    for size in SIZES:
        run(partial(clean_and_planted, cohort="real mammograms", size=size, origin="as they are"), jobs, f"real {size}")
    return pd.DataFrame(rows)


def fitted(scores: pd.DataFrame) -> dict[str, float]:
    """Thresholds by the rule, rounded to two digits."""
    fit = scores[scores["cohort"] == "fit"]
    clean, found = fit[fit["origin"] == "clean"], {}
    for name in DETECTORS:
        high = clean[name].quantile(1.0 - FALSE_POSITIVES)
        low = fit.loc[(fit["origin"] == "planted") & (fit["artefact"] == name), name].quantile(MISSED)
        found[name] = float(f"{(high + low) / 2 if low > high else high:.2g}")
    return found


def performance(scores: pd.DataFrame, thresholds: dict[str, float]) -> pd.DataFrame:
    """One row a detector and group of pairs: how many it flags. Of planted pairs, those of its own kind."""
    groups = ["cohort", "image_size", "match_scope", "origin"]
    rows = []
    for labels, part in scores.groupby(groups, sort=False):
        for name, threshold in thresholds.items():
            own = part[part["artefact"] == name] if labels[-1] in ("planted", "in the file") else part
            variants = [("all", own)] + ([(variant, rows_) for variant, rows_ in own.groupby("variant")]
                                         if labels[-1] == "planted" and own["variant"].nunique() > 1 else [])
            rows += [{"artefact": name, "threshold": threshold, **dict(zip(groups, labels, strict=True)),
                      "variant": variant, **_rounded(rate_row(known > threshold))}
                     for variant, chosen in variants if len(known := chosen[name].dropna())]
    return pd.DataFrame(rows)


def _rounded(rate: dict[str, float]) -> dict[str, float]:
    counts = {"n": rate["n"], "flagged": int(rate["count"])}
    return counts | {name: round(rate[name], 4) for name in ("rate", "low", "high")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", type=int, default=FIT_PAIRS, help="usable pairs of the cohort that is fitted")
    parser.add_argument("--scored", type=int, default=SCORED_PAIRS, help="pairs of the cohort that is scored")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        scores = measure(options.fit, options.scored, pool)
    write_csv(options.out / "artefact_scores.csv", scores)
    table = performance(scores, fitted(scores))
    versions = {name: version(name) for name in ("numpy", "scipy", "scikit-image")}
    write_csv(options.out / "artefact_detectors.csv", table.assign(**versions))
    print(table[table["variant"] == "all"].to_string(index=False))


if __name__ == "__main__":
    main()
