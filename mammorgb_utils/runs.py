"""The run folder: where each file of a study lives, written atomically, never mixed with another study's."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd
import psutil

import mammorgb_utils
from mammorgb_utils.protocol import Protocol

PROJECT_ROOT = Path(__file__).resolve().parent.parent
NAME = r"[A-Za-z][\w.-]*"  # of a study, or of a score
_IDENTIFIERS = dict.fromkeys(("pair", "patient", "exam", "cc_pair", "mlo_pair", "pixel_pair", "detail_pair"), str)
_VERSIONED = ("torch", "diffusers", "numpy", "scipy", "scikit-image", "pydicom", "pandas")


class RunError(ValueError):
    """A run folder can't be used; the message names folder, field and remedy."""


def _file(place: str) -> Any:
    """A path below a run's root, as a property."""
    return property(lambda run: run.root / place)


@dataclass(frozen=True)
class Run:
    """One study's folder, protocol and manifest; the only place that knows file names.

    Every path under `root` has one writer: the notebook named in its comment.
    """

    root: Path
    protocol: Protocol
    manifest: Path

    @classmethod
    def open(cls, name: str, profile: str = "laptop", manifest: str = "data_manifest.csv", **overrides: Any) -> Run:
        """Open `runs/<name>`, or make it; refuse it when it records another protocol or manifest.

        Args:
            profile: Its name, or the path of a YAML file.
            manifest: A relative path is taken from the project's root.
            overrides: Protocol fields that replace the profile's.

        Raises:
            ProtocolError: A profile or field is wrong.
            RunError: The name isn't one, the manifest is absent, or the folder belongs to another study.
        """
        run = cls.asked(name, profile, manifest, **overrides)
        if not (run.root / "protocol.json").exists():
            write_json(run.root / "protocol.json", run._identity())
        return run

    @classmethod
    def asked(cls, name: str, profile: str, manifest: str, **overrides: Any) -> Run:
        """As `open`, but nothing is made yet."""
        if not re.fullmatch(NAME, name):
            raise RunError(f"run name {name!r}: use letters, digits, '.', '_' and '-', a letter first (RUN=…)")
        require_own_checkout()
        protocol = Protocol.load(profile, **overrides)
        path = PROJECT_ROOT / manifest
        if not path.is_file():
            raise RunError(f"manifest {manifest} not found; name yours with MANIFEST=…, or run `mammorgb phantom`")
        run = cls(PROJECT_ROOT / "runs" / name, protocol, path)
        if (run.root / "protocol.json").exists():
            run._refuse_another()
        return run

    @classmethod
    def recorded(cls, name: str) -> Run:
        """Open the study in `runs/<name>` by what it records; nothing is written, and `manifest` isn't known.

        Raises:
            RunError: There is no such study, or its record can't be read by this code.
        """
        root = PROJECT_ROOT / "runs" / name
        file = root / "protocol.json"
        if not re.fullmatch(NAME, name) or not file.is_file():
            known = sorted(path.parent.name for path in (PROJECT_ROOT / "runs").glob("*/protocol.json"))
            raise RunError(f"runs/{name} holds no study; there are: {', '.join(known) or 'none yet'} (--run NAME)")
        try:
            recorded = json.loads(file.read_text(encoding="utf-8"))
            return cls(root, Protocol(**Protocol.completed(recorded["protocol"])), root / "manifest")
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{_relative(file)} is damaged or of another version of this code; make the study anew, "
                           "or use the code of its commit") from error

    def _identity(self) -> dict[str, Any]:
        return {"protocol": self.protocol.model_dump(mode="json"), "manifest_sha256": sha256(self.manifest)}

    def _refuse_another(self) -> None:
        file, mine = self.root / "protocol.json", self._identity()
        try:
            recorded = json.loads(file.read_text(encoding="utf-8"))
            theirs, ours = Protocol.completed(recorded["protocol"]), mine["protocol"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise RunError(f"{_relative(file)} is damaged; remove the folder, or choose another RUN=…") from error
        changes = differences(theirs, ours)
        if recorded.get("manifest_sha256") != mine["manifest_sha256"]:
            changes.append("manifest: its content differs from the recorded one")
        if changes:
            raise RunError(f"{_relative(self.root)} holds another study ({'; '.join(changes)}); "
                           "choose another name with RUN=…, or remove the folder to start over")

    def encodings(self, asked: str = "all") -> tuple[str, ...]:
        """The study's encodings, or the one asked for; a `RunError` where the study doesn't have it."""
        known = self.protocol.encodings
        if asked != "all" and asked not in known:
            raise RunError(f"encoding {asked!r} isn't in this study; use all, or one of {', '.join(known)}")
        return known if asked == "all" else (asked,)

    pairs = _file("pairs/pairs.npy")  # 01: (N, 2, H, W) float32 in [0, 1], CC first
    pairs_index = _file("pairs/index.csv")  # 01: one row a pair, same order
    pairs_record = _file("pairs/record.json")  # 01: which reference the pairs were matched to
    images = _file("pairs/images.csv")  # 01: every manifest row, with the reason where it is excluded
    overlap = _file("metrics/overlap.csv")  # 04: one row a pair of every set
    shuffled = _file("metrics/shuffled.csv")  # 04: one row a shuffled pair of every set
    texture = _file("metrics/texture.csv")  # 04: one row a pair of every set: texture inside the breast
    nearest_training = _file("metrics/nearest_training.csv")  # 04: of every other pair, and whether it is flagged
    anatomy = _file("metrics/anatomy.csv")  # 04: one row a pair of every set and of the training pairs
    third_residuals = _file("metrics/third_residuals.csv")  # 04: drawn against computed third channel
    profiles = _file("metrics/profiles.csv")  # 04: one row a pair, of strangers too: likeness of depth profiles
    other_statistics = _file("metrics/other_statistics.csv")  # 05: main results by another test, or other real pairs
    reader_study = _file("reader_study")  # A4: the readers' page, its key, and their results
    figures = _file("figures")
    tables = _file("tables")

    def by_method(self, table: str) -> Path:  # 04: `overlap` and `shuffled` under every mask method
        return self.root / "metrics" / f"{table}_by_method.csv"

    def model(self, encoding: str) -> Path:  # 02: a plain diffusers pipeline folder
        return self.root / "models" / encoding

    def training(self, encoding: str) -> Path:  # 02: stats.jsonl, checkpoints
        return self.root / "training" / encoding

    def samples(self, encoding: str) -> Path:  # 03: (n, 2, H, W) float32 in [0, 1]
        return self.root / "samples" / encoding / "pairs.npy"

    def appendix(self, name: str) -> Path:  # A1, A5, A6, B…: trials and samples of an appendix
        return self.root / "appendices" / name


def require_own_checkout() -> None:
    """Refuse, with a `RunError`, to work in another copy of the project than the one that this code is of."""
    own, here = Path(__file__).resolve().parents[1], Path.cwd()
    found = next((folder for folder in (here, *here.parents) if (folder / "mammorgb_utils" / "runs.py").is_file()), own)
    if not found.samefile(own):
        raise RunError(f"this folder is another copy of the project than {own}, whose code runs here; run `make setup` "
                       "in this copy, and then its own `make` or .venv/bin/mammorgb")


def differences(recorded: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Fields that differ, as `name: a recorded, b asked for`; values are compared as JSON stores them."""
    asked = json.loads(json.dumps(asked))
    return [f"{key}: {recorded.get(key)!r} recorded, {asked.get(key)!r} asked for"
            for key in sorted(recorded.keys() | asked.keys()) if recorded.get(key) != asked.get(key)]


def digest(identity: dict[str, Any]) -> str:
    """Hex SHA-256 of what decides a run."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _relative(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT)) if path.is_relative_to(PROJECT_ROOT) else path.name


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and takes its name.

    A killed or failed writer leaves `path` as it was; what it had begun is removed by the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{escape(path.name)}.*"):
        writer = leftover.name.removeprefix(f".{path.name}.").removesuffix(path.suffix)
        if writer.isdigit() and not psutil.pid_exists(int(writer)):
            leftover.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table atomically, without its row labels; a path's bytes that are no UTF-8 stay as they are."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", errors="surrogateescape")


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one `.npy` atomically; read it back with `np.load(path, mmap_mode="r")`."""
    with atomic_path(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of a run; pseudonyms stay text, so that `01` and `1` are two patients."""
    return pd.read_csv(path, dtype=_IDENTIFIERS)


@contextmanager
def exclusive(folder: Path, wait: float = 5) -> Iterator[None]:
    """Hold a folder for one writer; the operating system frees it when the process dies.

    Args:
        wait: Seconds until a `RunError` says that another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", timeout=wait):
            yield
    except filelock.Timeout:
        raise RunError(f"{_relative(folder)} is in use by another process; wait for it, or name another "
                       "folder (of a study: RUN=…)") from None


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def provenance(run: Run) -> dict[str, str]:
    """Commit, versions, machine and seed: the line that every notebook prints after its imports."""
    facts = {"commit": _commit(), "python": platform.python_version()}
    facts |= {name: version(name) for name in _VERSIONED}
    return facts | {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "seed": str(run.protocol.seed),
                    "profile": run.protocol.profile}


def _commit() -> str:
    """The commit of this very checkout, with -dirty where files differ from it; of a download the version."""
    try:
        if Path(_git("rev-parse", "--show-toplevel")).samefile(PROJECT_ROOT):
            return _git("describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.CalledProcessError):
        pass
    return f"version {mammorgb_utils.__version__}, not a git checkout"


def _git(*arguments: str) -> str:
    """What git says of the project's folder, whoever owns it and whatever repository a shell is set to."""
    command = ["git", "-C", str(PROJECT_ROOT), "-c", f"safe.directory={PROJECT_ROOT}", *arguments]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=own).stdout.rstrip("\n")
