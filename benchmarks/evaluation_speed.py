"""From arrays to tables: 3 × 500 synthetic against 2,500 real pairs of 256 × 256, at the draws of the paper profile.

`python benchmarks/evaluation_speed.py` writes `benchmarks/results/evaluation_speed.csv`, one row a stage of notebooks
04 and 05: seconds of wall clock and of CPU. Masks, texture, artefacts and distances run in as many threads as there are
cores. `--scale 0.1` takes a tenth of the pairs; draws stay. Pairs are
those of the laptop study, enlarged, moved and with noise, as only their number and size matter; some 4 GB of disk at
full scale. Figures and the truth of phantoms aren't measured.

Aim: all stages within ten minutes of wall clock, on a machine that does nothing else.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy.ndimage import zoom

from mammorgb_utils.data.batch.workers import available_cores
from mammorgb_utils.data.pairs import HELDOUT, TRAIN
from mammorgb_utils.evaluation.anatomy import anatomy_table, computed_third, match_table
from mammorgb_utils.evaluation.artefacts import artefact_flags, artefact_rates
from mammorgb_utils.evaluation.beyond import anatomy_rows, nearest_rows, texture_rows, third_rows
from mammorgb_utils.evaluation.consistency import consistency_table
from mammorgb_utils.evaluation.fidelity import fidelity_table, memorisation_table
from mammorgb_utils.evaluation.masks import mask_agreement, mask_examples
from mammorgb_utils.evaluation.overlap import masks_by_method
from mammorgb_utils.evaluation.sets import StudySets, overlap_by_method, overlap_table, shuffled_table
from mammorgb_utils.evaluation.statistics import contrast_table, distance_table, effect_table
from mammorgb_utils.experiments.open_choices.choices import MAX_PAIRS, contrast_tests, split_effects
from mammorgb_utils.protocol import SET_ORDER, Protocol
from mammorgb_utils.reporting.mask_verdicts import verdicts_by_method
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "evaluation_speed.csv"
SIZE = 256  # px
PAIRS = {"real": 2500, "sum": 500, "absdiff": 500, "zero": 500, "train": 3010}
# Training pairs: 11,020 images make 5,510 pairs; 2,500 of them are the real ones.
NOISE = 0.01  # of the intensity scale
LIMIT = 600.0  # s of wall clock, at full scale
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


def masks(study: SimpleNamespace) -> None:
    real = study.pairs["real"]
    index = pd.DataFrame({"pair": [f"{HELDOUT}-{i}" for i in range(len(real))]})
    study.sets = StudySets.of({name: study.pairs[name] for name in SET_ORDER}, study.protocol,
                              train=study.pairs[TRAIN], heldout=(real, index))


def measured(name: str, measure: Callable[[StudySets], object]) -> Callable[[SimpleNamespace], None]:
    """A stage that measures all sets."""
    return lambda study: setattr(study, name, measure(study.sets))


def own_table(name: str, table: Callable[..., pd.DataFrame], *inputs: str) -> Callable[[SimpleNamespace], None]:
    """A stage that makes one of the tables that the study's own mask method keeps."""
    def stage(study: SimpleNamespace) -> None:
        study.own[name] = table(*(getattr(study, each) for each in inputs), study.protocol)
    return stage


def residuals(study: SimpleNamespace) -> None:
    drawn = {name: computed_third(study.pairs[name], name, sum_scale=study.protocol.sum_scale)
             for name in SET_ORDER[1:]}
    study.residuals = third_rows(study.sets, drawn, study.anatomy)


def methods(study: SimpleNamespace) -> None:
    own = study.protocol.mask_method
    study.by_method = {name: masks_by_method(pairs, known={own: study.sets.masks[name]})
                       for name, pairs in study.sets.pairs.items()}


def overlaps(study: SimpleNamespace) -> None:
    study.overlaps = overlap_by_method(study.sets, study.by_method)


def agreement(study: SimpleNamespace) -> None:
    mask_agreement(study.by_method, study.protocol, patients=study.sets.patients)
    mask_examples(study.sets.pairs, study.by_method)


def splits(study: SimpleNamespace) -> None:
    first = {name: study.pairs[name][:MAX_PAIRS] for name in ("real", TRAIN)}  # of each split so many are masked
    index = pd.concat([pd.DataFrame({"pair": [f"{name}-{i}" for i in range(len(first[name]))], "split": split})
                       for name, split in (("real", HELDOUT), (TRAIN, TRAIN))], ignore_index=True)
    index, pairs = index.assign(patient=index["pair"]), np.concatenate(list(first.values()))
    split_effects(pairs, index, study.overlap, study.protocol)
    contrast_tests(study.overlap, study.protocol)


STAGES: dict[str, Callable[[SimpleNamespace], object]] = {
    "masks": masks,
    "overlap": measured("overlap", overlap_table),
    "shuffled overlap": measured("shuffled", shuffled_table),
    "anatomy": measured("anatomy", anatomy_rows),
    "third channel": residuals,
    "texture": measured("texture", texture_rows),
    "nearest training": measured("nearest", partial(nearest_rows, planted=True)),
    "masks by method": methods,
    "overlap by method": overlaps,
    "mask agreement": agreement,
    "distances": own_table("distances", distance_table, "overlap"),
    "effects": own_table("effects", effect_table, "overlap"),
    "contrasts": own_table("contrasts", contrast_table, "overlap"),
    "consistency": own_table("consistency", consistency_table, "overlap", "shuffled"),
    "anatomy table": lambda study: anatomy_table(study.anatomy, study.protocol, residuals=study.residuals),
    "match test": lambda study: match_table(study.anatomy, study.protocol),
    "fidelity": lambda study: fidelity_table(study.texture, study.protocol),
    "memorisation": lambda study: memorisation_table(study.nearest),
    "verdicts by method": lambda study: verdicts_by_method(
        *study.overlaps, study.protocol, cohort_source="phantom", own=study.own),
    "split effects": splits,
    "artefacts": measured("flags", lambda sets: sets.rows(artefact_flags)),
    "artefact rates": lambda study: artefact_rates(study.flags),
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
        pairs = write_sets(Path(folder), options.source, options.scale)
        study = SimpleNamespace(pairs=pairs, protocol=protocol, own={})
        for stage in options.stages:
            began, used = time.perf_counter(), time.process_time()
            STAGES[stage](study)
            seconds, cpu = time.perf_counter() - began, time.process_time() - used
            rows.append({"stage": stage, "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2),
                         "cores": available_cores()})
            print(f"{stage:18} {seconds:8.1f} s, {cpu:8.1f} s of CPU", flush=True)
    table = pd.DataFrame(rows)
    total, used = table["seconds"].sum(), table["cpu_seconds"].sum()
    print(f"{total:.0f} s, {used:.0f} s of CPU; the limit is {LIMIT:.0f} s at full scale")
    rows.append({"stage": "all", "seconds": round(total, 2), "cpu_seconds": round(used, 2), "cores": available_cores()})
    versions = "; ".join(f"{package} {version(package)}" for package in PACKAGES)
    write_csv(RESULT, pd.DataFrame(rows).assign(scale=options.scale, versions=versions))
    sys.exit(0 if total <= LIMIT else 1)


if __name__ == "__main__":
    main()
