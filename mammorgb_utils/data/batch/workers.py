"""Work on one file after another in other processes, where a crash, a hang or a hunger for memory costs one file."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from mammorgb_utils.data.dicom import RejectedImage

FAILURES = ("decoder_crash", "timeout", "out_of_memory")  # may be the machine's fault: worth another try later
_AHEAD = 4  # items a process that are scheduled before their turn
_GRACE = 90  # s beyond an item's time: a worker is stopped, another starts and imports its modules
_RENEWED = 2000  # items after which a worker is replaced, as decoders leak
_RESTARTS = 3  # of all workers without one finished item in between
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_PAGES = Path("/proc/self/statm")  # Linux: the address space in pages comes first
_work: Callable[[Any], Any] | None = None  # in a worker: what it does with an item


class WorkerError(RuntimeError):
    """Worker processes end before they do anything; the message says what to look at."""


def map_isolated(function: Callable[[Any], Any], items: Iterable[Any], *, seconds: float = 60.0,
                 gigabytes: float = 4.0, processes: int | None = None) -> Iterator[tuple[Any, Any]]:
    """Apply a function to each item in worker processes that may die without harm to the other items.

    Workers are spawned, so that they share no lock or thread with a notebook's kernel. They use one thread each
    and write no core dumps, which would hold a patient's image. Memory is limited on Linux only. A few items a
    process are under way at a time, however many there are; nothing is held once it has been handed out.

    Args:
        function: Importable by name, or a `functools.partial` of such a function.
        items: Paths as a rule; may be a generator.
        seconds: An item that takes longer is given up [s].
        gigabytes: Address space that a worker may take beyond what its modules need [10⁹ bytes].
        processes: By default one for each core that this process may use.

    Yields:
        Each item with its result, in the order of `items`. The result is a `RejectedImage` where the function
        raised one, or with one of these codes: `decoder_crash` (the worker died), `timeout`, `out_of_memory`.

    Raises:
        WorkerError: Workers can't be kept running.
    """
    processes = processes or available_cores()
    source, window, restarts = iter(items), deque(), 0
    start = partial(ProcessPool, processes, _RENEWED, initializer=_prepare, initargs=(function, gigabytes),
                    context=_Context())
    pool = start()
    try:
        while True:
            window.extend((item, _schedule(pool, item, seconds))
                          for item in islice(source, processes * _AHEAD - len(window)))
            if not window:
                return
            if _is_finished(pool, window[0][1], seconds):
                restarts = 0
                item, future = window.popleft()
                yield item, _result(item, future, seconds, gigabytes)
                continue
            restarts += 1
            if restarts > _RESTARTS:
                raise WorkerError("worker processes end before they do anything; free memory or lower the number "
                                  "of processes, and see the messages above")
            _stop(pool)
            pool = start()
            window = deque((item, future if _kept(future) else _schedule(pool, item, seconds))
                           for item, future in window)
    finally:
        _stop(pool)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stop(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


def _schedule(pool: ProcessPool, item: Any, seconds: float) -> ProcessFuture:
    try:
        return pool.schedule(_do, args=(item,), timeout=seconds)
    except RuntimeError:  # the pool broke a moment ago; the item waits for the next one
        lost = ProcessFuture()
        lost.set_exception(BrokenProcessPool())
        return lost


def _is_finished(pool: ProcessPool, future: ProcessFuture, seconds: float) -> bool:
    """Wait for the oldest item; False where the pool broke, so that it would never finish."""
    deadline = time.monotonic() + seconds + _GRACE
    while not future.done() and pool.active and time.monotonic() < deadline:
        wait([future], timeout=1.0)
    return _kept(future)


def _kept(future: ProcessFuture) -> bool:
    return future.done() and not future.cancelled() and not isinstance(future.exception(), BrokenProcessPool)


def _result(item: Any, future: ProcessFuture, seconds: float, gigabytes: float) -> Any:
    path = Path(item) if isinstance(item, (str, os.PathLike)) else Path()
    try:
        return future.result()
    except RejectedImage as error:
        return error
    except MemoryError:
        return RejectedImage(path, "out_of_memory", f"decoding it takes more than {gigabytes:g} GB of memory")
    except ProcessExpired as error:
        known = -error.exitcode in set(signal.Signals)
        cause = signal.Signals(-error.exitcode).name if known else f"exit code {error.exitcode}"
        return RejectedImage(path, "decoder_crash", f"decoding it ended its worker process ({cause})")
    except TimeoutError:
        return RejectedImage(path, "timeout", f"decoding it takes more than {seconds:g} s")


# What follows runs when a worker starts, or in the worker.


class _Process(SpawnProcess):
    def start(self) -> None:
        """With one thread: numeric libraries read these variables when they are loaded, before an initializer runs."""
        added = dict.fromkeys(set(_THREADS) - set(os.environ), "1")
        os.environ.update(added)
        try:
            super().start()
        finally:
            for name in added:
                os.environ.pop(name, None)


class _Context(SpawnContext):
    Process = _Process


def _prepare(function: Callable, gigabytes: float) -> None:
    """Keep the function, whose modules are loaded by now, and set the limits."""
    global _work
    _work = function
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if _PAGES.is_file():
        limit = int(_PAGES.read_text().split()[0]) * resource.getpagesize() + int(gigabytes * 1e9)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _do(item: Any) -> Any:
    try:
        return _work(item)
    except RejectedImage as error:
        if isinstance(error.__cause__, MemoryError):  # the limit, which the reader took for a damaged file
            raise error.__cause__ from None
        raise
