"""Saving and showing a study's figures and tables: what they are called and show stands in `outputs.yaml`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mammorgb_utils.output.outputs import OutputsError, load_outputs
from mammorgb_utils.output.records import record
from mammorgb_utils.output.style import in_style
from mammorgb_utils.output.tables import flat, show_table, to_latex
from mammorgb_utils.runs import Run, atomic_path, write_csv

# Dates, tool versions and user names would differ between machines, and some of them name a person.
_METADATA = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "png": {"Software": None}}


def present(study: Run, name: str, *parts: pd.DataFrame | Figure, shown: pd.DataFrame | None = None,
            remark: str = "") -> None:
    """Save a table, a figure or both under one name in the study's folder, and show them in the notebook.

    Args:
        name: As in `outputs.yaml`, which also says the caption and the columns that are shown.
        parts: Tables and figures, shown in this order.
        shown: What is displayed in the table's place: some of its rows, in the same columns as the table would be,
            or a frame with other columns, as it is.
        remark: A sentence that the table's caption gets in addition, such as that answers are simulated.

    Raises:
        OutputsError: `name` isn't listed there, or the table lacks a column that is listed.
    """
    from IPython.display import display  # a notebook has it already

    for part in parts:
        if isinstance(part, Figure):
            save_figure(part, study.figures, name)
            display(part)
            continue
        columns = load_outputs().table(name).columns
        if absent := [column for column in columns if column not in flat(part)]:
            raise OutputsError(f"outputs.yaml, table {name!r}: it has no column {absent[0]!r}; mend the list")
        save_table(part, study.tables, name, remark=remark)
        found = flat(part if shown is None else shown)
        display(show_table(found[list(columns)] if columns and list(found) == list(flat(part)) else found))


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `folder/name.pdf` (fonts embedded as TrueType) and `folder/name.png` (300 dpi), as `outputs.yaml` lists it.

    The bytes depend on the figure alone: the files hold no date, path or user.
    """
    load_outputs().figure(name)
    with in_style():
        for kind, metadata in _METADATA.items():
            with atomic_path(Path(folder) / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)
            record(Path(folder) / f"{name}.{kind}")


def save_table(frame: pd.DataFrame, folder: Path, name: str, *, remark: str = "") -> None:
    """Write `folder/name.csv` (every digit and column) and `folder/name.tex` (rounded; needs booktabs alone).

    `outputs.yaml` says the caption, which `remark` follows, and the columns that LaTeX prints.
    """
    entry, frame = load_outputs().table(name), flat(frame)
    shown = [column for column in entry.columns if column in frame] or list(frame)
    latex = to_latex(frame[shown], name=name, caption=f"{entry.caption} {remark}".strip())
    write_csv(Path(folder) / f"{name}.csv", frame)
    record(Path(folder) / f"{name}.csv")
    with atomic_path(Path(folder) / f"{name}.tex") as temporary:
        temporary.write_text(latex, encoding="ascii")
    record(Path(folder) / f"{name}.tex")
