"""The list of outputs: it is whole, its mistakes are named, and every notebook saves exactly what it says."""

import ast
import json
import re
import shlex
from collections import Counter

import pytest
import yaml
from papermill import inspect_notebook

from mammorgb_utils.output.outputs import FILE, OutputsError, load_outputs
from mammorgb_utils.output.tables import latex_escape
from mammorgb_utils.runs import PROJECT_ROOT

OUTPUTS = load_outputs()
NOTEBOOKS = sorted(PROJECT_ROOT.glob("notebooks/*.ipynb"))


def test_every_notebook_is_listed_and_there():
    assert set(OUTPUTS.notebooks) == {path.stem for path in NOTEBOOKS}
    assert len({name[:2] for name in OUTPUTS.notebooks}) == len(OUTPUTS.notebooks), "`--only` tells them apart so"


def test_sizes_of_a_profile_are_parameters_of_its_notebook():
    sized = 0
    for name, notebook in OUTPUTS.notebooks.items():
        for profile, sizes in notebook.sizes.items():
            known = inspect_notebook(str(PROJECT_ROOT / "notebooks" / f"{name}.ipynb"))
            assert set(sizes) <= set(known) and notebook.parameters("laptop") == ""
            assert shlex.split(notebook.parameters(profile)) == [
                word for key, value in sizes.items()
                for word in ("-p", key, str(list(value)) if isinstance(value, tuple) else f"{value:g}")]
            sized += 1
    assert sized


def test_every_caption_can_be_set_by_latex_and_no_name_stands_twice():
    for entry in (*OUTPUTS.figures.values(), *OUTPUTS.tables.values()):
        assert latex_escape(entry.caption).isascii()
    names = re.findall(r"^  (\w+):$", FILE.read_text(encoding="utf-8"), re.M)
    expected = [*OUTPUTS.notebooks, *OUTPUTS.figures, *OUTPUTS.tables]
    assert Counter(names) == Counter(expected)


def changed(tmp_path, change):
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "outputs.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c["tables"]["claims"].pop("title"), "field 'tables.claims.title': Field required"),
    (lambda c: c["tables"]["claims"].update(colums=[]), "unknown field 'tables.claims.colums'"),
    (lambda c: c["figures"]["distances"].update(notebook="05_stat"),
     "figures.distances.notebook: '05_stat' isn't among the notebooks; did you mean '05_stats'"),
    (lambda c: c["notebooks"]["05_stats"].update(needs=["03_sample_red"]), "notebooks.05_stats.needs: '03_sample_red'"),
    (lambda c: c["figures"]["distances"].update(sentence="no end"),
     "field 'figures.distances.sentence': String should match"),
])
def test_a_mistake_is_named_with_its_entry(tmp_path, change, message):
    with pytest.raises(OutputsError, match=re.escape(message)):
        load_outputs(changed(tmp_path, change))


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(OutputsError, match="outputs.yaml: not found"):
        load_outputs(tmp_path / "outputs.yaml")
    (tmp_path / "outputs.yaml").write_text("figures: [")
    with pytest.raises(OutputsError, match="outputs.yaml: not valid YAML"):
        load_outputs(tmp_path / "outputs.yaml")


def saved_parts(notebook):
    """For each call that saves: a pattern of its name, where an f-string's fields match any word, and its parts."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    for call in ast.walk(ast.parse(source)):
        function = isinstance(call, ast.Call) and (getattr(call.func, "attr", None) or getattr(call.func, "id", None))
        if function in ("present", "save_figure", "save_table"):
            name = call.args[1 if function == "present" else 2]
            yield name_pattern(name), len(call.args) - 2 if function == "present" else 1


def name_pattern(node):
    if isinstance(node, ast.Constant):
        return re.escape(node.value)
    assert isinstance(node, ast.JoinedStr), f"a name must be a literal or an f-string: {ast.unparse(node)}"
    return "".join(re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in node.values)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_saves_exactly_what_is_listed(notebook):
    listed = Counter(name for entries in (OUTPUTS.figures, OUTPUTS.tables) for name, entry in entries.items()
                     if entry.notebook == notebook.stem)
    saved = Counter()
    for pattern, parts in saved_parts(notebook):
        names = [name for name in listed if re.fullmatch(pattern, name)]
        assert names, f"{notebook.name} saves {pattern}, which outputs.yaml doesn't give to it"
        saved.update({name: parts for name in names})
    assert saved == listed, f"{notebook.name} saves other parts than outputs.yaml gives to it"
