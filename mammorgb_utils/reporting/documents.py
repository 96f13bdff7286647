"""What of a study is published: its files, and the tables of Markdown documents, none typed by hand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd

from mammorgb_utils.output.outputs import finished_appendices, load_outputs, missing_files
from mammorgb_utils.output.records import AS_WRITTEN, state
from mammorgb_utils.output.tables import rounded
from mammorgb_utils.reporting.claims import cohort_source
from mammorgb_utils.reporting.ledger import LEDGER, QUESTIONS, is_current
from mammorgb_utils.runs import PROJECT_ROOT, Run, RunError

_PUBLISHED = ("workstation", "laptop")  # profiles
_BLOCK = re.compile(r"(<!-- table: (?P<path>\S+?)(?P<exact> exact)?(?: columns: (?P<columns>[\w,]+))?"
                    r"(?: where: (?P<where>[\w=,]+))? -->\n).*?(<!-- end -->)", re.DOTALL)
_LIST = re.compile(r"(<!-- outputs: (?P<which>study|appendices|beyond) -->\n).*?(<!-- end -->)", re.DOTALL)


def publish_study(name: str) -> None:
    """Copy a finished phantom study's figures, tables and executed notebooks here, and fill the documents from them.

    What an earlier publication left and this study hasn't is removed: all that is published is of one run.
    """
    root = PROJECT_ROOT / "runs" / name
    if not (root / "protocol.json").is_file() or missing_files(root):
        raise RunError(f"runs/{name} isn't finished; run `make reproduce RUN={name}` first")
    run = Run.recorded(name)
    if (source := cohort_source(run)) != "phantom":
        raise RunError(f"runs/{name} was made from {source}: patient data isn't published")
    if run.protocol.profile not in _PUBLISHED:
        raise RunError(f"runs/{name} is a {run.protocol.profile} study; what is published is one of "
                       f"{' or '.join(_PUBLISHED)}")
    files = [*load_outputs().study_files(run.protocol.encodings), *finished_appendices(root)]
    for file in files:
        if not file.startswith("notebooks/") and (found := state(root / file)) != AS_WRITTEN:
            raise RunError(f"runs/{name}/{file}: {found}; remove it and run its notebook again")
    if not is_current(run.tables):
        raise RunError(f"runs/{name}/tables/{LEDGER}.csv, {QUESTIONS}.csv: an appendix judged a claim since it was "
                       f"written, or answered a question; run `make appendices RUN={name}`")
    for file in load_outputs().files(load_outputs().notebooks, run.protocol.encodings):
        target = PROJECT_ROOT / ("notebooks/executed" if file.startswith("notebooks/") else "figures") / Path(file).name
        target.parent.mkdir(parents=True, exist_ok=True)
        if file in files:
            shutil.copy2(root / file, target)
        else:
            target.unlink(missing_ok=True)
    fill_documents(PROJECT_ROOT)


def fill_documents(root: Path) -> None:
    """Fill the tables of `README.md` and `docs/*.md` below `root`; a wrong block leaves all of them as they are."""
    documents = [*root.glob("README.md"), *root.glob("docs/*.md")]
    filled = [fill_tables(document.read_text(encoding="utf-8"), root) for document in documents]
    for document, text in zip(documents, filled, strict=True):
        document.write_text(text, encoding="utf-8")


def fill_tables(text: str, root: Path) -> str:
    """Replace what stands between a table's marker and its end by the table as it is now.

    Args:
        text: Markdown with blocks `<!-- table: figures/claims.csv columns: id,verdict where: measure=iou -->` …
            `<!-- end -->`; columns and where are optional, commas part several. After the path, `exact` shows the
            file's text unrounded. `<!-- outputs: study -->`, or `appendices`, or `beyond`, lists notebooks and what
            each makes.
        root: The folder that the paths are relative to; a block whose file isn't there keeps what it has.

    Raises:
        ValueError: A block asks for a column that its file doesn't have.
    """
    return _LIST.sub(lambda block: _listed(block, root), _BLOCK.sub(lambda block: _filled(block, root), text))


def _listed(block: re.Match[str], root: Path) -> str:
    """Notebooks of a series with their figures, with their tables where they have none; what is published is linked."""
    outputs, rows = load_outputs(), [["notebook", "figures"]]
    kinds = (outputs.figures, "png"), (outputs.tables, "csv")
    for name, notebook in outputs.notebooks.items():
        if notebook.series == block["which"]:
            made = [[f"[{entry.title}]({file})" if (root / (file := f"figures/{key}.{ending}")).is_file()
                     else entry.title for key, entry in entries.items() if entry.notebook == name]
                    for entries, ending in kinds]
            rows.append([f"[{name}](notebooks/{name}.ipynb): {notebook.about}", " · ".join(made[0] or made[1])])
    return _with_rows(block, rows)


def _filled(block: re.Match[str], root: Path) -> str:
    path = root / block["path"]
    if not path.is_file():
        return block[0]
    frame = pd.read_csv(path, dtype=str, keep_default_na=False) if block["exact"] else pd.read_csv(path)
    for condition in block["where"].split(",") if block["where"] else ():
        key, value = condition.split("=")
        frame = frame[frame[key].astype(str) == value]
    asked = block["columns"].split(",") if block["columns"] else list(frame)
    if absent := [name for name in asked if name not in frame]:
        raise ValueError(f"{block['path']}: a document shows its column {absent[0]!r}, which isn't there; mend the "
                         "document's table block")
    table = frame[asked] if block["exact"] else rounded(frame[asked].reset_index(drop=True))
    return _with_rows(block, [list(table.columns), *table.to_numpy().tolist()])


def _with_rows(block: re.Match[str], rows: list[list[object]]) -> str:
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
             for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]]]
    return block[1] + "\n".join(lines) + "\n" + block[block.lastindex]
