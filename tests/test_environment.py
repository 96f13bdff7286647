"""The environment belongs to its checkout, and a person's own settings stay out of a study."""

import os
import shlex
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat import v4
from packaging.specifiers import SpecifierSet

from benchmarks import beside_published, fresh_machine, same_study
from mammorgb_utils import notebooks, scheduling
from mammorgb_utils.cli import main
from mammorgb_utils.output import pictures
from mammorgb_utils.output.pages import figure_uri
from mammorgb_utils.output.saving import save_figure
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, Run, RunError


def test_every_locked_package_installs_on_the_first_python_3_11():
    """A Debian's is older than a developer's."""
    asked = {package.name: package.metadata.get("Requires-Python") for package in distributions()}
    refusing = [name for name, pythons in asked.items() if pythons and not SpecifierSet(pythons).contains("3.11.0")]
    assert not refusing, f"pin older versions in requirements.lock: {refusing}"


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


SETTINGS_OF_A_PERSON = [{"image.origin": "lower"}, {"axes.grid": True, "font.family": "serif"},
                        {"savefig.transparent": True, "savefig.bbox": "tight", "savefig.pad_inches": 1.0},
                        {"text.usetex": True}, {"image.aspect": "auto", "lines.marker": "o", "axes.titlecolor": "red"}]


@pytest.mark.parametrize("theirs", SETTINGS_OF_A_PERSON, ids=lambda theirs: next(iter(theirs)))
def test_a_matplotlibrc_of_a_persons_own_changes_no_figure(tmp_path, theirs):
    def drawn(folder):
        figure = pictures.gallery(np.linspace(0, 1, 2 * 2 * 16 * 16).reshape(2, 2, 16, 16), title="Pairs")
        save_figure(figure, tmp_path / folder, "gallery_sum")
        return (tmp_path / folder / "gallery_sum.png").read_bytes(), figure_uri(figure)

    usual = drawn("usual")
    with plt.rc_context(theirs):
        assert drawn("theirs") == usual


def test_kernels_start_up_files_and_packages_of_a_persons_own_stay_out(tmp_path, monkeypatch):
    home = tmp_path / "home"
    wrong = "raise SystemExit('a person\\'s own')"
    files = {".ipython/profile_default/startup/a.py": wrong, "startup.py": wrong,
             "matplotlib/matplotlibrc": "figure.dpi: 7",
             "jupyter/kernels/python3/kernel.json": '{"argv": ["false"], "display_name": "x", "language": "python"}'}
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    for name, value in {"HOME": home, "PYTHONSTARTUP": home / "startup.py", "JUPYTER_PATH": home / "jupyter",
                        "JUPYTER_DATA_DIR": home / "jupyter", "MPLCONFIGDIR": home / "matplotlib",
                        "MATPLOTLIBRC": home / "matplotlib" / "matplotlibrc", "MPLBACKEND": "TkAgg",
                        "IPYTHONDIR": home / ".ipython"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(notebooks, "NOTEBOOKS_DIR", tmp_path)
    code = (f"import site, sys, matplotlib\nprint('own' if sys.executable == {sys.executable!r} else 'no', 'python')\n"
            "print(site.ENABLE_USER_SITE, matplotlib.rcParams['figure.dpi'], matplotlib.get_backend())")
    cells = [v4.new_code_cell("n: int = 1  # [1]", metadata={"tags": ["parameters"]}), v4.new_code_cell(code)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "01_x.ipynb")
    notebooks.execute_notebook("01_x", tmp_path / "out.ipynb", {})
    said = nbformat.read(tmp_path / "out.ipynb", 4).cells[-1].outputs[0].text
    assert "own python" in said and "False 100.0 " in said and "inline" in said


def test_a_user_without_a_name_or_a_home_gets_both(tmp_path, monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", nobody)
    (tmp_path / "file").touch()
    for name, value in (("USER", ""), ("XDG_CACHE_HOME", str(tmp_path / "file" / "cache")), ("MPLBACKEND", "TkAgg")):
        monkeypatch.setenv(name, value)
    for name in scheduling.OWN_SETTINGS:
        monkeypatch.setenv(name, "theirs")
    scheduling.settle()
    assert os.environ["USER"] and os.environ["MPLBACKEND"] == "agg"
    assert {name: os.environ[name] for name in scheduling.OWN_SETTINGS} == scheduling.OWN_SETTINGS
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1", "of more threads the last digits of tables tell"
    assert Path(os.environ["XDG_CACHE_HOME"]).is_relative_to(PROJECT_ROOT / "runs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scheduling.settle()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "cache"), "a cache that works is kept"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_lacks_a_character_stops_nothing(encoding):
    command = [sys.executable, "-m", "mammorgb_utils.cli", "report", "--run", "größer…"]
    done = subprocess.run(command, capture_output=True, cwd=PROJECT_ROOT,
                          env={**os.environ, "PYTHONIOENCODING": encoding})
    said = done.stderr.decode(encoding)
    assert done.returncode == 1 and "Traceback" not in said and "holds no study" in said
    assert ("\\u2026" in said) == (encoding != "utf-8")


def test_the_containerfile_takes_the_steps_of_the_fresh_machine(tmp_path):
    container = " ".join((PROJECT_ROOT / "Containerfile").read_text().replace("\\\n", " ").split())
    assert f"debian:{fresh_machine.RELEASE}-slim" in container and " ".join(fresh_machine.PACKAGES) in container
    planned = list(fresh_machine.steps(tmp_path, fresh_machine.COMMANDS[:1]))
    assert [(user, what) for user, what, _ in planned] == [("root", "minimal Debian"), *(
        (user, what) for user in fresh_machine.USERS for what in ("clone", "owner", "make reproduce PROFILE=smoke"))]
    for user, ids in fresh_machine.USERS.items():
        command = next(command for who, what, command in planned if who == user and what.startswith("make"))
        assert f"--userspec={ids}" in command and f"HOME=/srv/{user}" in command
        assert f"WORKDIR /srv/{user}/mammorgb" in container and f"HOME=/srv/{user}" in container


@pytest.mark.parametrize("name", ["two words", "o'clock & $HOME", "käse"])
def test_steps_start_from_a_folder_of_any_name(tmp_path, name):
    python = tmp_path / name / ".venv" / "bin" / "python"
    venv.create(python.parents[1], symlinks=True)
    site = next((python.parents[1] / "lib").glob("python*")) / "site-packages"
    (site / "here.pth").write_text("\n".join([str(PROJECT_ROOT), *(path for path in sys.path if "packages" in path)]))
    command = [python, "-m", "snakemake", "--snakefile", PROJECT_ROOT / "Snakefile", "--directory", tmp_path / name,
               "--cores", "1", "--config", "profile=smoke", f"manifest={name}/m.csv", "run=r", "--dry-run",
               "--printshellcmds", "--until", "preprocess"]
    planned = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / name).stdout
    line = next(line for line in planned.splitlines() if "run-notebook" in line)
    words = shlex.split(line.partition("Shell command:")[2] or line)
    assert words[:3] == [str(python), "-m", "mammorgb_utils.cli"] and words[-2:] == ["manifest", f"{name}/m.csv"]


def test_what_a_study_made_elsewhere_has_otherwise_is_named(tmp_path):
    for name, content in (("pairs/pairs.npy", b"1"), ("tables/claims.csv", b"a"), ("tables/effects.csv", b"b")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    run = Run(tmp_path, Protocol(), tmp_path / "manifest.csv")
    there = same_study.digests(run)
    assert (same_study.compared(same_study.digests(run), there)["differ"] == "").all()
    (tmp_path / "tables" / "effects.csv").write_bytes(b"c")
    found = same_study.compared(same_study.digests(run), there).set_index("part")
    assert found["same"].to_dict() == {"pairs": 1, "tables": 1} and found.loc["tables", "differ"] == "effects"
    (tmp_path / "tables" / "claims.csv").unlink()
    assert same_study.compared(same_study.digests(run), there).set_index("part").loc["tables", "differ"] \
        == "claims, effects", "what isn't here differs, too"
    with pytest.raises(RunError, match="no study of profile 'laptop' is recorded"):
        same_study.compared(same_study.digests(run), there.assign(profile="smoke"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no pairs yet"):
        same_study.digests(Run(tmp_path / "empty", Protocol(), tmp_path / "manifest.csv"))


def test_results_of_another_training_stand_beside_the_published_ones(tmp_path):
    published = beside_published.values(PROJECT_ROOT / "figures")
    assert set(published["figure"]) == set(beside_published.FIGURES)
    assert set(Protocol().encodings) <= set(published["set"]) and not published.duplicated(["figure", "set"]).any()
    for name in ("effects", "learning"):
        shutil.copy(PROJECT_ROOT / "figures" / f"{name}.csv", tmp_path)
    moved = pd.read_csv(tmp_path / "effects.csv").query("set == 'sum'")
    moved.loc[moved["measure"] == "iou", ["hodges_lehmann", "hodges_lehmann_low", "hodges_lehmann_high"]] += 0.1
    moved.to_csv(tmp_path / "effects.csv", index=False)
    found = beside_published.compared(published, beside_published.values(tmp_path)).set_index(["figure", "set"])
    shift = found.loc[("shift of IoU from real", "sum")]
    assert shift["here"] - shift["published"] == pytest.approx(0.1) and shift["apart"] is True
    ends = found.loc["held-out loss, middle timesteps"]
    curve = pd.read_csv(tmp_path / "learning.csv").query("timestep == 'middle'")
    assert (ends["here"] == curve.groupby("encoding")["loss"].last().reindex(ends.index)).all() \
        and ends["apart"].isna().all(), "of a curve, where it ends, and no interval"
