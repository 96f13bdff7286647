"""From a full-size file to the model's view: ours beside pydicom and skimage, in one process, on the same files.

`python benchmarks/preprocessing_speed.py` writes into `benchmarks/results/`, five minutes on an idle machine:
`preprocessing_speed.csv`     times by transfer syntax, ours and the peer's in turn, one thread
`preprocessing_accuracy.csv`  how far views read at lower resolution are from those of a full decode
`preprocessing_workers.csv`   one worker process against two, a worker's peak memory, versions

The peer: `pixel_array` with the decoder that pydicom picks, `apply_voi_lut`, skimage's anti-aliased `resize`,
`match_histograms`. Phantom breasts of 3328 × 2560 px, 12 bits, with a detector's noise; real mammograms are added to
the accuracy where `MAMMORGB_REAL_DATA` names their folder.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from pydicom.pixels import apply_voi_lut, get_decoder, pixel_array
from scipy.ndimage import gaussian_filter
from skimage.exposure import match_histograms
from skimage.transform import resize

from mammorgb_utils.data.batch.workers import map_isolated
from mammorgb_utils.data.dicom import Mammogram, RejectedImage, read_mammogram
from mammorgb_utils.data.geometry import area_resize
from mammorgb_utils.data.phantom import make_breast, render_view
from mammorgb_utils.data.preprocess import (
    ReferenceCDF,
    load_reference_cdf,
    normalise,
    preprocess_view,
    working_side,
)
from mammorgb_utils.evaluation.masks import breast_mask
from mammorgb_utils.evaluation.overlap import iou
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, write_csv

sys.path.insert(0, str(PROJECT_ROOT / "tests" / "helpers"))
from dicom_files import write_mammogram

RESULTS = PROJECT_ROOT / "benchmarks" / "results"
SHAPE = (3328, 2560)  # px
TARGETS = {"explicit": 3.0, "jpeg_lossless_sv1": 3.0, "jpeg_2000_lossless": 5.0, "jpeg_ls": None,
           "htj2k_lossless": None}  # times as fast as the peer
WINDOWS = {"wide": {"WindowCenter": 2048, "WindowWidth": 4096},
           "steep": {"WindowCenter": 2000, "WindowWidth": 600, "VOILUTFunction": "SIGMOID"}}
SCOPES = ("none", "foreground", "image")  # of the histogram matching; the paper profile matches the image
MEAN, IOU = 1.0, 0.995  # accuracy: mean in units of 1/255, mask overlap
SPEED_UP = 1.8  # of two workers
PACKAGES = ("pydicom", "imagecodecs", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "python-gdcm", "pillow", "numpy",
            "scipy", "scikit-image", "pebble")


def stored_breast() -> np.ndarray:
    """`SHAPE` uint16, 12 bits: a phantom's MLO view, enlarged, with noise as a detector has it."""
    grey = resize(render_view(make_breast((1, 2, 3)), "MLO"), SHAPE, order=1)
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 0.7)
    noise *= np.where(grey > 0.02, 12.0, 2.0) / noise.std()
    return np.clip(np.rint(grey * 3800 + 150 + noise), 0, 4095).astype(np.uint16)


def write_files(folder: Path) -> dict[tuple[str, str], Path]:
    stored = stored_breast()
    return {(syntax, name): write_mammogram(folder / f"{syntax}-{name}.dcm", stored, syntax=syntax, **window)
            for syntax in TARGETS for name, window in WINDOWS.items()}


def ours(path: Path, reference: ReferenceCDF, protocol: Protocol) -> np.ndarray:
    return preprocess_view(read_mammogram(path, min_side=working_side(protocol)), reference, protocol)


def peer(path: Path, reference: np.ndarray, plugin: str) -> np.ndarray:
    dataset = pydicom.dcmread(path)
    shown = apply_voi_lut(pixel_array(dataset, decoding_plugin=plugin), dataset)
    return match_histograms(resize(shown, reference.shape, anti_aliasing=True), reference)


def picked_plugin(path: Path) -> str:
    """The decoder of its own that pydicom tries first; empty where there is nothing to decode."""
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return ""
    return next(name for name in get_decoder(syntax).available_plugins if name != "imagecodecs")


def seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def speed(files: dict, reference: ReferenceCDF, protocol: Protocol, repeats: int) -> pd.DataFrame:
    """One row a transfer syntax; ours and the peer's take turns, so that a busy moment meets both."""
    rows, example = [], ours(files["explicit", "wide"], reference, protocol)
    for syntax, target in TARGETS.items():
        path = files[syntax, "wide"]
        plugin = picked_plugin(path)
        runs = partial(ours, path, reference, protocol), partial(peer, path, example, plugin)
        for run in runs:
            run()
        taken = np.array([[seconds(run) for run in runs] for _ in range(repeats)])
        mine, theirs = np.median(taken, axis=0)
        rows.append({"syntax": syntax, "file_mb": path.stat().st_size / 1e6, "ours_ms": 1e3 * mine,
                     "peer_ms": 1e3 * theirs, "peer_decoder": plugin or "numpy", "ratio": theirs / mine,
                     "target": target, "met": None if target is None else theirs / mine >= target,
                     "repeats": repeats, "ours_least_ms": 1e3 * taken[:, 0].min(),
                     "peer_least_ms": 1e3 * taken[:, 1].min()})
    return pd.DataFrame(rows).round(2)


def views(path: Path, side: int) -> tuple[Mammogram, Mammogram, Mammogram]:
    """One file read at working size, decoded in full and averaged to that size, and in full size."""
    reduced, full = read_mammogram(path, min_side=side), read_mammogram(path)
    return reduced, replace(full, pixels=area_resize(full.pixels, reduced.pixels.shape)), full


def difference(first: np.ndarray, second: np.ndarray, regions: float, name: str) -> dict:
    off, masks = 255 * np.abs(first - second), iou(breast_mask(first), breast_mask(second))
    return {f"{name}_mean_255": off.mean(), f"{name}_p99.9_255": np.percentile(off, 99.9), f"{name}_mask_iou": masks,
            f"{name}_region_iou": regions, f"{name}_met": off.mean() <= MEAN and min(masks, regions) >= IOU}


def differences(path: Path) -> list[dict]:
    """One row a match scope: `decode` against a full decode of the same size, `size` against work at full size."""
    rows, known = [], Protocol.load("paper")
    read = views(path, working_side(known))
    found = [area_resize(normalise(each.pixels)[1], (known.image_size,) * 2) > 0.5 for each in read]
    regions = [iou(found[0], other) for other in found[1:]]
    for scope in SCOPES:
        protocol = Protocol.load("paper", match_scope=scope)
        reduced, *others = (preprocess_view(each, load_reference_cdf(protocol), protocol) for each in read)
        row = {"match_scope": scope}
        for name, other, region in zip(("decode", "size"), others, regions, strict=True):
            row |= difference(reduced, other, region, name)
        rows.append(row)
    return rows


def accuracy(files: dict) -> pd.DataFrame:
    """Views read at working size against those of full decodes, in units of 1/255, by syntax and window."""
    cases = {**files, **{(name, "own"): path for name, path in real_files().items()}}
    rows = []
    for (name, window), path in cases.items():
        try:
            rows += [{"file": name, "window": window} | row for row in differences(path)]
        except RejectedImage as error:
            print(f"{name}: {error.code}")
    return pd.DataFrame(rows).round(4)


def real_files() -> dict[str, Path]:
    """Real mammograms under a number, where there are any."""
    root = os.environ.get("MAMMORGB_REAL_DATA")
    paths = sorted(Path(root).glob("dicom/*.dcm")) if root else ()
    return {f"real {number}": path for number, path in enumerate(paths, 1)}


def in_worker(path: Path, reference: ReferenceCDF, protocol: Protocol) -> float:
    """Peak memory of this process so far [MB], one view later."""
    ours(path, reference, protocol)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def throughput(paths: list[Path], reference: ReferenceCDF, protocol: Protocol, processes: int) -> tuple[float, float]:
    """Files a second once all workers are at work, and the largest worker's peak memory [MB]."""
    work = partial(in_worker, reference=reference, protocol=protocol)
    warm_up, ends, peaks = paths[:2 * processes], [], []
    for _, peak in map_isolated(work, [*warm_up, *paths], processes=processes):
        ends.append(time.perf_counter())
        peaks.append(peak)
    return len(paths) / (ends[-1] - ends[len(warm_up) - 1]), max(peaks)


def workers(files: dict, reference: ReferenceCDF, protocol: Protocol, repeats: int) -> pd.DataFrame:
    paths = [files[syntax, "wide"] for syntax in TARGETS for _ in range(5)]
    taken = np.array([[throughput(paths, reference, protocol, n) for n in (1, 2)] for _ in range(repeats)])
    one, two = np.median(taken[:, :, 0], axis=0)
    figures = {"files": len(paths), "one worker [files/s]": round(one, 2), "two workers [files/s]": round(two, 2),
               "speed-up": round(two / one, 2), "speed-up aimed at": SPEED_UP, "cores": os.cpu_count(),
               "peak memory of a worker [MB]": round(taken[:, :, 1].max()), "repeats": repeats,
               **{package: version(package) for package in PACKAGES}}
    return pd.DataFrame(figures.items(), columns=["name", "value"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="timed runs of each, after one that isn't")
    options, protocol = parser.parse_args(), Protocol.load("paper")
    reference = load_reference_cdf(protocol)
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name))
        tables = {"speed": speed(files, reference, protocol, options.repeats),
                  "accuracy": accuracy(files),
                  "workers": workers(files, reference, protocol, max(1, options.repeats // 2))}
    for table, frame in tables.items():
        write_csv(RESULTS / f"preprocessing_{table}.csv", frame)
        print(f"\n{table}\n{frame.to_string(index=False)}")


if __name__ == "__main__":
    main()
