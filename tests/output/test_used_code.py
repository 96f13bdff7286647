"""What executes a notebook again: the modules that it uses, and no other."""

import json

import pytest

from mammorgb_utils.output import used_code
from mammorgb_utils.output.used_code import source_digest, used_files

FILES = {
    "__init__.py": "", "runs.py": "import numpy",
    "rooms/__init__.py": "import lazy_loader\n__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ['inner'], "
                         "{'walls': ['paint'], 'floor': ['sweep']})",
    "rooms/walls.py": "from mammorgb_utils.rooms.inner import colour", "rooms/floor.py": "",
    "rooms/inner/__init__.py": "from mammorgb_utils.rooms.inner.tone import colour", "rooms/inner/tone.py": "",
    "other.py": "def late():\n    from mammorgb_utils import runs",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(used_code, "PROJECT_ROOT", tmp_path)
    for name, text in FILES.items():
        path = tmp_path / "mammorgb_utils" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def notebook(project, *lines, name="04_metrics"):
    path = project / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": list(lines)}]}))
    return path


@pytest.mark.parametrize(("code", "used"), [
    ("from mammorgb_utils.other import late", {"other.py", "runs.py"}),
    ("from mammorgb_utils import rooms\nrooms.sweep(3)", {"rooms/__init__.py", "rooms/floor.py"}),
    ("from mammorgb_utils import rooms as r\nr.paint()",
     {"rooms/__init__.py", "rooms/walls.py", "rooms/inner/__init__.py", "rooms/inner/tone.py"}),
    ("import mammorgb_utils.rooms.floor as f", {"rooms/__init__.py", "rooms/floor.py"}),
    ("from mammorgb_utils import rooms\nrooms.inner.colour", {"rooms/__init__.py", "rooms/inner/__init__.py",
                                                             "rooms/inner/tone.py"}),
    ("import numpy as np\nnp.runs", set())])
def test_modules_are_found_through_imports_attributes_and_lazy_rooms(project, code, used):
    found = used_files([notebook(project, code)])
    names = {str(path.relative_to(project / "mammorgb_utils")) for path in found}
    assert names - {"__init__.py"} == used


def test_a_stop_leaves_out_a_room(project):
    found = used_files([notebook(project, "from mammorgb_utils.rooms import paint")], stop=["rooms.inner"])
    assert {path.name for path in found} == {"__init__.py", "walls.py"}


@pytest.mark.parametrize(("name", "read", "unread"), [
    ("05_stats", "claims.yaml", "runs/r/tables/samplers.csv"),
    ("06_ledger", "runs/r/tables/samplers.csv", "claims.yaml")])
def test_a_digest_follows_the_code_that_is_used_the_list_and_the_files_that_are_read(project, name, read, unread):
    notebook(project, "from mammorgb_utils.other import late", name=name)
    run = project / "runs" / "r"
    (run / "tables").mkdir(parents=True)
    digests = [source_digest(name, run)]
    for path in ("mammorgb_utils/runs.py", read):
        (project / path).write_text("changed = 1")
        used_code._used_names.cache_clear()
        digests.append(source_digest(name, run))
    assert len(set(digests)) == 3
    for path in ("mammorgb_utils/rooms/floor.py", "runs/r/tables/claims.csv", unread):
        (project / path).write_text("changed = 1")
    assert source_digest(name, run) == digests[-1]


def test_what_was_computed_is_kept_whatever_the_code_is_now(project):
    notebook(project, "from mammorgb_utils.other import late", name="01_preprocess")
    before = source_digest("01_preprocess", project)
    (project / "mammorgb_utils" / "runs.py").write_text("changed = 1")
    assert source_digest("01_preprocess", project) == before
