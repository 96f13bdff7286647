"""From arrays to tables: 3 × 500 synthetic against 2,500 real pairs of 256 × 256, at the draws of the paper profile.

`python benchmarks/evaluation_speed.py` writes `benchmarks/results/evaluation_speed.csv`, one row a stage: seconds on
one core, pairs a second. `--scale 0.1` takes a tenth of the pairs; draws stay. Pairs are those of the laptop study,
enlarged, moved and with noise, as only their number and size matter; some 4 GB of disk at full scale.

Aim: all stages together within ten minutes on two cores, which share the measures of each pair.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy.ndimage import zoom

from mammorgb_utils.evaluation.anatomy import anatomy
from mammorgb_utils.evaluation.anatomy_consistency import anatomy_table
from mammorgb_utils.evaluation.artefacts import artefact_flags, artefact_rates
from mammorgb_utils.evaluation.comparison import contrast_table, distance_table, effect_table, overlap_summary
from mammorgb_utils.evaluation.consistency import NEAREST_AREA, nearest_area_overlap, shuffled_overlap
from mammorgb_utils.evaluation.consistency_summary import consistency_table
from mammorgb_utils.evaluation.fidelity import fidelity_table
from mammorgb_utils.evaluation.match_test import match_table
from mammorgb_utils.evaluation.memorisation import nearest_training
from mammorgb_utils.evaluation.overlap import pair_masks, pair_metrics, plausible
from mammorgb_utils.evaluation.resampling import SET_ORDER
from mammorgb_utils.evaluation.texture import texture_features
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "evaluation_speed.csv"
SIZE = 256  # px
PAIRS = {"real": 2500, "sum": 500, "absdiff": 500, "zero": 500, "train": 500}
NOISE = 0.01  # of the intensity scale
LIMIT = 600.0  # s, on two cores
PER_PAIR = ("masks", "overlap", "anatomy", "texture", "artefacts")  # stages that two cores share
PACKAGES = ("numpy", "scipy", "scikit-image", "scikit-learn", "pandas")


def write_sets(folder: Path, source: Path, scale: float) -> dict[str, np.ndarray]:
    """`(N, 2, 256, 256)` float32 of each set, opened from disk."""
    rng, sets = np.random.default_rng([2511, 21]), {}
    for name, count in PAIRS.items():
        file = source / "pairs" / "pairs.npy" if name in ("real", "train") else source / "samples" / name / "pairs.npy"
        known, n = np.load(file, mmap_mode="r"), max(8, round(scale * count))
        pairs = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (n, 2, SIZE, SIZE))
        for i, row in enumerate(rng.integers(len(known), size=n)):
            large = zoom(known[row], (1, SIZE / known.shape[2], SIZE / known.shape[3]), order=1)
            large = np.roll(large, rng.integers(-8, 9), axis=1) + NOISE * rng.standard_normal(large.shape)
            pairs[i] = np.clip(large, 0.0, 1.0)
        sets[name] = pairs
    return sets


def together(study: SimpleNamespace, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of all sets as one, with set, pair and patient."""
    return pd.concat([table.assign(set=name, pair=study.names[name], patient=study.names[name])
                      for name, table in tables.items()], ignore_index=True)


def overlap(study: SimpleNamespace) -> None:
    tables = {name: pair_metrics(study.sets[name], masks=study.masks[name]) for name in SET_ORDER}
    study.overlap = together(study, {name: table.assign(plausible=plausible(table, tables["real"]))
                                     for name, table in tables.items()})
    overlap_summary(study.overlap)


def shuffled(study: SimpleNamespace) -> None:
    options = {"n_draws": study.protocol.n_derangements, "seed": study.protocol.seed}
    tables = [shuffled_overlap(study.masks[name], pairs=study.names[name], **options).assign(set=name)
              for name in SET_ORDER]
    tables.append(nearest_area_overlap(study.masks["real"], pairs=study.names["real"]).assign(set=NEAREST_AREA))
    study.shuffled = pd.concat(tables, ignore_index=True)


def masks(study: SimpleNamespace) -> None:
    study.masks = {name: pair_masks(pairs, study.protocol.mask_method) for name, pairs in study.sets.items()}


def measured(function: Callable, name: str) -> Callable[[SimpleNamespace], None]:
    """A stage that takes a measure of every pair of every set."""
    def stage(study: SimpleNamespace) -> None:
        setattr(study, name, together(study, {each: function(pairs, study.masks[each])
                                              for each, pairs in study.sets.items()}))
    return stage


STAGES: dict[str, Callable[[SimpleNamespace], object]] = {
    "masks": masks,
    "overlap": overlap,
    "shuffled overlap": shuffled,
    "distances": lambda study: distance_table(study.overlap, study.protocol),
    "effects": lambda study: effect_table(study.overlap, study.protocol),
    "contrasts": lambda study: contrast_table(study.overlap, study.protocol),
    "consistency": lambda study: consistency_table(study.overlap, study.shuffled, study.protocol),
    "anatomy": measured(anatomy, "anatomy"),
    "anatomy table": lambda study: anatomy_table(study.anatomy, study.protocol),
    "match test": lambda study: match_table(study.anatomy, study.protocol),
    "artefacts": measured(artefact_flags, "flags"),
    "artefact rates": lambda study: artefact_rates(study.flags),
    "texture": measured(texture_features, "texture"),
    "fidelity": lambda study: fidelity_table(study.texture, study.names["real"], study.protocol),
    "memorisation": lambda study: nearest_training({**study.sets, "heldout": study.sets["real"]}, pd.concat(
        [study.texture, study.texture[study.texture["set"] == "real"].assign(set="heldout")], ignore_index=True)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the pairs")
    parser.add_argument("--source", type=Path, default=PROJECT_ROOT / "runs" / "laptop", help="a finished study")
    parser.add_argument("--stages", nargs="*", default=list(STAGES), choices=list(STAGES), help="stages, with all "
                        "that they need")
    options = parser.parse_args()
    rows, protocol = [], Protocol.load("paper")
    with tempfile.TemporaryDirectory(prefix="mammorgb-speed-") as folder:
        sets = write_sets(Path(folder), options.source, options.scale)
        names = {name: [f"{name}-{i:05d}" for i in range(len(pairs))] for name, pairs in sets.items()}
        study, count = SimpleNamespace(sets=sets, names=names, protocol=protocol), sum(map(len, sets.values()))
        for stage in options.stages:
            began, used = time.perf_counter(), time.process_time()
            STAGES[stage](study)
            seconds, cpu = time.perf_counter() - began, time.process_time() - used
            rows.append({"stage": stage, "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2),
                         "pairs": count, "pairs_per_s": round(count / cpu, 1)})
            print(f"{stage:18} {seconds:8.1f} s, {cpu:8.1f} s of CPU, {count / cpu:8.1f} pairs/s", flush=True)
    table = pd.DataFrame(rows)
    shared = table["stage"].isin(PER_PAIR)
    total = table["cpu_seconds"].where(~shared, table["cpu_seconds"] / 2.0).sum()
    print(f"{total:.0f} s on two cores, of {LIMIT:.0f} s at full scale")
    versions = "; ".join(f"{package} {version(package)}" for package in PACKAGES)
    write_csv(RESULT, table.assign(scale=options.scale, two_cores_total=round(total, 1), versions=versions))
    sys.exit(0 if total <= LIMIT else 1)


if __name__ == "__main__":
    main()
