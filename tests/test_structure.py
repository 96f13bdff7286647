"""The rules that keep the house in order: imports, notebooks, environment."""

import ast
import json
import re
from itertools import chain
from pathlib import Path

import house
import pytest
import yaml

from mammorgb_utils.streams import Stream

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ORDER = ["yaml_files", "protocol", "streams", "runs", "data", "diffusion", "output", "evaluation", "experiments",
         "reporting", "progress", "scheduling", "notebooks", "beforehand", "commands", "cli"]
MODULES = sorted((ROOT / "mammorgb_utils").rglob("*.py"))
LIMITS = {"library": (162, 23_606), "core": (10, 1_450), "walk": (32, 5_445)}  # modules and lines, see house.py


def room(dotted: str) -> str:
    return dotted.split(".")[1] if "." in dotted else "protocol"


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [alias.name for alias in node.names]
            if node.module == "mammorgb_utils":
                yield from ((f"mammorgb_utils.{name}", []) for name in names)
            else:
                yield node.module, names
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way_and_use_public_names(path):
    own = path.relative_to(ROOT / "mammorgb_utils").parts[0].removesuffix(".py")
    for module, names in imports(path):
        if module.split(".")[0] in {"torch", "diffusers", "accelerate"}:
            assert own in ("diffusion", "experiments"), f"{module} belongs in diffusion/ or experiments/"
        if not module.startswith("mammorgb_utils."):
            continue
        assert ORDER.index(room(module)) <= ORDER.index(own), f"{own} imports {module}"
        assert room(module) == own or not [n for n in names if n.startswith("_")], f"private names of {module}"


def test_the_paper_s_path_can_be_read_in_one_sitting():
    found = {part: house.count(files) for part, files in house.parts().items() if part in LIMITS}
    assert all(count <= limit for part in LIMITS for count, limit in zip(found[part], LIMITS[part], strict=True)), found
    assert set(house.modules(house.CORE)) <= set(MODULES)


def test_random_streams_have_names_and_never_share_a_number():
    numbers = [member.value for member in Stream.__members__.values()]  # aliases included
    assert len(numbers) == len(set(numbers)) == len(Stream)
    bare = re.compile(r"default_rng\(\[[\w.]*seed")
    for path in MODULES:
        if "phantom" not in path.parts and path.name not in ("pseudonyms.py", "streams.py"):  # seeds of their own
            assert not bare.search(path.read_text()), f"{path.name}: name the stream in mammorgb_utils/streams.py"


def cells(path: Path, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_import_public_names_and_no_torch(path):
    third = cells(path, "code")[1]
    assert not re.search(r"^(import|from) (torch|diffusers|accelerate)|import _", third, re.M)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_sources_are_stripped(path):
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_has_the_skeleton(path):
    notebook = json.loads(path.read_text())["cells"]
    first = "".join(notebook[0]["source"])
    assert first.startswith("# ") and all(f"**{word}" in first for word in ("Question", "Reads", "Writes", "Run time"))
    assert notebook[1]["metadata"].get("tags") == ["parameters"]
    for line in "".join(notebook[1]["source"]).splitlines():
        assert re.fullmatch(r"\w+: \w+ = \S.*  # .+ \[.+\]", line), f"parameter without meaning or unit: {line}"
    third = "".join(notebook[2]["source"])
    assert "provenance(study)" in third.splitlines()[-1]
    prose = cells(path, "markdown")
    assert "## Checks" in prose[-2] and prose[-1].startswith("## What agrees with the paper")
    assert notebook[-2]["cell_type"] == "code" and "assert " in "".join(notebook[-2]["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_what_a_notebook_checks_says_what_was_expected(path):
    for source in cells(path, "code"):
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.Assert) or node.msg is not None, f"without a message: {ast.unparse(node)}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_cells_are_short_and_hold_no_logic(path):
    for number, source in enumerate(cells(path, "code")):
        assert number == 1 or len(source.splitlines()) <= 15, f"cell too long:\n{source}"
        assert not re.search(r"^\s*(def|class|while) ", source, re.M)
        assert number == 1 or not re.search(r"^(import|from) ", source, re.M), "imports stand in the third cell"
        assert not re.search(r"[\"'](/\w|[A-Z]:\\)", source), "absolute path"
    for source in cells(path, "markdown")[1:-1]:
        text = re.sub(r"^#.*$", "", source, flags=re.M)
        assert len(re.findall(r"[.!?](\s|$)", text)) <= 3, f"more than three sentences:\n{source}"


def test_saving_in_jupyterlab_strips_outputs():
    config = (ROOT / ".jupyter" / "jupyter_server_config.py").read_text()
    scope = {"c": type("C", (), {"FileContentsManager": type("F", (), {})})}
    exec(compile(config, "jupyter_server_config.py", "exec"), scope)
    content = json.loads(NOTEBOOKS[0].read_text())
    code = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["left over"]}]
    code["execution_count"] = 3
    model = {"type": "notebook", "content": content}
    scope["c"].FileContentsManager.pre_save_hook(model=model)
    assert "left over" not in json.dumps(model["content"])


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_lock_pins_every_dependency_and_nothing_local():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {normal(name): version for name, version in lock().items()}
    for requirement in [*project["dependencies"], *chain(*project["optional-dependencies"].values())]:
        assert normal(re.match(r"[\w.-]+", requirement)[0]) in pinned
    assert not [version for version in pinned.values() if "+" in version]
    assert not [name for name in pinned if name.startswith("nvidia")]


def test_conda_environment_follows_lock_and_python_version():
    import tomllib

    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert "python=3.11" in environment["dependencies"] and python.startswith(">=3.11")
    pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert pip == ["-r requirements.lock", "-e ."]


def test_nothing_is_pickled():
    for path in [*MODULES, *NOTEBOOKS]:
        text = path.read_text()
        for word in ("torch.save(", "torch.load(", "import pickle", "allow_pickle=True", "joblib.dump"):
            assert word not in text, f"{path.name} uses {word}"
