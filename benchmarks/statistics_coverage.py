"""Do 95 % intervals cover, and do the tests reject too often where there is nothing? By simulated studies.

`python benchmarks/statistics_coverage.py` draws at least 5,000 studies a cell and writes
`benchmarks/results/statistics_coverage.csv`, one row a cell, after each, and at the end
`statistics_coverage_summary.csv`, one row a statistic; started again, it leaves out what is there. Half an hour on an
idle core. Values are shaped like an IoU: median 0.84, a tail to the left. A cell is *plain* (one
breast a woman) or *clustered* (two of nearly every woman, intraclass correlation 0.6). Sizes are those of the laptop
study, of the paper, and of a reader study.

Aims: coverage 93 to 97 %, of the exact interval at least 95 %; false positives at most 6 %.
"""

import argparse
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
from scipy.stats import norm
from tqdm import tqdm

from mammorgb_utils.evaluation.statistics import (
    Effect,
    Sample,
    cliffs_delta,
    closer,
    emd,
    equivalence,
    hodges_lehmann,
    ks,
    mann_whitney,
    median_difference,
    null_band,
    rate,
    wilson,
)
from mammorgb_utils.experiments.readers.agreement import accuracy, auc, kappa
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "statistics_coverage.csv"
SUMMARY = RESULT.with_name("statistics_coverage_summary.csv")
SIZES = {"laptop": (200, 303), "paper": (500, 2500)}
READER = (50, 50)
ICC = 0.6
COVERS, EXACT, REJECTS = (0.93, 0.97), (0.95, 1.0), (0.0, 0.06)
MARGIN = 0.02  # of IoU, strict
SHIFT = 0.03  # of IoU
SHAPES = {"equal": {}, "shifted": {"shift": SHIFT}, "narrower": {"spread": 0.6}, "wider": {"spread": 1.6}}  # of a set
N_PERMUTATIONS = {"laptop": 39, "paper": 19}  # few are fast; p = (b + 1) / (B + 1) can be 5 %, and is valid
N_BOOTSTRAP = {"laptop": 399, "paper": 199, "reader": 999}  # few draws alone cost up to 1 % of coverage
SMALL = (100, 150)  # where the bootstrap is slow
SEEN = 20_001  # points at which a population is integrated
PACKAGES = ("numpy", "scipy", "scikit-learn")

Trial = Callable[[np.random.Generator], bool]


class Cell(NamedTuple):
    """One row of the result; `trial` says whether a study covered the truth, or rejected."""

    statistic: str
    setting: str
    clustered: bool
    n: int
    m: int
    aim: tuple[float, float]
    trial: Trial


def iou_of(z: np.ndarray, shift: float = 0.0, spread: float = 1.0) -> np.ndarray:
    """IoU from a normal score: median 0.84 + shift, standard deviation about 0.06 · spread, left tail."""
    return 0.84 + shift + spread * 0.10 * (1.0 - np.exp(-0.5 * z))


def normal(rng: np.random.Generator, n: int, clustered: bool) -> np.ndarray:
    """Normal scores of n breasts; those of a woman, two by two, share `ICC` of their variance."""
    own = rng.standard_normal(n)
    if not clustered:
        return own
    return np.sqrt(ICC) * np.repeat(rng.standard_normal((n + 1) // 2), 2)[:n] + np.sqrt(1.0 - ICC) * own


def women(n: int, m: int, clustered: bool) -> np.ndarray | None:
    """Patient of each breast, first those of the one sample."""
    return np.concatenate([np.arange(n) // 2, n + np.arange(m) // 2]) if clustered else None


def covers(effect: Effect, truth: float) -> bool:
    return effect.low <= truth <= effect.high


def population(**shape: float) -> np.ndarray:
    return iou_of(norm.ppf((np.arange(SEEN) + 0.5) / SEEN), **shape)


def true_delta(first: np.ndarray, second: np.ndarray) -> float:
    """Cliff's delta of two populations that are given by sorted values."""
    over, under = (np.searchsorted(second, first, side=side).mean() for side in ("left", "right"))
    return float(over + under) / len(second) - 1.0


def true_shift(first: np.ndarray, second: np.ndarray) -> float:
    """Shift at which Cliff's delta of two populations is 0."""
    low, high = -1.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2.0
        low, high = (middle, high) if true_delta(first - middle, second) > 0.0 else (low, middle)
    return (low + high) / 2.0


def drawn(rng: np.random.Generator, n: int, m: int, clustered: bool, shape: dict) -> tuple[np.ndarray, np.ndarray]:
    return iou_of(normal(rng, n, clustered), **shape), iou_of(normal(rng, m, clustered))


def shift_cells(size: str, clustered: bool) -> list[Cell]:
    """Intervals of the size of a difference between two sets."""
    (n, m), cells = SIZES[size], []
    groups = women(n, m, clustered)
    own = groups if clustered else np.arange(n + m)
    for label, shape in SHAPES.items():
        first, second = population(**shape), population()
        shift, delta = true_shift(first, second), true_delta(first, second)
        gap = float(np.median(first) - np.median(second))

        def lehmann(rng: np.random.Generator, shape: dict = shape, shift: float = shift) -> bool:
            return covers(hodges_lehmann(*drawn(rng, n, m, clustered, shape), groups=groups), shift)

        def cliff(rng: np.random.Generator, shape: dict = shape, delta: float = delta) -> bool:
            return covers(cliffs_delta(*drawn(rng, n, m, clustered, shape), groups=groups), delta)

        def medians(rng: np.random.Generator, shape: dict = shape, gap: float = gap) -> bool:
            x, y = drawn(rng, n, m, clustered, shape)
            effect = median_difference(Sample(x, own[:n]), Sample(y, own[n:]), n_bootstrap=N_BOOTSTRAP[size],
                                       seed=int(rng.integers(2**31)))
            return covers(effect, gap)

        asked = (("Hodges–Lehmann", lehmann, "shifted"), ("Cliff's delta", cliff, "wider"),
                 ("median difference", medians, "shifted wider"))  # the last: settings that tell nothing more
        cells += [Cell(name, f"{size}, {label}", clustered, n, m, COVERS, trial)
                  for name, trial, left_out in asked if label not in left_out]
    return cells


def null_cells(size: str, clustered: bool) -> list[Cell]:
    """Tests where there is nothing to find, and equivalence at the margin itself."""
    n, m = SIZES[size]
    groups = women(n, m, clustered)

    def permuted(statistic: Callable) -> Trial:
        def trial(rng: np.random.Generator) -> bool:
            x, y = drawn(rng, n, m, clustered, {})
            return null_band(x, y, statistic, n_draws=N_PERMUTATIONS[size], level=0.95, groups=groups,
                             seed=int(rng.integers(2**31))).p <= 0.05
        return trial

    def ranks(rng: np.random.Generator) -> bool:
        return mann_whitney(*drawn(rng, n, m, clustered, {}), groups=groups) <= 0.05

    def verdict(word: str) -> Trial:
        return lambda rng: equivalence(*drawn(rng, n, m, clustered, {"shift": MARGIN}), margin=MARGIN,
                                       groups=groups) == word

    return [Cell("EMD, permuted", size, clustered, n, m, REJECTS, permuted(emd)),
            Cell("KS, permuted", size, clustered, n, m, REJECTS, permuted(ks)),
            Cell("Mann–Whitney", size, clustered, n, m, REJECTS, ranks),
            Cell("equivalent", f"{size}, at the margin", clustered, n, m, REJECTS, verdict("equivalent")),
            Cell("beyond margin", f"{size}, at the margin", clustered, n, m, REJECTS, verdict("beyond margin"))]


def closer_cells() -> list[Cell]:
    """Two sets equally far from real: does the interval of the difference in distance leave out 0?"""
    (n, m), cells = SMALL, []
    for label, shape in (("both equal to real", {}), ("both shifted", {"shift": SHIFT})):
        def trial(rng: np.random.Generator, shape: dict = shape) -> bool:
            sets = [Sample(iou_of(rng.standard_normal(size), **kind), np.arange(size))
                    for size, kind in ((n, shape), (n, shape), (m, {}))]
            return not covers(closer(*sets, n_bootstrap=N_BOOTSTRAP["paper"], seed=int(rng.integers(2**31))), 0.0)
        cells.append(Cell("closer", label, False, n, m, REJECTS, trial))
    return cells


@cache
def interval_of(statistic: Callable, count: int, n: int) -> Effect:
    """An interval that depends on two counts alone, computed once for each."""
    return statistic(count, n)


def rate_cells() -> list[Cell]:
    """Rates of pairs and of right answers, independent and of two breasts a woman."""
    cells = []
    for n in (200, 303, 500, 2500):
        for share in (0.02, 0.07, 0.95):
            def plain(rng: np.random.Generator, n: int = n, p: float = share) -> bool:
                return covers(interval_of(wilson, int(rng.binomial(n, p)), n), p)

            def of_women(rng: np.random.Generator, n: int = n, p: float = share) -> bool:
                return covers(rate(normal(rng, n, True) < norm.ppf(p), groups=np.arange(n) // 2), p)

            cells += [Cell("rate (Wilson)", f"{share:g}", False, n, 0, COVERS, plain),
                      Cell("rate (Wilson)", f"{share:g}", True, n, 0, COVERS, of_women)]
    for n in (50, 200):
        for share in (0.5, 0.6, 0.8):
            def exact(rng: np.random.Generator, n: int = n, p: float = share) -> bool:
                return covers(interval_of(accuracy, int(rng.binomial(n, p)), n), p)
            cells.append(Cell("accuracy (exact)", f"{share:g}", False, n, 0, EXACT, exact))
    return cells


def scored(z: np.ndarray, levels: int) -> np.ndarray:
    """Scores on a scale of equally frequent levels; 0 levels: the normal score itself."""
    return np.floor(levels * norm.cdf(z - 0.5)) if levels else z


def auc_cells() -> list[Cell]:
    """Areas under the curve of readers, who have five levels, and of detectors, whose scores are continuous."""
    cells, grid = [], norm.ppf((np.arange(SEEN) + 0.5) / SEEN)
    cases = [(READER, 5, "reader"), (SIZES["laptop"], 0, "detector")]
    for (n, m), levels, who in cases:
        for apart in (0.0, 0.954, 1.812):  # areas of 0.5, 0.75 and 0.9
            truth = (true_delta(np.sort(scored(grid + apart, levels)), np.sort(scored(grid, levels))) + 1.0) / 2.0
            for clustered in (False, True):
                def trial(rng: np.random.Generator, n: int = n, m: int = m, levels: int = levels, apart: float = apart,
                          clustered: bool = clustered, truth: float = truth) -> bool:
                    x, y = normal(rng, n, clustered) + apart, normal(rng, m, clustered)
                    return covers(auc(scored(x, levels), scored(y, levels), groups=women(n, m, clustered)), truth)
                setting = f"{who}, {f'{levels} levels' if levels else 'continuous'}, area {truth:.2f}"
                cells.append(Cell("AUC", setting, clustered, n, m, COVERS, trial))
    return cells


def kappa_cells() -> list[Cell]:
    """Two readings on five equally frequent levels that share 70 % of the variance of what they see."""
    cells = []
    for weights in (None, "quadratic"):
        for n in (50, 100):
            def trial(rng: np.random.Generator, n: int = n, weights: str | None = weights) -> bool:
                seen = np.sqrt(0.7) * rng.standard_normal(n) + np.sqrt(0.3) * rng.standard_normal((2, n))
                effect = kappa(*np.floor(5 * norm.cdf(seen)).astype(int), weights=weights, labels=range(5),
                               n_bootstrap=N_BOOTSTRAP["reader"], seed=int(rng.integers(2**31)))
                return covers(effect, true_kappa(weights))
            cells.append(Cell("kappa", weights or "plain", False, n, 0, COVERS, trial))
    return cells


@cache
def true_kappa(weights: str | None) -> float:
    """Kappa of the two readings, integrated over what both see."""
    shared = np.sqrt(0.7) * norm.ppf((np.arange(SEEN) + 0.5) / SEEN)
    edges = norm.ppf(np.arange(6) / 5)
    level = np.diff(norm.cdf((edges - shared[:, None]) / np.sqrt(0.3)), axis=1)
    number = np.arange(5)
    cost = (number[:, None] - number) ** 2 if weights else number[:, None] != number
    return float(1.0 - (cost * (level.T @ level / SEEN)).sum() / (cost / 25.0).sum())


def all_cells() -> list[Cell]:
    laptop, paper = ([cell for clustered in (False, True)
                      for cell in (*shift_cells(size, clustered), *null_cells(size, clustered))] for size in SIZES)
    return [*laptop, *auc_cells(), *rate_cells(), *closer_cells(), *paper, *kappa_cells()]  # the slowest come last


def share_of(cell: Cell, draws: int) -> dict:
    """The row of a cell; its random numbers depend on the cell alone."""
    name = f"{cell.statistic}, {cell.setting}, {cell.clustered}, {cell.n}, {cell.m}"
    rng = np.random.default_rng([20, crc32(name.encode())])
    hits = sum(cell.trial(rng) for _ in tqdm(range(draws), desc=name, mininterval=10, leave=False))
    found = wilson(hits, draws)
    aim = f"{cell.aim[0]:.0%} to {cell.aim[1]:.0%}" if cell.aim[0] else f"at most {cell.aim[1]:.0%}"
    return {"statistic": cell.statistic, "setting": cell.setting, "clustered": cell.clustered, "n": cell.n, "m": cell.m,
            "draws": draws, "value": round(found.estimate, 4), "low": round(found.low, 4),
            "high": round(found.high, 4), "aim": aim, "met": bool(cell.aim[0] <= found.estimate <= cell.aim[1]),
            "versions": "; ".join(f"{package} {version(package)}" for package in PACKAGES)}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a statistic, plain and clustered: the range over its cells, beside its aim."""
    found = rows.groupby(["statistic", "aim", "clustered"], sort=False).agg(
        cells=("value", "size"), draws=("draws", "min"), lowest=("value", "min"), highest=("value", "max"),
        met=("met", "sum"))
    return found.reset_index().assign(clustered=lambda table: table["clustered"].map({False: "no", True: "yes"}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5000, help="simulated studies a cell")
    parser.add_argument("--only", default="", help="cells whose statistic begins so")
    parser.add_argument("--again", action="store_true", help="do these cells anew")
    options = parser.parse_args()
    key = ["statistic", "setting", "clustered", "n", "m"]
    cells = all_cells()
    rows = pd.read_csv(RESULT, dtype={"setting": str}).to_dict("records") if RESULT.is_file() else []
    rows = [row for row in rows if any(tuple(row[name] for name in key) == cell[:5] for cell in cells)]
    for cell in cells:
        if not cell.statistic.startswith(options.only):
            continue
        same = [row for row in rows if tuple(row[name] for name in key) == cell[:5]]
        if same and same[0]["draws"] >= options.draws and not options.again:
            continue
        row = share_of(cell, options.draws)
        rows = [*(other for other in rows if other not in same), row]
        write_csv(RESULT, pd.DataFrame(rows))
        print("  ".join(str(row[name]) for name in (*key, "value", "aim", "met")), flush=True)
    write_csv(SUMMARY, summary(pd.DataFrame(rows)))
    failed = sum(not row["met"] for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} cells met their aim")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
