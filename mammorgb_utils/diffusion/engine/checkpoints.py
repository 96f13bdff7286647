"""Checkpoints that a kill, a full disk or a damaged file can't turn into a wrong result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from mammorgb_utils.runs import differences, sha256

Tensors = dict[str, dict[str, torch.Tensor]]
_RECORD = "checkpoint.json"


class CheckpointError(ValueError):
    """A checkpoint can't be used; the message names the file and the remedy."""


def save_checkpoint(folder: Path, step: int, tensors: Tensors, identity: dict[str, Any]) -> None:
    """Write `folder/step-<step>`; the older ones go only after the new one was read back and verified.

    Args:
        folder: The run's checkpoint folder.
        step: Number of finished steps.
        tensors: Groups of named tensors; each group becomes one safetensors file.
        identity: What decides the run: protocol fields, data hash; compared when it is loaded.

    Raises:
        CheckpointError: It can't be written, as where the disk is full; the older one stands.
    """
    target = folder / f"step-{step:08d}"
    try:
        _write(target, step, tensors, identity)
    except OSError as error:
        raise CheckpointError(f"{target} can't be written ({error.strerror}); the checkpoint before it stands: make "
                              "room, then repeat the command, which goes on there") from error
    for old in folder.glob("step-*"):
        if old != target:
            doomed = old.rename(old.with_name(f".{old.name}.old"))  # never a half-removed checkpoint under a valid name
            shutil.rmtree(doomed)


def _write(target: Path, step: int, tensors: Tensors, identity: dict[str, Any]) -> None:
    with atomic_folder(target) as temporary:
        hashes = {}
        for group, content in tensors.items():
            data = to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in content.items()})
            hashes[f"{group}.safetensors"] = hashlib.sha256(data).hexdigest()
            (temporary / f"{group}.safetensors").write_bytes(data)
        record = {"step": step, "identity": identity, "sha256": hashes}
        (temporary / _RECORD).write_text(json.dumps(record, indent=2, sort_keys=True), encoding="utf-8")
        _verified_record(temporary)


def load_checkpoint(folder: Path, identity: dict[str, Any]) -> tuple[int, Tensors] | None:
    """Read the newest checkpoint below `folder`, verified; None when there is none.

    Raises:
        CheckpointError: A file is missing or altered, or the checkpoint belongs to another run;
            the message lists the fields that differ.
    """
    for leftover in folder.glob(".step-*"):  # of a killed process
        shutil.rmtree(leftover)
    found = sorted(folder.glob("step-*"))
    if not found:
        return None
    record = _verified_record(found[-1])
    changes = differences(record["identity"], identity)
    if changes:
        raise CheckpointError(f"{found[-1]} belongs to another training ({'; '.join(changes)}); "
                              "choose another run name, or remove its folder to start over")
    return record["step"], {Path(name).stem: load_file(found[-1] / name) for name in record["sha256"]}


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; on success it is flushed to disk and takes its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(leftover)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
        for path in [*temporary.rglob("*"), temporary]:
            _flush(path)
        os.replace(temporary, target)
        _flush(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _verified_record(folder: Path) -> dict[str, Any]:
    remedy = "the checkpoint is damaged: remove this folder to go on from an earlier one or from the start"
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        hashes = record["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder / _RECORD} can't be read; {remedy}") from error
    for name, expected in hashes.items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            raise CheckpointError(f"{folder / name} is missing or doesn't have its recorded SHA-256; {remedy}")
    return record


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
