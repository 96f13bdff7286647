"""Executing notebooks in batch: an output file means success, and mistakes are named before anything runs."""

import base64
import io
import sys

import nbformat
import numpy as np
import pytest
from nbformat import v4
from PIL import Image

from mammorgb_utils import notebooks
from mammorgb_utils.notebooks import NotebookError, execute_notebook
from mammorgb_utils.runs import PROJECT_ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "NOTEBOOKS_DIR", tmp_path)

    def write(last):
        lines = ("study: str = 'a'  # folder [name]\nexport: bool = True  # [True or False]\n"
                 "rates: list = [1e-4]  # learning rates [1]\nepochs: float = 4.0  # passes [epochs]\n"
                 "n: int = 3  # runs [count]")
        parameters = nbformat.v4.new_code_cell(lines, metadata={"tags": ["parameters"]})
        cells = [parameters, nbformat.v4.new_code_cell(last)]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "01_x.ipynb")
        return tmp_path

    return write


def text(path):
    return str([cell.get("outputs") for cell in nbformat.read(path, 4).cells])


def test_success_leaves_one_file_with_the_outputs(folder):
    out = folder("print('run is', study)") / "out" / "01_x.ipynb"
    execute_notebook("01_x", out, {"study": "b"})
    assert [p.name for p in out.parent.iterdir()] == ["01_x.ipynb"] and "run is b" in text(out)


def test_folders_are_left_out_of_executed_copies(folder):
    last = "print('read', study); print(__import__('sys').executable)"
    out = folder(last) / "out" / "01_x.ipynb"
    execute_notebook("01_x", out, {"study": "/archive/jane_doe/manifest.csv"})
    whole = out.read_text()
    assert "manifest.csv" in whole and "jane_doe" not in whole and sys.prefix not in whole


@pytest.mark.parametrize("folder", ["data/mine", "image", "text", "e", "n", "in", "/n", "/archive/jane doe", "käse",
                                    "./image", "a&b", str(PROJECT_ROOT / "data" / "jane")])
def test_what_a_folder_is_called_changes_no_picture_and_no_other_word(tmp_path, folder):
    pixels = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90), dtype=np.uint8)).save(pixels, "PNG")
    png = base64.b64encode(pixels.getvalue()).decode()
    page = f'<img src="data:image/png;base64,{png}"> text/plain, line/e, m/n/o'
    said = f"read {folder}/manifest.csv and '{folder}/b.dcm'\n{folder}/c.dcm; "
    said += f"at {PROJECT_ROOT / folder}/d.dcm, x in n, -I{PROJECT_ROOT}/f"
    outputs = [v4.new_output("display_data", data={"image/png": png, "text/html": page, "text/plain": said}),
               v4.new_output("stream", text=said),
               v4.new_output("error", ename="E", evalue=repr(said), traceback=[f"\x1b[0;32m{folder}/d.py\x1b[0m"])]
    cells = [v4.new_code_cell(f"manifest = '{folder}/manifest.csv'", outputs=outputs)]
    file = tmp_path / "a.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata={"papermill": {"parameters": {
        "manifest": f"{folder}/manifest.csv", "run": "r"}}}), file)
    notebooks._without_folders(file)
    cell = nbformat.read(file, as_version=4).cells[0]
    shown, printed, error = cell.outputs
    kept = "read manifest.csv and 'b.dcm'\nc.dcm; at d.dcm, x in n, -If"
    assert cell.source == "manifest = 'manifest.csv'" and shown.data["image/png"] == png
    assert png in shown.data["text/html"] and shown.data["text/html"].startswith('<img src="data:image/png;base64,')
    assert shown.data["text/plain"] == printed.text == kept
    assert error.traceback == ["\x1b[0;32md.py\x1b[0m"]
    assert (folder + "/") not in error.evalue or folder in ("e", "n", "in")


def test_true_and_false_are_read_as_such(folder):
    out = folder("print('export is', export)") / "out" / "01_x.ipynb"
    execute_notebook("01_x", out, {"export": "False"})
    assert "export is False" in text(out) and "'False'" not in out.read_text()


def test_numbers_and_lists_are_read_as_they_are_declared(folder):
    out = folder("print('found', rates, epochs, n, epochs * n)") / "out" / "01_x.ipynb"
    execute_notebook("01_x", out, {"rates": "[1e-4, 2e-5]", "epochs": "2", "n": "5"})
    assert "found [0.0001, 2e-05] 2.0 5 10.0" in text(out)
    for wrong in ({"n": "2.5"}, {"epochs": "many"}, {"rates": "1e-4"}, {"export": "7"}):
        with pytest.raises(NotebookError, match="01_x: parameter .* is .*, but declared"):
            execute_notebook("01_x", out, wrong)


def test_a_failing_cell_leaves_no_output_and_says_which(folder):
    out = folder("raise ValueError('no pairs')") / "out" / "01_x.ipynb"
    with pytest.raises(NotebookError, match="01_x, cell .*ValueError: no pairs"):
        execute_notebook("01_x", out, {})
    assert not out.exists() and "no pairs" in text(out.with_suffix(".failed.ipynb"))


def test_a_killed_kernel_is_no_success(folder):
    out = folder(f"# {PROJECT_ROOT}/notebooks\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)") \
        / "out" / "01_x.ipynb"
    with pytest.raises(NotebookError, match="kernel stopped.*memory"):
        execute_notebook("01_x", out, {})
    assert not out.exists() and str(PROJECT_ROOT) not in out.with_suffix(".failed.ipynb").read_text()


def test_unknown_parameters_and_notebooks_are_named_before_anything_runs(folder):
    out = folder("pass") / "out" / "01_x.ipynb"
    with pytest.raises(NotebookError, match="unknown parameter rum; it has study, export, rates"):
        execute_notebook("01_x", out, {"rum": "b"})
    with pytest.raises(NotebookError, match="'02_y' not found; the notebooks are 01_x"):
        execute_notebook("02_y", out, {})
    assert not out.parent.exists()
