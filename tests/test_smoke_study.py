"""The whole study, twice: once unbroken, once killed on the way. Minutes, not seconds."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from browser import chromium, needs_chromium, until
from lab import Lab, jupyterlab

from benchmarks.kill_and_continue import kill_tree, tables
from mammorgb_utils.cli import main
from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.runs import PROJECT_ROOT

pytestmark = pytest.mark.slow
STAGES = ["01_preprocess", *(f"{stage}_{encoding}" for stage in ("02_train", "03_sample")
                             for encoding in ("sum", "absdiff", "zero")), "04_metrics", "05_stats", "06_ledger",
          "A7_beyond_silhouettes"]


FIGURES, TABLES = ({name for name, entry in declared.items() if entry.notebook not in load_outputs().appendices}
                   for declared in (load_outputs().figures, load_outputs().tables))


def start(run: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mammorgb_utils.cli", "reproduce", "--profile", "smoke", "--run", run]
    with (PROJECT_ROOT / "runs" / f"{run}.log").open("w") as log:
        return subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=log, stderr=subprocess.STDOUT)


def finish(run: str) -> str:
    process = start(run)
    process.wait(timeout=1200)
    output = (PROJECT_ROOT / "runs" / f"{run}.log").read_text()
    assert process.returncode == 0, output[-3000:]
    return output


def kill_once_there_is(file: Path, process: subprocess.Popen) -> None:
    until(lambda: file.exists() or process.poll() is not None, file.name, patience=1200)
    assert process.poll() is None, "the study ended before it could be killed"
    kill_tree(process)


def emptied(run: str) -> Path:
    folder = PROJECT_ROOT / "runs" / run
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def study() -> Path:
    folder = emptied("test-smoke")
    finish("test-smoke")
    return folder


def test_every_declared_figure_and_table_is_there(study):
    for name in FIGURES:
        for kind in ("pdf", "png"):
            assert (study / "figures" / f"{name}.{kind}").stat().st_size > 1000
    for name in TABLES:
        assert len(pd.read_csv(study / "tables" / f"{name}.csv")), f"{name}: no rows"
        assert (study / "tables" / f"{name}.tex").is_file()
    questions = pd.read_csv(study / "tables" / "open_questions.csv")
    assert (questions["verdict"] == "not run").all(), "appendices alone answer them"
    for folder, declared in (("figures", FIGURES), ("tables", TABLES)):
        assert {file.stem for file in (study / folder).iterdir() if file.is_file()} == declared
    assert (study / "report.html").stat().st_size > 1_000_000


def test_notebooks_ran_in_order_without_errors_and_name_no_folder(study):
    assert {file.stem for file in (study / "notebooks").iterdir()} == set(STAGES)
    for file in (study / "notebooks").iterdir():
        cells = [cell for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
        whole = file.read_text()
        assert '"output_type": "error"' not in whole
        assert str(PROJECT_ROOT) not in whole and not re.search(r"\.dcm|[0-9a-f]{64}", whole)


def test_on_phantoms_every_verdict_says_so(study):
    claims = pd.read_csv(study / "tables" / "claims.csv")
    assert claims["id"].tolist() == [f"C{i}" for i in range(1, 8)]
    assert claims["verdict"].str.contains("on phantoms").all()


def test_a_repeat_redoes_nothing(study):
    before = {file: file.stat().st_mtime_ns for file in study.rglob("*") if file.is_file() and ".snakemake" not in
              file.parts and file.name not in (".lock", "log.txt")}
    assert "no stages to do" in finish("test-smoke")
    manifest = next(PROJECT_ROOT.glob("data/phantom-48-*/manifest.csv")).relative_to(PROJECT_ROOT)
    for name in ("train", "sample"):  # what a launcher starts on several GPUs finds the stages done
        assert main([name, "--profile", "smoke", "--run", "test-smoke", "--manifest", str(manifest)]) == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_the_site_shows_the_executed_notebooks_of_a_run(study, tmp_path):
    assert main(["site", "--run", study.name, "--out", str(tmp_path / "site")]) == 0
    pages = {path.stem: path.read_text() for path in (tmp_path / "site" / "notebooks").glob("*.html")}
    assert all("Not executed in the study" not in pages[stage] and "<img" in pages[stage] for stage in STAGES
               if stage != "06_ledger"), sorted(pages)


@needs_chromium
def test_in_jupyterlab_another_mask_method_changes_the_figure_and_saving_strips_the_source(study, tmp_path):
    source = (PROJECT_ROOT / "notebooks" / "04_metrics.ipynb").read_text()
    manifest = next(PROJECT_ROOT.glob("data/phantom-48-*/manifest.csv")).relative_to(PROJECT_ROOT)
    for name, value in {"run": study.name, "profile": "smoke", "manifest": str(manifest)}.items():
        source = re.sub(rf'({name}: str = \\")[^"\\]+', rf"\g<1>{value}", source)
    (tmp_path / "04_metrics.ipynb").write_text(source)
    code = [cell["source"] for cell in json.loads(source)["cells"] if cell["cell_type"] == "code"]
    chosen = next(number for number, lines in enumerate(code) if 'method = "background"' in "".join(lines))
    with jupyterlab(tmp_path) as address, chromium(tmp_path) as page:
        lab = Lab(page, address, "04_metrics.ipynb")
        lab.run_all()
        usual = lab.figure(chosen)
        lab.replace(chosen, '"background"', "otsu")
        lab.run_all()
        until(lambda: lab.figure(chosen) != usual, "another figure")
        assert not page.run("document.querySelectorAll('.jp-RenderedText[data-mime-type*=error]').length")
        lab.choose("File", "docmanager:save")
        until(lambda: 'method = \\"otsu\\"' in (tmp_path / "04_metrics.ipynb").read_text(), "saving")
    saved = json.loads((tmp_path / "04_metrics.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in saved)
    assert len(saved) == len(json.loads(source)["cells"])


def test_a_killed_study_continues_to_the_same_tables(study):
    folder = emptied("test-smoke-killed")
    for moment in ("pairs/index.csv", "training/sum/checkpoints", "metrics/overlap.csv"):
        kill_once_there_is(folder / moment, start("test-smoke-killed"))
    finish("test-smoke-killed")
    assert tables(folder.name) == tables(study.name)
    shutil.rmtree(folder)
