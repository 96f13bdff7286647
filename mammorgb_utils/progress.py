"""What a study is doing: begin and end of each stage, noted in the run folder, and a line a stage for who watches."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT

JOURNAL = "stages.jsonl"  # of a run folder: a line when a stage begins, one when it ends
LOG = "log.txt"  # of a run folder: what scheduler and cells printed in the last call
PUBLISHED = PROJECT_ROOT / "benchmarks" / "results" / "stage_times.csv"  # profile, stage, seconds, machine
_MACHINE = f"{platform.machine()}, {os.cpu_count()} cores"
_UNKNOWN = 10.0  # seconds that the bar takes for a stage of which nothing is known


@contextmanager
def noted(root: Path, stage: str) -> Iterator[None]:
    """Note in a run folder that a stage works, and after how many seconds it ended, done or not."""
    note = {"stage": stage, "began": round(time.time(), 1), "machine": _MACHINE}
    _append(root, note)
    done = False
    try:
        yield
        done = True
    finally:
        _append(root, note | {"seconds": round(time.time() - note["began"], 1), "done": done})


def _append(root: Path, note: dict[str, Any]) -> None:
    descriptor = os.open(root / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:  # in one piece, as stages of a study may work side by side
        os.write(descriptor, (json.dumps(note) + "\n").encode())
    finally:
        os.close(descriptor)


def read_journal(root: Path) -> list[dict[str, Any]]:
    """The notes of a run folder, in order; a line that a full disk cut off isn't one."""
    notes, path = [], root / JOURNAL
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            notes.append(json.loads(line))
        except ValueError:
            continue
    return notes


def stage_seconds(root: Path) -> dict[str, float]:
    """What each stage of a run took, pieces of one that was ended on the way and went on together."""
    pieces, taken = defaultdict(float), {}
    for note in read_journal(root):
        if "seconds" in note and note["machine"] == _MACHINE:
            pieces[note["stage"]] += note["seconds"]
            if note["done"]:
                taken[note["stage"]] = max(pieces.pop(note["stage"]), taken.get(note["stage"], 0.0))
    return taken


def expected_seconds(profile: str) -> tuple[dict[str, float], str]:
    """What each stage of a profile may take, and whose times these are.

    Studies of the profile in `runs/` say it, the longest time first, as a stage that finds its data done takes less
    than the work; where there is none, the published times.
    """
    known: dict[str, float] = {}
    for file in (PROJECT_ROOT / "runs").glob(f"*/{JOURNAL}"):
        if _profile(file.parent) == profile:
            taken = stage_seconds(file.parent)
            known |= {stage: max(seconds, known.get(stage, 0.0)) for stage, seconds in taken.items()}
    if known:
        return known, "as studies of this profile took here"
    frame = pd.read_csv(PUBLISHED) if PUBLISHED.is_file() else pd.DataFrame(columns=["profile"])
    frame = frame[frame["profile"] == profile]
    return (dict(zip(frame["stage"], frame["seconds"], strict=True)), f"as measured on {frame['machine'].iloc[0]}") \
        if len(frame) else ({}, "")


def _profile(root: Path) -> str:
    try:
        return json.loads((root / "protocol.json").read_text(encoding="utf-8"))["protocol"]["profile"]
    except (OSError, ValueError, KeyError):
        return ""


class Watch:
    """Shows a study at work: a line on stdout for each stage that ends and, in a terminal, a bar with what runs now."""

    def __init__(self, root: Path, protocol: Protocol, stages: Iterable[str], cores: int) -> None:
        self._root, self._seen, self._began = root, len(read_journal(root)), time.time()
        self._expected, source = expected_seconds(protocol.profile)
        self._open = [name for name in stages if not (root / "notebooks" / f"{name}.ipynb").is_file()]
        self._running: dict[str, float] = {}
        self._ended = 0
        self._whole = _wall_seconds(self._open, self._expected, protocol, cores)
        self._bar = tqdm(total=1.0, bar_format="|{bar:16}| {desc}", leave=False, dynamic_ncols=True,
                         disable=not sys.stdout.isatty(), file=sys.stdout)
        forecast = f", about {clock(self._whole)} {source}" if self._whole else ""
        self._say(f"runs/{root.name}: {len(self._open) or 'no'} stages to do{forecast}")

    def look(self) -> None:
        """Tell what ended since the last look, and move the bar."""
        for note in read_journal(self._root)[self._seen:]:
            self._seen += 1
            if "seconds" in note:
                self._end(note)
            else:
                self._running[note["stage"]] = note["began"]
                self._open += [] if note["stage"] in self._open else [note["stage"]]  # there, but of other code
        if not self._bar.disable:
            self._move()

    def close(self) -> None:
        """Tell what is left to tell, and take the bar away."""
        self.look()
        self._bar.close()

    def _end(self, note: dict[str, Any]) -> None:
        self._running.pop(note["stage"], None)
        self._ended += 1
        expected = self._expected.get(note["stage"])
        self._say(f"{self._ended:>3}/{len(self._open)}  {note['stage']:<22} {clock(note['seconds']):>8}"
                  + (f" of about {clock(expected)}" if expected else "")
                  + ("" if note["done"] else ", NOT DONE") + f"   {clock(time.time() - self._began):>8} in all")

    def _say(self, line: str) -> None:
        self._bar.clear()
        print(line, flush=True)

    def _move(self) -> None:
        """The share of the work that is done, by expected times, with what runs now and its own last words."""
        weight = {name: self._expected.get(name, _UNKNOWN) for name in self._open}
        now = {name: time.time() - began for name, began in self._running.items()}
        done = sum(weight.values()) - sum(weight[name] for name in self._open if not self._is_done(name))
        done += sum(min(seconds, 0.95 * weight[name]) for name, seconds in now.items())
        self._bar.n = done / (sum(weight.values()) or 1.0)
        of = {name: f"/{clock(self._expected[name])}" if name in self._expected else "" for name in now}
        running = ", ".join(f"{name} {clock(seconds)}{of[name]}" for name, seconds in now.items())
        parts = (f"{self._ended}/{len(self._open)}", clock(time.time() - self._began), running,
                 last_progress(self._root))
        self._bar.set_description_str("  ".join(parts))

    def _is_done(self, name: str) -> bool:
        return name not in self._running and (self._root / "notebooks" / f"{name}.ipynb").is_file()


def _wall_seconds(stages: list[str], expected: dict[str, float], protocol: Protocol, cores: int) -> float:
    """How long stages take that aren't done yet, those of one core side by side; 0 where one of them is unknown."""
    if not set(stages) <= set(expected):
        return 0.0
    notebooks = load_outputs().notebooks
    threads = {stage: notebook.threads(len(protocol.encodings), cores) for name, notebook in notebooks.items()
               for stage in notebook.stages(name, protocol.encodings)}
    return sum(expected[name] * threads[name] / cores for name in stages)


def clock(seconds: float) -> str:
    """A time as `m:ss`, or `h:mm:ss`."""
    return tqdm.format_interval(seconds).removeprefix("0")


def last_progress(root: Path) -> str:
    """The progress that a stage at work printed last, such as the steps of a training."""
    path = root / LOG
    if not path.is_file():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 1000))
        pieces = log.read().decode(errors="replace").replace("\r", "\n").split("\n")
    return next((piece.strip() for piece in reversed(pieces) if "%|" in piece), "")
