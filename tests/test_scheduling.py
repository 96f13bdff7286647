"""However a command ends, its steps end with it, or nobody else gets at their folder."""

import os
import signal
import subprocess
import sys
import time
from argparse import Namespace

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from mammorgb_utils import scheduling
from mammorgb_utils.cli import main
from mammorgb_utils.progress import LOG
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, RunError
from mammorgb_utils.scheduling import ended_by_signals, run_snakemake, working_in

COMMAND = """
import sys
from pathlib import Path
from mammorgb_utils import scheduling
scheduling._GRACE = 2
with scheduling.ended_by_signals(), scheduling.working_in(Path(sys.argv[1])) as mark:
    scheduling._run_group([sys.executable, "-c", sys.argv[2], sys.argv[1], sys.argv[3]], mark)
"""
STEPS = """
import os, subprocess, sys
from pathlib import Path
sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
step = subprocess.Popen(["sleep", "60"] if sys.argv[2] == "obeys" else [sys.executable, "-c", sleep])
(Path(sys.argv[1]) / "new").write_text(f"{os.getpid()} {step.pid}")
os.replace(Path(sys.argv[1]) / "new", Path(sys.argv[1]) / "started")
step.wait()
"""


def started(tmp_path, kind="obeys"):
    """A command at work, and the processes that it started."""
    command = subprocess.Popen([sys.executable, "-c", COMMAND, str(tmp_path), STEPS, kind],
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # ignored below `&`
    until = time.monotonic() + 30
    while not (tmp_path / "started").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    return command, [psutil.Process(int(pid)) for pid in (tmp_path / "started").read_text().split()]


def gone(processes, within=10.0):
    return not psutil.wait_procs(processes, timeout=within)[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_command_ends_its_steps_before_it_ends_itself(tmp_path, number):
    command, steps = started(tmp_path)
    command.send_signal(number)
    assert command.wait(timeout=20) != 0 and gone(steps, within=1)


def test_steps_that_will_not_end_are_ended(tmp_path):
    command, steps = started(tmp_path, "ignores")
    time.sleep(0.5)
    command.terminate()
    command.wait(timeout=20)
    assert gone(steps, within=1)


def test_what_is_left_of_a_killed_scheduler_ends(tmp_path):
    command, (scheduler, step) = started(tmp_path)
    scheduler.kill()
    assert command.wait(timeout=20) == 0 and gone([step], within=1)


def test_while_steps_of_a_killed_command_work_nobody_else_starts_there(tmp_path):
    command, steps = started(tmp_path)
    command.kill()
    command.wait()
    run = Run(tmp_path, Protocol.load("smoke"), tmp_path / "manifest.csv")
    with pytest.raises(RunError, match="a killed command's steps are still at work"):
        run_snakemake(run, Namespace(profile="smoke", cores=1), "manifest.csv")
    os.killpg(steps[0].pid, signal.SIGKILL)
    assert gone(steps)


def test_a_notebook_that_failed_in_an_earlier_call_is_not_told(tmp_path):
    error = new_output("error", ename="ValueError", evalue="of today")
    copy = tmp_path / "notebooks" / "A2_artefacts.failed.ipynb"
    copy.parent.mkdir()
    nbformat.write(new_notebook(cells=[new_code_cell("", outputs=[error])]), copy)
    (tmp_path / LOG).write_text("mammorgb run-notebook: disk full\n")
    assert "A2_artefacts.failed.ipynb: ValueError: of today" in scheduling._last_error(tmp_path, time.time() - 60)
    assert "disk full; all of it is in" in scheduling._last_error(tmp_path, time.time() + 60)


def test_two_steps_may_work_in_one_folder(tmp_path):
    with working_in(tmp_path), working_in(tmp_path):
        pass


def test_signals_mean_again_what_they_meant_before(capsys):
    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_stopped_command_says_so_by_its_status(monkeypatch, capsys):
    monkeypatch.setattr("mammorgb_utils.commands.report", lambda options: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["report"]) == 128 + signal.SIGTERM
    assert "mammorgb report: stopped; the same command continues" in capsys.readouterr().err
