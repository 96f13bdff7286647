"""What models drew, on disk: a study's pairs, and views beside given ones; in parts, so that a killed run continues."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from operator import itemgetter
from pathlib import Path

import numpy as np

from mammorgb_utils.diffusion.engine.base import resolve_precision
from mammorgb_utils.diffusion.engine.model_folder import RECORD, array_sha256
from mammorgb_utils.diffusion.engine.processes import Processes
from mammorgb_utils.diffusion.engine.progress import progress_bar
from mammorgb_utils.diffusion.sampling import SamplingError, sample_pairs
from mammorgb_utils.protocol import VIEWS, Protocol
from mammorgb_utils.runs import digest, write_array, write_json

THIRD = "third.npy"  # beside the pairs: the channel that isn't a view
_BESIDE = 1_000_000  # number of the first image beside a given CC; twice that beside an MLO: none shares its noise


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
    record = _record(model_dir, protocol) | {"n_synthetic": protocol.n_synthetic, "third": THIRD} | asked

    def draw(start: int, n: int) -> np.ndarray:
        pairs, third = sample_pairs(model_dir, n, protocol, protocol.seed, start=start, return_third=True,
                                    progress=False, **asked)
        return np.concatenate([pairs, third[:, None]], axis=1)

    _store({out: itemgetter(np.s_[:, :2]), out.with_name(THIRD): itemgetter(np.s_[:, 2])}, record, protocol,
           protocol.n_synthetic, draw, progress)
    return np.load(out, mmap_mode="r")


def completed_views(model_dir: Path, protocol: Protocol, given: np.ndarray, view: str, draws: int, out: Path, *,
                    progress: bool = True) -> np.ndarray:
    """Draw the other view beside given ones, several times each, into one file, or open it when it holds just these.

    Args:
        model_dir, protocol, out, progress: As `sample_study` takes them.
        given, view: `(n, H, W)` in [0, 1], all `"CC"` or all `"MLO"`, preprocessed as the study's.
        draws: Views beside each.

    Returns:
        `(n, draws, H, W)` float32 in [0, 1], memory-mapped; each a function of the seed, the given view and its place.

    Raises:
        SamplingError: `model_dir` isn't a finished model, or what is given doesn't fit.
    """
    record = _record(model_dir, protocol) | {"given": array_sha256(given), "view": view, "draws": draws}

    def draw(start: int, n: int) -> np.ndarray:
        beside = given[np.arange(start, start + n) // draws]
        pairs = sample_pairs(model_dir, n, protocol, protocol.seed, given=beside, given_view=view, progress=False,
                             start=_BESIDE * (1 + VIEWS.index(view)) + start)
        return pairs[:, 1 - VIEWS.index(view)]

    _store({out: lambda images: images}, record, protocol, len(given) * draws, draw, progress)
    return np.load(out, mmap_mode="r").reshape(len(given), draws, *given.shape[1:])


def _store(files: Mapping[Path, Callable[[np.ndarray], np.ndarray]], record: dict, protocol: Protocol, n: int,
           draw: Callable[[int, int], np.ndarray], progress: bool) -> None:
    """Fill files of one folder with what each takes of `n` drawn images, unless its record says that they hold it."""
    processes, folder = Processes(), next(iter(files)).parent
    record_file = folder / "samples.json"
    with processes.holding(folder):
        if all(file.is_file() for file in (*files, record_file)) and json.loads(record_file.read_text()) == record:
            return
        # Parts drawn at another precision, or of another size, are not continued.
        how = record | {"resolved": resolve_precision(protocol.precision, processes.device),
                        "batch": protocol.sampling_batch}
        parts = folder / f"parts-{digest(how)[:12]}"
        found = _draw_parts(parts, n, protocol.sampling_batch, draw, record["encoding"], progress, processes)
        processes.wait()
        if processes.is_first:
            record_file.unlink(missing_ok=True)
            for file, take in files.items():
                write_array(file, np.concatenate([take(np.load(part, mmap_mode="r")) for part in found]))
            write_json(record_file, record)
            for leftover in folder.glob("parts-*"):
                shutil.rmtree(leftover)


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


def _record(model_dir: Path, protocol: Protocol) -> dict:
    trained = model_dir / RECORD
    model = json.loads(trained.read_text("utf-8")) if trained.is_file() else {"digest": "", "encoding": ""}
    fields = ("seed", "sampler", "sampling_steps", "sampling_spacing", "precision")
    return {"model": model["digest"], "encoding": model["encoding"]} | {name: getattr(protocol, name)
                                                                        for name in fields}


def _draw_parts(parts: Path, n: int, size: int, draw: Callable[[int, int], np.ndarray], encoding: str, progress: bool,
                processes: Processes) -> list[Path]:
    """All parts' files; each process draws those of its turn that aren't there yet."""
    files = [parts / f"{start:06d}.npy" for start in range(0, n, size)]
    turn = range(processes.rank, len(files), processes.size)
    counts = {i: min(size, n - i * size) for i in turn}
    there = sum(counts[i] for i in turn if files[i].is_file())
    with progress_bar(f"sampling {encoding}", sum(counts.values()), there, show=progress and processes.is_first,
                      unit="pair") as bar:
        for i in turn:
            if files[i].is_file():
                continue
            write_array(files[i], draw(i * size, counts[i]))
            bar.update(counts[i])
    return files
