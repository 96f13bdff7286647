"""One bad file costs one file: crashes, hangs and memory come back as rejections, in order, neighbours unharmed."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from mammorgb_utils.data.batch.workers import WorkerError, map_isolated
from mammorgb_utils.data.dicom import RejectedImage

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def behave(item):
    """What an item asks for."""
    match Path(item).name:
        case "crash":
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            time.sleep(0.05)
            os._exit(3)
        case "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as native code that never returns to Python
            time.sleep(60)
        case "grow":
            try:
                return len(bytearray(2_000_000_000))
            except MemoryError as error:
                raise RejectedImage(Path(item), "unreadable", "as the reader says") from error
        case "swell":
            return len(bytearray(2_000_000_000))
        case "reject":
            raise RejectedImage(Path(item), "no_breast", "no breast stands out")
        case "bug":
            raise KeyError("a mistake of ours")
    return str(item)


def plus(item, more):
    return item + more


def circumstances(_):
    import resource

    return [os.environ.get(name) for name in THREADS], resource.getrlimit(resource.RLIMIT_CORE)[0]


class BreaksWorkers:
    """Can be sent to a worker, which ends when it unpacks it."""

    def __reduce__(self):
        return os._exit, (1,)


def children() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [child for child in found if "spawn_main" in " ".join(child.cmdline())]


def test_each_failure_costs_its_own_item_and_order_is_kept():
    items = ["a", "crash", "b", "c", "reject", Path("d/hang"), "e", "exit", "f"]
    found = list(map_isolated(behave, items, seconds=2, processes=2))
    assert [item for item, _ in found] == items
    failed = {str(item): result for item, result in found if isinstance(result, RejectedImage)}
    assert {name: result.code for name, result in failed.items()} == {
        "crash": "decoder_crash", "reject": "no_breast", "d/hang": "timeout", "exit": "decoder_crash"}
    assert [result for item, result in found if str(item) not in failed] == list("abcef")
    assert failed["d/hang"].path == Path("d/hang") and "2 s" in failed["d/hang"].reason
    assert "SIGSEGV" in failed["crash"].reason and "exit code 3" in failed["exit"].reason
    assert not any("hang" in result.reason for result in failed.values()), "a file's name reached a reason"
    assert not children()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_too_much_memory_costs_its_own_item_also_where_the_reader_calls_it_damage():
    found = dict(map_isolated(behave, ["a", "grow", "swell", "b"], gigabytes=1, processes=1))
    outcomes = [getattr(result, "code", result) for result in found.values()]
    assert outcomes == ["a", "out_of_memory", "out_of_memory", "b"]
    assert "1 GB" in found["grow"].reason


def test_a_crash_on_every_second_item_of_one_worker():
    found = dict(map_isolated(behave, ["a", "x/crash", "b", "y/crash", "c"], processes=1))
    assert [getattr(result, "code", result) for result in found.values()] == ["a", "decoder_crash", "b",
                                                                           "decoder_crash", "c"]


def test_a_mistake_of_ours_is_not_taken_for_a_bad_file():
    with pytest.raises(KeyError, match="a mistake of ours"):
        list(map_isolated(behave, ["a", "bug", "b"], processes=1))
    assert not children()


def test_few_items_are_under_way_and_stopping_early_leaves_no_worker():
    taken = []
    source = (taken.append(number) or number for number in range(10_000))
    results = map_isolated(partial(plus, more=1), source, processes=1)
    assert [next(results) for _ in range(3)] == [(0, 1), (1, 2), (2, 3)]
    assert len(taken) < 20 and len(children()) == 1
    results.close()
    assert not children()


def test_workers_use_one_thread_and_leave_no_core_dump(monkeypatch):
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert list(map_isolated(circumstances, ["a"], processes=1)) == [("a", (["2", "1"], 0))]
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_workers_that_cannot_start_are_reported():
    with pytest.raises(WorkerError, match="end before they do anything"):
        list(map_isolated(partial(plus, more=BreaksWorkers()), ["a", "b"], processes=1))


def test_nothing_to_do_starts_nothing():
    assert list(map_isolated(behave, [])) == []


def test_workers_end_with_a_killed_parent():
    code = ("from test_workers import behave\nfrom mammorgb_utils.data.batch.workers import map_isolated\n"
            "results = map_isolated(behave, map(str, range(100)), processes=2)\n"
            "if __name__ == '__main__':\n    next(results)\n    print('up', flush=True)\n    input()\n")
    path = [str(Path(__file__).parent), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=environment)
    assert parent.stdout.readline() == b"up\n"
    left = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    assert left and not psutil.wait_procs(left, timeout=20)[1]
