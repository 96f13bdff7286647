"""Which files of the library a notebook or module uses: what decides whether a notebook is executed again."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.runs import PROJECT_ROOT

PACKAGE = "mammorgb_utils"


def source_digest(notebook: str, root: Path) -> str:
    """A digest of what a notebook's results follow from, apart from the notebooks before it, in a run folder.

    Its own cells, its entries in `outputs.yaml`, the files that it `reads`, and, unless what it computed is `kept`,
    the modules that it uses.
    """
    outputs = load_outputs()
    entry, file = outputs.notebooks[notebook], PROJECT_ROOT / "notebooks" / f"{notebook}.ipynb"
    files = [file, *([] if entry.kept else used_files([file]))]
    for pattern in entry.reads:
        if pattern == "appendices":
            written = outputs.files(outputs.appendices)
            files += [root / name for name in written if name.endswith(".csv") and (root / name).is_file()]
        else:
            folder = root if pattern.startswith("run/") else PROJECT_ROOT
            files += sorted(folder.glob(pattern.removeprefix("run/")))
    shown = [(name, item) for part in (outputs.figures, outputs.tables) for name, item in part.items()
             if item.notebook == notebook]
    return hashlib.sha256(b"".join([repr(shown).encode(), *(path.read_bytes() for path in files)])).hexdigest()[:16]


def used_files(sources: Iterable[Path], *, stop: Iterable[str] = ()) -> list[Path]:
    """The library's files that notebooks or modules import, directly or through others, modules among them.

    Of a room that is attached lazily only the names that are used count, of dotted names in `stop` nothing does.
    """
    stop = [PROJECT_ROOT / PACKAGE / name.replace(".", "/") for name in stop]
    found, waiting = set(), list(sources)
    while waiting:
        path = waiting.pop()
        if path in found or any(part == path.with_suffix("") or part in path.parents for part in stop):
            continue
        found.add(path)
        waiting += (file for name in _used_names(path) for file in _files_of(name))
    return sorted(path for path in found if path.suffix == ".py")


@cache
def _used_names(path: Path) -> frozenset[str]:
    """Dotted names of the library that a file imports, each with the attributes that it takes from them."""
    tree, bound, names = ast.parse(_code(path)), {}, set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name, alias in _imported(node):
                names.add(name)
                bound[alias] = name
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Name)):
            first, *attributes = ast.unparse(node).split(".")
            names.add(".".join([bound.get(first, ""), *attributes]))
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE)


def _code(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    of_module = isinstance(node, ast.ImportFrom)
    for name in node.names:
        yield (f"{node.module}.{name.name}" if of_module else name.name,
               name.asname or (name.name if of_module else name.name.split(".")[0]))


def _files_of(name: str) -> Iterator[Path]:
    """The module that a dotted name leads to, and the `__init__.py` of the rooms on the way."""
    folder = PROJECT_ROOT
    for part in name.split("."):
        attached = _attached(folder / "__init__.py").get(part, part)
        if (folder / attached).is_dir():
            folder = folder / attached
            yield folder / "__init__.py"
        else:
            if (module := folder / f"{attached}.py").is_file():
                yield module
            return


@cache
def _attached(init: Path) -> dict[str, str]:
    """Names that a room attaches lazily, each with the module that holds it."""
    if not init.is_file():
        return {}
    calls = [node for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
             and ast.unparse(node.func).endswith("attach")]
    modules = [literal for call in calls for literal in [*call.args[2:], *(k.value for k in call.keywords)]
               if isinstance(literal, ast.Dict)]
    return {name: module for literal in modules for module, names in ast.literal_eval(literal).items()
            for name in names}
