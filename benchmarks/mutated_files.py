"""Damage mammograms in header and pixel data, and read every damaged file in a worker that may die.

`python benchmarks/mutated_files.py` writes `benchmarks/results/mutated_files.csv`, what became of the reads by base,
part and size asked for, and `mutated_files_summary.csv` beside it: totals, slowest reads, versions. It fails where an
error escaped that the reader doesn't turn into a rejection, or where a read took longer than its limit.
Bases: phantom breasts in twelve transfer syntaxes, four of them full size too, and, where `MAMMORGB_REAL_DATA` names
their folder, real mammograms. Two minutes on one core.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.transform import resize
from tqdm import tqdm

from mammorgb_utils.data.batch.workers import map_isolated
from mammorgb_utils.data.dicom import RejectedImage, read_mammogram
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

sys.path.insert(0, str(PROJECT_ROOT / "tests" / "helpers"))
from dicom_files import breast_codes, write_mammogram
from mutations import KINDS, mutated

RESULTS = PROJECT_ROOT / "benchmarks" / "results" / "mutated_files.csv"
SECONDS, GIGABYTES = 5.0, 2.0  # what one read may take
OVERHEAD = 10.0  # s: a stopped worker's successor starts and imports its modules
SIDES = (None, 128)  # px: full decode, and averaged or decoded at a lower resolution
SMALL = ("explicit", "implicit", "big_endian", "deflated", "rle", "jpeg_baseline", "jpeg_extended",
         "jpeg_lossless_sv1", "jpeg_ls", "jpeg_2000_lossless", "jpeg_2000", "htj2k_lossless")
LARGE = ("explicit", "jpeg_lossless_sv1", "jpeg_2000_lossless", "htj2k_lossless")
PACKAGES = ("pydicom", "imagecodecs", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle",
            "python-gdcm", "pillow", "numpy", "pebble")
Item = tuple[Path, int | None]


def read(item: Item) -> tuple[str, float]:
    """Outcome and time of one read [s]; an error that isn't a rejection comes back by its name."""
    began, (path, side) = time.perf_counter(), item
    try:
        pixels = read_mammogram(path, min_side=side).pixels
        sound = pixels.dtype == np.float32 and np.isfinite(pixels).all() and 0 <= pixels.min() <= pixels.max() <= 1
        outcome = "read" if sound else "escaped: not in [0, 1]"
    except RejectedImage as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        outcome = error.code
    except MemoryError:
        raise
    except Exception as error:
        outcome = f"escaped: {type(error).__name__}"
    return outcome, time.perf_counter() - began


def bases(folder: Path) -> Iterator[tuple[str, Path, bool]]:
    """Name, file, and whether it is full size."""
    for syntax in SMALL:
        stored = breast_codes(8 if syntax == "jpeg_baseline" else 12, "MLO")
        yield syntax, write_mammogram(folder / f"{syntax}.dcm", stored, syntax=syntax, **window(stored)), False
    large = np.rint(resize(breast_codes(12, "MLO").astype(float), (3328, 2560), order=1)).astype(np.uint16)
    for syntax in LARGE:
        name = f"{syntax}, full size"
        yield name, write_mammogram(folder / f"{name}.dcm", large, syntax=syntax, **window(large)), True
    real = os.environ.get("MAMMORGB_REAL_DATA")
    for number, path in enumerate(sorted(Path(real).glob("dicom/*.dcm")) if real else (), 1):
        # A film scan of another modality would be turned away before its pixels are looked at.
        content = path.read_bytes().replace(b"\x08\x00\x60\x00CS\x02\x00RG", b"\x08\x00\x60\x00CS\x02\x00MG")
        (folder / f"real {number}.dcm").write_bytes(content)
        yield f"real {number}", folder / f"real {number}.dcm", True


def window(stored: np.ndarray) -> dict[str, float]:
    top = 256 if stored.itemsize == 1 else 4096
    return {"WindowCenter": top / 2, "WindowWidth": top}


def damaged(base: Path, seeds: range, facts: dict[Path, tuple[str, str]]) -> Iterator[Item]:
    """Damaged copies, each made when it is its turn, once for every size asked for."""
    content = base.read_bytes()
    for part, kinds in KINDS.items():
        for kind in kinds:
            for seed in seeds:
                path = base.parent / f"{part}-{kind}-{seed}.dcm"
                path.write_bytes(mutated(content, part, kind, seed))
                facts[path] = part, kind
                yield from ((path, side) for side in SIDES)


def run_base(name: str, base: Path, seeds: range) -> list[dict]:
    """One row a read; a turn lasts from one result to the next, and the first waits for the worker to start."""
    rows, facts, last = [], {}, np.nan
    items = damaged(base, seeds, facts)
    for item, result in map_isolated(read, items, seconds=SECONDS, gigabytes=GIGABYTES, processes=1):
        path, side = item
        code, seconds = (result.code, np.nan) if isinstance(result, RejectedImage) else result
        part, kind = facts[path]
        now = time.perf_counter()
        rows.append({"base": name, "part": part, "kind": kind, "min_side": side or "full", "outcome": code,
                     "read_s": seconds, "turn_s": now - last, "file": path.name})
        last = now
        if side == SIDES[-1]:
            path.unlink()
    return rows


def summary(reads: pd.DataFrame) -> pd.DataFrame:
    figures = {
        "files": len(reads) // len(SIDES), "reads": len(reads), "bases": reads["base"].nunique(),
        "limit [s]": SECONDS, "limit [GB]": GIGABYTES,
        **{f"outcome: {name}": count for name, count in reads["outcome"].value_counts().items()},
        "errors that escaped": int(reads["outcome"].str.startswith("escaped").sum()),
        "slowest finished read [s]": round(reads["read_s"].max(), 2),
        "99th percentile of finished reads [s]": round(reads["read_s"].quantile(0.99), 3),
        "longest turn, a worker's restart included [s]": round(reads["turn_s"].max(), 2),
        **{package: version(package) for package in PACKAGES}}
    return pd.DataFrame(figures.items(), columns=["name", "value"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=11, help="copies of a small base for each kind of damage")
    parser.add_argument("--large", type=int, default=3, help="the same for a full-size base")
    options, rows = parser.parse_args(), []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, base, large) in enumerate(tqdm(list(bases(Path(folder))), unit="base")):
            times = options.large if large else options.small
            rows += run_base(name, base, range(1000 * number, 1000 * number + times))
    reads = pd.DataFrame(rows)
    tally = reads.groupby(["base", "part", "min_side", "outcome"], sort=False, as_index=False).agg(
        reads=("file", "size"), slowest_s=("read_s", "max")).round(2)
    write_csv(RESULTS, tally)
    write_csv(RESULTS.with_name("mutated_files_summary.csv"), figures := summary(reads))
    print(figures.to_string(index=False))
    odd = reads[reads["outcome"].str.startswith("escaped") | (reads["turn_s"] > SECONDS + OVERHEAD)
                | reads["outcome"].isin(["decoder_crash", "timeout", "out_of_memory"])]
    print(odd.to_string(index=False))
    late = (reads["turn_s"] > SECONDS + OVERHEAD).any()
    sys.exit(1 if late or reads["outcome"].str.startswith("escaped").any() else 0)


if __name__ == "__main__":
    main()
