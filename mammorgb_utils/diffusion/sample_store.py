"""The synthetic pairs of a study on disk: drawn in parts, so that a killed run continues."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from mammorgb_utils.diffusion.checkpoints import digest
from mammorgb_utils.diffusion.progress import progress_bar
from mammorgb_utils.diffusion.sampling import sample_pairs
from mammorgb_utils.diffusion.training import RECORD
from mammorgb_utils.diffusion.unet import pick_device, resolve_precision
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import exclusive, write_array, write_json


def sample_study(model_dir: Path, protocol: Protocol, out: Path, *, progress: bool = True) -> np.ndarray:
    """Draw a study's synthetic pairs into one file, or open it when this very model drew it.

    Args:
        model_dir: Folder written by `train`.
        protocol: Decides number, seed and sampler.
        out: `.npy` to write; `samples.json` beside it records what drew it.
        progress: Whether to show a progress bar.

    Returns:
        `(n_synthetic, 2, H, W)` float32 in [0, 1], CC first, memory-mapped.

    Raises:
        SamplingError: `model_dir` isn't a finished model.
    """
    record = _record(model_dir, protocol)
    record_file = out.with_name("samples.json")
    if not (out.is_file() and record_file.is_file() and json.loads(record_file.read_text("utf-8")) == record):
        with exclusive(out.parent):
            # Parts drawn at another precision are not continued.
            resolved = resolve_precision(protocol.precision, pick_device())
            parts = out.with_name(f"parts-{digest(record | {'resolved': resolved})[:12]}")
            files = _draw_parts(model_dir, protocol, parts, record["encoding"], progress)
            record_file.unlink(missing_ok=True)
            write_array(out, np.concatenate([np.load(file) for file in files]))
            write_json(record_file, record)
        for leftover in out.parent.glob("parts-*"):
            shutil.rmtree(leftover)
    return np.load(out, mmap_mode="r")


def _record(model_dir: Path, protocol: Protocol) -> dict:
    trained = model_dir / RECORD
    model = json.loads(trained.read_text("utf-8")) if trained.is_file() else {"digest": "", "encoding": ""}
    fields = ("seed", "n_synthetic", "sampler", "sampling_steps", "precision")
    drawn = {name: getattr(protocol, name) for name in fields}
    return {"model": model["digest"], "encoding": model["encoding"]} | drawn


def _draw_parts(model_dir: Path, protocol: Protocol, parts: Path, encoding: str, progress: bool) -> list[Path]:
    n, size = protocol.n_synthetic, protocol.sampling_batch
    files = [parts / f"{start:06d}.npy" for start in range(0, n, size)]
    there = sum(min(size, n - i * size) for i, file in enumerate(files) if file.is_file())
    with progress_bar(f"sampling {encoding}", n, there, show=progress, unit="pair") as bar:
        for i, file in enumerate(files):
            if file.is_file():
                continue
            count = min(size, n - i * size)
            write_array(file, sample_pairs(model_dir, count, protocol, protocol.seed, start=i * size, progress=False))
            bar.update(count)
    return files
