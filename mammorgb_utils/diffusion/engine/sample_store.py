"""The synthetic pairs of a study on disk: drawn in parts, so that a killed run continues."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from mammorgb_utils.diffusion.engine.base import resolve_precision
from mammorgb_utils.diffusion.engine.model_folder import RECORD
from mammorgb_utils.diffusion.engine.processes import Processes
from mammorgb_utils.diffusion.engine.progress import progress_bar
from mammorgb_utils.diffusion.sampling import SamplingError, sample_pairs
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import digest, write_array, write_json

THIRD = "third.npy"  # beside the pairs: the channel that isn't a view


def sample_study(model_dir: Path, protocol: Protocol, out: Path, *, grade: str = "", guidance: float = 1.0,
                 progress: bool = True) -> np.ndarray:
    """Draw a study's synthetic pairs into one file, or open it when this very model drew it.

    Several processes, as a launcher starts them, share the parts; the images are those of one process.

    Args:
        model_dir: Folder written by `train`.
        protocol: Decides number, seed and sampler.
        out: `.npy` to write; `samples.json` beside it records what drew it, `third.npy` holds the third channel,
            which `load_third` opens. A folder that was drawn without it is drawn again, to the same pairs.
        grade, guidance: Density of all pairs, and its weight, as `sample_pairs` takes them.
        progress: Whether to show a progress bar.

    Returns:
        `(n_synthetic, 2, H, W)` float32 in [0, 1], CC first, memory-mapped.

    Raises:
        SamplingError: `model_dir` isn't a finished model, or knows no grades.
    """
    asked = {"grade": grade, "guidance": guidance} if grade else {}
    record, processes = _record(model_dir, protocol) | asked, Processes()
    record_file = out.with_name("samples.json")
    with processes.holding(out.parent):
        if not _is_drawn(out, record):
            # Parts drawn at another precision, or of another size, are not continued.
            how = record | {"resolved": resolve_precision(protocol.precision, processes.device),
                            "batch": protocol.sampling_batch}
            parts = out.with_name(f"parts-{digest(how)[:12]}")
            files = _draw_parts(model_dir, protocol, parts, record["encoding"], asked, progress, processes)
            processes.wait()
            if processes.is_first:
                record_file.unlink(missing_ok=True)
                images = [np.load(file, mmap_mode="r") for file in files]
                write_array(out, np.concatenate([image[:, :2] for image in images]))
                write_array(out.with_name(THIRD), np.concatenate([image[:, 2] for image in images]))
                write_json(record_file, record)
                for leftover in out.parent.glob("parts-*"):
                    shutil.rmtree(leftover)
    return np.load(out, mmap_mode="r")


def load_third(out: Path) -> np.ndarray | None:
    """The third channel of a study's synthetic pairs, as the model drew it.

    Args:
        out: The pairs' `.npy`, as `sample_study` wrote it.

    Returns:
        `(n_synthetic, H, W)` float32 in [0, 1] in the order of the pairs, memory-mapped; None where the pairs were
        drawn without it.

    Raises:
        SamplingError: It doesn't belong to the pairs beside it.
    """
    file = out.with_name(THIRD)
    if not file.is_file():
        return None
    third, pairs = np.load(file, mmap_mode="r"), np.load(out, mmap_mode="r")
    if third.shape != (len(pairs), *pairs.shape[2:]):
        raise SamplingError(f"{out.parent.name}/{THIRD}: shape {third.shape} doesn't fit pairs of shape {pairs.shape}; "
                            "remove the folder and draw again (notebook 03)")
    return third


def _is_drawn(out: Path, record: dict) -> bool:
    files = out, out.with_name(THIRD), out.with_name("samples.json")
    return all(file.is_file() for file in files) and json.loads(files[-1].read_text("utf-8")) == record


def _record(model_dir: Path, protocol: Protocol) -> dict:
    trained = model_dir / RECORD
    model = json.loads(trained.read_text("utf-8")) if trained.is_file() else {"digest": "", "encoding": ""}
    fields = ("seed", "n_synthetic", "sampler", "sampling_steps", "precision")
    drawn = {name: getattr(protocol, name) for name in fields}
    return {"model": model["digest"], "encoding": model["encoding"], "third": THIRD} | drawn


def _draw_parts(model_dir: Path, protocol: Protocol, parts: Path, encoding: str, asked: dict,
                progress: bool, processes: Processes) -> list[Path]:
    """All parts' files, `(n, 3, H, W)` each; each process draws those of its turn that aren't there yet."""
    n, size = protocol.n_synthetic, protocol.sampling_batch
    files = [parts / f"{start:06d}.npy" for start in range(0, n, size)]
    turn = range(processes.rank, len(files), processes.size)
    counts = {i: min(size, n - i * size) for i in turn}
    there = sum(counts[i] for i in turn if files[i].is_file())
    with progress_bar(f"sampling {encoding}", sum(counts.values()), there, show=progress and processes.is_first,
                      unit="pair") as bar:
        for i in turn:
            if files[i].is_file():
                continue
            pairs, third = sample_pairs(model_dir, counts[i], protocol, protocol.seed, start=i * size,
                                        return_third=True, progress=False, **asked)
            write_array(files[i], np.concatenate([pairs, third[:, None]], axis=1))
            bar.update(counts[i])
    return files
