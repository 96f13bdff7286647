"""Running a study's graph: one Snakemake a run folder, which ends with the command that started it."""

from __future__ import annotations

import argparse
import fcntl
import getpass
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.progress import LOG, Watch
from mammorgb_utils.runs import PROJECT_ROOT, Run, RunError

_SETTINGS = PROJECT_ROOT / "runs" / ".settings"
# In place of a person's own: start-up files, profile, matplotlibrc, user packages; threads of numpy (last digits tell).
OWN_SETTINGS = {"IPYTHONDIR": str(_SETTINGS / "ipython"), "MPLCONFIGDIR": str(_SETTINGS / "matplotlib"),
                "MATPLOTLIBRC": "", "PYTHONSTARTUP": "", "PYTHONNOUSERSITE": "1", "OPENBLAS_NUM_THREADS": "1"}
_ENDS = (signal.SIGTERM, signal.SIGHUP)
_GRACE = 20.0  # seconds for a step to end by itself
_ENDING = 3.0  # seconds in which a step that was killed has gone
_LOOK = 0.2  # seconds between two looks at what is done
_MARK = ".steps"  # held shared by whatever works in a run folder, also after the command that started it was killed


def settle() -> None:
    """Start a command and all that it starts from settings of our own, also for a user without a name or a home."""
    spoken = os.environ.get("PYTHONIOENCODING", "").partition(":")[0]
    os.environ.update(OWN_SETTINGS, MPLBACKEND="agg", PYTHONIOENCODING=f"{spoken}:backslashreplace")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no … says \u2026, and the work goes on
    try:
        getpass.getuser()
    except (KeyError, OSError):  # a container's number that no file names
        os.environ["USER"] = "nobody"
    caches = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    try:
        caches.mkdir(parents=True, exist_ok=True)
        writable = os.access(caches, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        os.environ["XDG_CACHE_HOME"] = str(_SETTINGS / "cache")


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a closed terminal, end the work inside as Ctrl-C does."""
    usual = [number for number in _ENDS if signal.getsignal(number) == signal.SIG_DFL]
    for number in usual:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in usual:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def working_in(root: Path) -> Iterator[int]:
    """Mark a run folder as worked in; the mark goes with the last process that has its descriptor, however it ends."""
    descriptor = os.open(root / _MARK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield descriptor
    finally:
        os.close(descriptor)


def run_snakemake(run: Run, options: argparse.Namespace, manifest: str, targets: Sequence[str] = ()) -> None:
    """Let Snakemake execute what isn't done of the study, or of `targets`; a failed notebook ends in one message.

    What it and the cells print goes to the run's log, and to whoever hands options to it.
    """
    _require_idle(run.root)
    begun = time.time()
    cores = options.cores or os.cpu_count() or 1
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT_ROOT / "Snakefile"),
            "--directory", str(run.root), "--cores", str(cores),
            "--config", f"profile={options.profile}", f"manifest={manifest}", f"run={run.root.name}"]
    # Our own lock is held and no step is at work, so Snakemake's lock can only be a killed run's.
    unlocked = subprocess.run([*base, "--unlock"], check=False, capture_output=True, text=True)
    if unlocked.returncode:
        raise RunError(f"runs/{run.root.name}: Snakemake can't start: {unlocked.stderr.strip()[-500:]}")
    own = getattr(options, "snakemake", ())
    asked = [*own, *(["--", *targets] if targets else [])]
    stages = targets or load_outputs().study_notebooks(run.protocol.encodings)
    watch = Watch(run.root, run.protocol, [Path(name).stem for name in stages], cores)
    with closing(watch), working_in(run.root) as mark, (run.root / LOG).open("wb") as log:
        failed = _run_group([*base, "--rerun-incomplete", "--rerun-triggers", "params", "input", "--quiet", "host",
                             "reason", *asked], mark, log=None if own else log, meanwhile=watch.look)
    if failed:
        raise RunError(f"{_last_error(run.root, begun)}\nMend it and repeat the command, which continues there")


def _require_idle(root: Path) -> None:
    until = time.monotonic() + _ENDING
    while True:
        with working_in(root) as mark:
            try:
                return fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise RunError(f"runs/{root.name} is in use by another process: a killed command's steps are still "
                                   "at work; wait for them, or choose another RUN=…") from None
        time.sleep(0.1)


def _run_group(command: list[str], mark: int, *, log: IO[bytes] | None = None,
               meanwhile: Callable[[], None] = lambda: None) -> int:
    """Run a command in a process group of its own, none of which outlives this call; its exit status."""
    process = subprocess.Popen(command, start_new_session=True, pass_fds=[mark], stdout=log, stderr=log)
    try:
        while process.poll() is None:
            meanwhile()
            time.sleep(_LOOK)
        return process.returncode
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            until = time.monotonic() + _GRACE
            try:
                os.killpg(process.pid, number)
                while time.monotonic() < until:
                    process.poll()
                    os.killpg(process.pid, 0)
                    time.sleep(0.05)
            except ProcessLookupError:
                break


def _last_error(root: Path, begun: float) -> str:
    """What went wrong since then, from the notebook that failed last or from the log: Snakemake's own lines hide it."""
    import nbformat

    failed = ((path.stat().st_mtime, path) for path in (root / "notebooks").glob("*.failed.ipynb"))
    copies = [path for moment, path in sorted(failed) if moment >= begun]
    errors = [output for path in copies[-1:] for cell in nbformat.read(path, as_version=4).cells
              for output in cell.get("outputs", ()) if output.output_type == "error"]
    if not errors:
        said = [line for line in (root / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
                if line.startswith("mammorgb run-notebook: ")]
        return f"runs/{root.name}: {said[-1] if said else 'a step failed'}; all of it is in runs/{root.name}/{LOG}"
    return f"runs/{root.name}/notebooks/{copies[-1].name}: {errors[-1].ename}: {errors[-1].evalue}"
