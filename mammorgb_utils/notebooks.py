"""Executing the study's notebooks in batch, the only way in which their outputs are written."""

from __future__ import annotations

import ast
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from mammorgb_utils.runs import PROJECT_ROOT
from mammorgb_utils.scheduling import OWN_SETTINGS

NOTEBOOKS_DIR = PROJECT_ROOT / "notebooks"
_NOISE = ("Executing", "Ending Cell", "Input Notebook", "Output Notebook", "Working directory", "[IPKernelApp]", "<",
          "\x1b")  # papermill's own lines, and objects that only a notebook can show


class NotebookError(RuntimeError):
    """A notebook can't be executed, or failed; the message names notebook, cell and remedy."""


class _Kernel(AsyncKernelManager):
    """The running interpreter's own kernel, whatever others a person has called python3, without their settings."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                          display_name="Python 3", language="python",
                          env=OWN_SETTINGS | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"})


def execute_notebook(name: str, output: Path, parameters: dict[str, Any]) -> None:
    """Execute a notebook; `output` appears only when every cell succeeded.

    Args:
        name: Stem of a file in `notebooks/`, such as `"02_train"`.
        output: The executed copy. After a failure `<stem>.failed.ipynb` beside it shows the error.
        parameters: Values for the notebook's parameters cell; text is read by the type declared there.
    """
    source = NOTEBOOKS_DIR / f"{name}.ipynb"
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in NOTEBOOKS_DIR.glob("*.ipynb")))
        raise NotebookError(f"notebook {name!r} not found; the notebooks are {known}")
    # papermill only warns about names that the notebook doesn't have.
    known = papermill.inspect_notebook(source)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise NotebookError(f"{name}: unknown parameter {', '.join(unknown)}; it has {', '.join(known)}")
    parameters = {key: _typed(name, key, value, known[key]["inferred_type_name"]) for key, value in parameters.items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    failed = output.with_suffix(".failed.ipynb")
    _log_plainly()
    try:
        papermill.execute_notebook(source, failed, parameters, cwd=str(NOTEBOOKS_DIR), log_output=True,
                                   progress_bar=False, kernel_name="python3", kernel_manager_class=_Kernel,
                                   extra_arguments=["--log-level=40"])
    except papermill.PapermillExecutionError as error:
        _without_folders(failed)
        raise NotebookError(f"{name}, cell {error.exec_count}: {error.ename}: {error.evalue}\n"
                            f"The cells up to there: {failed.name}") from None
    except RuntimeError as error:  # the kernel died: killed, or out of memory
        if failed.is_file():
            _without_folders(failed)
        raise NotebookError(f"{name}: its kernel stopped ({error}); is there enough memory?") from None
    _without_folders(failed)
    os.replace(failed, output)


def _typed(notebook: str, name: str, value: Any, kind: str) -> Any:
    """A parameter as its declaration says: from a command line every value is text."""
    if not isinstance(value, str) or kind not in ("bool", "int", "float", "list"):
        return value
    try:
        found = yaml.safe_load(value) if kind == "bool" else ast.literal_eval(value)
        found = float(found) if kind == "float" else found
    except (ValueError, SyntaxError, TypeError):
        found = None
    if type(found).__name__ != kind:
        raise NotebookError(f"{notebook}: parameter {name} is {value!r}, but declared {kind}")
    return found


def _without_folders(executed: Path) -> None:
    """Keep file names, drop folders: an executed copy is shared, and a folder may be named after a person."""
    notebook = nbformat.read(executed, as_version=4)
    recorded = notebook.metadata.pop("papermill", {})
    given = {os.path.dirname(value) for value in recorded.get("parameters", {}).values() if isinstance(value, str)}
    whole = {os.path.join(PROJECT_ROOT, folder) for folder in given} | {str(PROJECT_ROOT), sys.prefix}
    whole |= {os.path.realpath(folder) for folder in whole}
    inside = {os.path.relpath(folder, PROJECT_ROOT) for folder in whole if Path(folder).is_relative_to(PROJECT_ROOT)}
    names = sorted(map(re.escape, (given | whole | inside) - {"", "."}), key=len, reverse=True)
    deep = "|".join(["(?!)", *(name for name in names if name.startswith("/") and name.count("/") > 1)])
    # Pictures inside a text stay as they are. A whole path goes wherever it stands, a short one, which may be a word,
    # where a path begins, also after a colour or a written \n.
    path = re.compile(rf"(data:\w+/[\w.+-]+;base64,[\w+/=]*)|(?:{deep})/+|"
                      rf"(^|[^\w.~/-]|\x1b\[[\d;]*m|\\[nrt])(?:\./)?(?:{'|'.join(names)})/+", re.MULTILINE)
    plain = nbformat.from_dict(_mapped(notebook, lambda text: path.sub(r"\1\2", text)))
    executed.write_text(nbformat.writes(plain) + "\n", encoding="utf-8")


def _mapped(part: Any, change: Callable[[str], str]) -> Any:
    """A notebook's part with each text changed; of outputs by kind only texts and JSON are any."""
    if isinstance(part, dict):
        return {key: _mapped(value, change) if re.match("[^/]*$|text/|application/json", key) else value
                for key, value in part.items()}
    if isinstance(part, list):
        return [_mapped(value, change) for value in part]
    return change(part) if isinstance(part, str) else part


def _log_plainly() -> None:
    """Show what cells print, with nothing around it."""
    logger = logging.getLogger("papermill")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        handler.addFilter(lambda record: not record.getMessage().startswith(_NOISE))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
