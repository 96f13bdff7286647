"""The environment belongs to its checkout, and a person's own settings stay out of a study."""

import shutil
import subprocess

import pytest

from mammorgb_utils.cli import main
from mammorgb_utils.runs import PROJECT_ROOT, Run, RunError


@pytest.mark.parametrize("name", ["plain", "two words", "o'clock", "käse, $HOME"])
@pytest.mark.parametrize(("first_line", "is_own"), [
    ("#!{here}/.venv/bin/python", True), ("#!/bin/sh\n'''exec' \"{here}/.venv/bin/python\" \"$0\" \"$@\"", True),
    ("#!/bin/sh\n'''exec' {here}/.venv/bin/python \"$0\" \"$@\"", True), ("#!/somewhere/.venv/bin/python", False),
    ("#!/backup{here}/.venv/bin/python", False), (None, False)])
def test_make_uses_an_environment_of_this_folder_and_makes_another_anew(tmp_path, name, first_line, is_own):
    here = tmp_path / name
    (here / ".venv" / "bin").mkdir(parents=True)
    for file in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(PROJECT_ROOT / file, here)
    if first_line:
        (here / ".venv" / "bin" / "mammorgb").write_text(first_line.format(here=here) + "\n")
    (here / ".venv" / ".ready").touch()
    planned = subprocess.run(["make", "-n", "setup"], cwd=here, capture_output=True, text=True, check=True).stdout
    assert ("rm -rf .venv" not in planned and "-m venv" not in planned) if is_own else \
        planned.index("rm -rf .venv") < planned.index("-m venv .venv")


def test_another_copy_of_the_project_is_not_worked_in_with_this_ones_code(tmp_path, monkeypatch, capsys):
    (tmp_path / "mammorgb_utils").mkdir()
    (tmp_path / "mammorgb_utils" / "runs.py").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert main(["report"]) == 1 and "another copy of the project" in capsys.readouterr().err
    with pytest.raises(RunError, match="run `make setup` in this copy"):
        Run.open("r", "smoke")
    monkeypatch.chdir(PROJECT_ROOT / "notebooks")
    main(["report", "--run", "nobody"])
    assert "runs/nobody holds no study" in capsys.readouterr().err
