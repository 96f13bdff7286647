"""Documents show the tables of the repository, not remembered ones, and point to files that exist."""

import re

import pandas as pd
import pytest

from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.reporting.documents import fill_documents, fill_tables
from mammorgb_utils.runs import PROJECT_ROOT

DOCUMENTS = sorted([*PROJECT_ROOT.glob("*.md"), *PROJECT_ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_tables_are_those_of_their_files(path):
    text = path.read_text()
    assert fill_tables(text, PROJECT_ROOT) == text, "fill it: `make publish`"
    absent = [source for source in re.findall(r"<!-- table: (\S+)", text) if not (PROJECT_ROOT / source).is_file()]
    assert absent == [], f"{path.name} shows what isn't there"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_to_files(path):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == [], f"{path.name} links to what isn't there"


def test_documents_have_tables_and_links_to_be_tested():
    text = "".join(path.read_text() for path in DOCUMENTS)
    assert text.count("<!-- table: ") >= 10 and text.count("](") >= 50


def test_the_readme_lists_every_notebook_with_its_figures():
    text, outputs = (PROJECT_ROOT / "README.md").read_text(), load_outputs()
    listed = {line.split("]")[0].removeprefix("| ["): line for line in text.splitlines() if line.startswith("| [")}
    assert set(listed) == set(outputs.notebooks) and outputs.figures
    for name, entry in outputs.figures.items():
        published = (PROJECT_ROOT / "figures" / f"{name}.png").is_file()
        shown = f"[{entry.title}](figures/{name}.png)" if published else f" {entry.title}"
        assert shown in listed[entry.notebook]


def test_a_block_is_filled_filtered_and_left_alone_without_its_file(tmp_path):
    frame = pd.DataFrame({"set": ["real", "sum"], "measure": ["iou", "dsc"], "n": [3, 4]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    text = "x\n<!-- table: a.csv columns: set,n where: measure=iou -->\nold\n<!-- end -->\ny"
    filled = fill_tables(text, tmp_path)
    assert "| Real | 3 |" in filled and "old" not in filled and "Sum" not in filled and filled.endswith("y")
    assert fill_tables(filled, tmp_path) == filled
    both = fill_tables(text.replace("measure=iou", "measure=dsc,set=sum"), tmp_path)
    assert "| Sum | 4 |" in both and "Real" not in both
    absent = text.replace("a.csv", "b.csv")
    assert fill_tables(absent, tmp_path) == absent


def test_a_block_with_a_wrong_column_is_named_and_no_document_is_touched(tmp_path):
    pd.DataFrame({"n": [3]}).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "docs").mkdir()
    block = "<!-- table: a.csv columns: {} -->\nold\n<!-- end -->"
    (tmp_path / "README.md").write_text(block.format("n"))
    (tmp_path / "docs" / "x.md").write_text(block.format("m"))
    with pytest.raises(ValueError, match="a.csv: a document shows its column 'm'"):
        fill_documents(tmp_path)
    assert "old" in (tmp_path / "README.md").read_text()
    (tmp_path / "docs" / "x.md").write_text(block.format("n"))
    fill_documents(tmp_path)
    assert "| 3 |" in (tmp_path / "README.md").read_text() and "| 3 |" in (tmp_path / "docs" / "x.md").read_text()


def test_executed_notebooks_name_no_folder_of_the_machine_that_ran_them():
    paths = list(PROJECT_ROOT.glob("notebooks/executed/*.ipynb"))
    assert paths, "the published notebooks are part of the repository"
    for path in paths:
        found = re.search(r"/(home|root|Users|work|tmp|var)/[\w.-]+", path.read_text())
        assert not found, f"{path.name} names {found[0]}"
