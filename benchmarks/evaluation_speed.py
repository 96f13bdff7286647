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
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy.ndimage import zoom

from mammorgb_utils.data.batch.workers import available_cores
from mammorgb_utils.evaluation.anatomy.agreement import anatomy_table, strata_of
from mammorgb_utils.evaluation.anatomy.matching import match_table
from mammorgb_utils.evaluation.anatomy.measure import anatomy
from mammorgb_utils.evaluation.anatomy.third_channel import computed_third, third_residuals
from mammorgb_utils.evaluation.artefacts.rates import artefact_flags, artefact_rates
from mammorgb_utils.evaluation.consistency import (
    NEAREST_AREA,
    consistency_table,
    nearest_area_overlap,
    shuffled_overlap,
)
from mammorgb_utils.evaluation.fidelity.memorisation import (
    HELDOUT,
    TRAIN,
    memorisation_table,
    nearest_training,
    planted_copies,
)
from mammorgb_utils.evaluation.fidelity.metrics import fidelity_table
from mammorgb_utils.evaluation.fidelity.texture import texture_features
from mammorgb_utils.evaluation.masks import mask_agreement, mask_examples, masks_by_method, overlap_by_method
from mammorgb_utils.evaluation.overlap import pair_masks, pair_metrics, plausible
from mammorgb_utils.evaluation.score_steps import MAX_TRAIN
from mammorgb_utils.evaluation.statistics import contrast_table, distance_table, effect_table, overlap_summary
from mammorgb_utils.experiments.choice_effects import MAX_PAIRS, contrast_tests, split_effects
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


def together(study: SimpleNamespace, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of all sets as one, with set, pair and patient."""
    labels = {name: study.names[name][:len(table)] for name, table in tables.items()}
    return pd.concat([table.assign(set=name, pair=labels[name], patient=labels[name])
                      for name, table in tables.items()], ignore_index=True)


def masks(study: SimpleNamespace) -> None:
    chosen = {name: pairs[:MAX_TRAIN] if name == TRAIN else pairs for name, pairs in study.sets.items()}
    study.masks = {name: pair_masks(pairs, study.protocol.mask_method) for name, pairs in chosen.items()}


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


def own_table(name: str, table: Callable[..., pd.DataFrame], *inputs: str) -> Callable[[SimpleNamespace], None]:
    """A stage that makes one of the tables that the study's own mask method keeps."""
    def stage(study: SimpleNamespace) -> None:
        study.own[name] = table(*(getattr(study, each) for each in inputs), study.protocol)
    return stage


def measured_anatomy(study: SimpleNamespace) -> None:
    study.anatomy = together(study, {name: anatomy(study.sets[name][:len(made)], made)
                                     for name, made in study.masks.items()})


def flags(study: SimpleNamespace) -> None:
    study.flags = together(study, {name: artefact_flags(study.sets[name], study.masks[name]) for name in SET_ORDER})


def residuals(study: SimpleNamespace) -> None:
    strata = {name: strata_of(study.anatomy[study.anatomy["set"] == name]) for name in SET_ORDER}
    study.residuals = []
    for encoding in SET_ORDER[1:]:
        drawn = computed_third(study.sets[encoding], encoding, sum_scale=study.protocol.sum_scale)
        for name, third in (("real", None), (encoding, drawn)):
            table = third_residuals(study.sets[name], third, study.masks[name], encoding, study.protocol,
                                    names=study.names[name], patients=study.names[name], strata=strata[name])
            study.residuals.append(table.assign(set=name))
    study.residuals = pd.concat(study.residuals, ignore_index=True)


def texture(study: SimpleNamespace) -> None:
    study.texture = together(study, {name: texture_features(study.sets[name], study.masks[name]) for name in SET_ORDER})


def nearest(study: SimpleNamespace) -> None:
    searched = {HELDOUT if name == "real" else name: pairs for name, pairs in study.sets.items()}
    searched |= planted_copies(study.sets[TRAIN], seed=study.protocol.seed)
    study.nearest = nearest_training(searched, {name: [f"{name}-{i}" for i in range(len(pairs))]
                                                for name, pairs in searched.items()})


def methods(study: SimpleNamespace) -> None:
    own = study.protocol.mask_method
    study.by_method = {name: masks_by_method(study.sets[name], known={own: study.masks[name]}) for name in SET_ORDER}


def overlaps(study: SimpleNamespace) -> None:
    study.overlaps = overlap_by_method({name: study.sets[name] for name in SET_ORDER}, study.by_method, study.names,
                                       study.names, study.protocol)


def agreement(study: SimpleNamespace) -> None:
    mask_agreement(study.by_method, study.protocol, patients=study.names)
    mask_examples({name: study.sets[name] for name in SET_ORDER}, study.by_method)


def splits(study: SimpleNamespace) -> None:
    first = {name: study.sets[name][:MAX_PAIRS] for name in ("real", TRAIN)}  # of each split so many are masked
    index = pd.concat([pd.DataFrame({"pair": study.names[name][:MAX_PAIRS], "split": split})
                       for name, split in (("real", HELDOUT), (TRAIN, TRAIN))], ignore_index=True)
    index, pairs = index.assign(patient=index["pair"]), np.concatenate(list(first.values()))
    split_effects(pairs, index, study.overlap, study.protocol)
    contrast_tests(study.overlap, study.protocol)


STAGES: dict[str, Callable[[SimpleNamespace], object]] = {
    "masks": masks,
    "overlap": overlap,
    "shuffled overlap": shuffled,
    "anatomy": measured_anatomy,
    "third channel": residuals,
    "texture": texture,
    "nearest training": nearest,
    "masks by method": methods,
    "overlap by method": overlaps,
    "mask agreement": agreement,
    "distances": own_table("distances", distance_table, "overlap"),
    "effects": own_table("effects", effect_table, "overlap"),
    "contrasts": own_table("contrasts", contrast_table, "overlap"),
    "consistency": own_table("consistency", consistency_table, "overlap", "shuffled"),
    "anatomy table": lambda study: anatomy_table(study.anatomy, study.protocol, residuals=study.residuals),
    "match test": lambda study: match_table(study.anatomy, study.protocol),
    "fidelity": lambda study: fidelity_table(study.texture, study.names["real"], study.protocol),
    "memorisation": lambda study: memorisation_table(study.nearest),
    "verdicts by method": lambda study: verdicts_by_method(
        *study.overlaps, study.protocol, PROJECT_ROOT / "claims.yaml", cohort_source="phantom", own=study.own),
    "split effects": splits,
    "artefacts": flags,
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
        sets = write_sets(Path(folder), options.source, options.scale)
        names = {name: [f"{name}-{i:05d}" for i in range(len(pairs))] for name, pairs in sets.items()}
        study = SimpleNamespace(sets=sets, names=names, protocol=protocol, own={})
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
