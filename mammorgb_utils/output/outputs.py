"""`outputs.yaml`, the one list of the study's notebooks, figures and tables."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, model_validator

from mammorgb_utils.protocol import THIRD_CHANNELS
from mammorgb_utils.runs import PROJECT_ROOT
from mammorgb_utils.yaml_files import Record, read_record

FILE = PROJECT_ROOT / "outputs.yaml"
_ENDINGS = {"figures": ("pdf", "png"), "tables": ("csv", "tex")}


class OutputsError(ValueError):
    """The list can't be used, or doesn't have what is asked for; the message names file, entry and remedy."""


class Notebook(Record):
    """A notebook and its place among the others; the head of `outputs.yaml` says what each field does."""

    about: str
    needs: tuple[str, ...] = ()
    each: Literal["encoding"] | None = None
    appendix: bool = False
    beyond: bool = False
    gpu: bool = False
    kept: bool = False
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    sizes: dict[str, dict[str, float | tuple[int | str, ...]]] = {}

    @property
    def series(self) -> str:
        """The list in which it stands: the study's own notebooks, the appendices, or those beyond the paper."""
        return "beyond" if self.beyond else "appendices" if self.appendix else "study"

    def parameters(self, profile: str) -> str:
        """What `run-notebook` is given besides run, profile and manifest, where a profile has sizes of its own."""
        return " ".join(f"-p {name} {f'{value:g}' if isinstance(value, float) else repr(str(list(value)))}"
                        for name, value in self.sizes.get(profile, {}).items())

    def threads(self, encodings: int, cores: int) -> int:
        """Cores of a stage. Encodings share them: trainings of one thread each do no fewer steps than one of all
        threads, and wait less for one another beside other work."""
        return max(1, cores // encodings) if self.each else cores

    def stages(self, name: str, encodings: Iterable[str]) -> list[str]:
        """The names of its executed copies: one, or one an encoding."""
        return [f"{name}_{encoding}" for encoding in encodings] if self.each else [name]


class Figure(Record):
    """Who makes a figure, and its caption."""

    notebook: str
    title: str = Field(pattern=r"[^.]$")
    sentence: str = Field(pattern=r"\.$")

    @property
    def caption(self) -> str:
        return f"{self.title}{'' if self.title.endswith('?') else '.'} {self.sentence}"


class Table(Figure):
    """Who makes a table, its caption, and the columns that a page shows of it; none named: all."""

    columns: tuple[str, ...] = ()


Entry = TypeVar("Entry", Figure, Table)


class Outputs(Record):
    """All of `outputs.yaml`, in its order."""

    notebooks: dict[str, Notebook]
    figures: dict[str, Figure]
    tables: dict[str, Table]
    score: dict[str, str]

    @model_validator(mode="after")
    def _refers_to_notebooks_that_are_listed(self) -> Outputs:
        stages = {*self.notebooks} | {f"{name}_{encoding}" for name, notebook in self.notebooks.items()
                                      if notebook.each for encoding in THIRD_CHANNELS}
        asked = [(f"notebooks.{name}.needs", need) for name, notebook in self.notebooks.items()
                 for need in notebook.needs]
        asked += [(f"{kind}.{name}.notebook", entry.notebook) for kind in _ENDINGS
                  for name, entry in getattr(self, kind).items()]
        for place, name in asked:
            if name not in stages:
                raise ValueError(f"{place}: {name!r} isn't among the notebooks{_nearest(name, stages)}")
        return self

    @property
    def appendices(self) -> tuple[str, ...]:
        """Notebooks that `make reproduce` doesn't execute, and that no finished study is asked for."""
        return tuple(name for name, notebook in self.notebooks.items() if notebook.appendix)

    def figure(self, name: str) -> Figure:
        """A figure's entry; an `OutputsError` names the nearest one where it isn't listed."""
        return _entry(self.figures, "figure", name)

    def table(self, name: str) -> Table:
        """A table's entry; raises as `figure`."""
        return _entry(self.tables, "table", name)

    def executed(self, name: str, encodings: Iterable[str]) -> list[str]:
        """The executed copies of a notebook, or that of one stage such as `"02_train_sum"`, below the run folder."""
        stages = self.notebooks[name].stages(name, encodings) if name in self.notebooks else [name]
        return [f"notebooks/{stage}.ipynb" for stage in stages]

    def files(self, notebooks: Iterable[str], encodings: Iterable[str] = ()) -> dict[str, str]:
        """What notebooks show: files relative to the run folder, each with the executed notebook that writes it."""
        stages = {stage for name in notebooks for stage in self.notebooks[name].stages(name, encodings)}
        files = {f"notebooks/{stage}.ipynb": stage for stage in sorted(stages)}
        for kind, endings in _ENDINGS.items():
            for name, entry in getattr(self, kind).items():
                each = self.notebooks[entry.notebook].each
                stage = f"{entry.notebook}_{name.rpartition('_')[2]}" if each else entry.notebook
                if stage in stages:
                    files |= {f"{kind}/{name}.{ending}": stage for ending in endings}
        return files

    def study_files(self, encodings: Iterable[str]) -> dict[str, str]:
        """What a finished study shows, appendices apart; as `files`."""
        return self.files([name for name, notebook in self.notebooks.items() if not notebook.appendix], encodings)

    def study_notebooks(self, encodings: Iterable[str]) -> list[str]:
        """The executed notebooks of a finished study, in the order of the list, appendices apart."""
        return [file for name, notebook in self.notebooks.items() if not notebook.appendix
                for file in self.executed(name, encodings)]

    def data_files(self, encodings: Iterable[str]) -> dict[str, str]:
        """What notebooks write for later ones, each file with the executed notebook that writes it."""
        return {file.format(encoding=encoding): stage for name, notebook in self.notebooks.items()
                for encoding, stage in zip(encodings, notebook.stages(name, encodings), strict=False)
                for file in notebook.writes}


@cache
def load_outputs(path: Path = FILE) -> Outputs:
    """Read and check the list; an `OutputsError` names every wrong entry."""
    return read_record(path, Outputs, OutputsError)


def finished_appendices(root: Path) -> list[str]:
    """The files of those appendices that a run folder holds in whole."""
    outputs = load_outputs()
    found = [outputs.files([name]) for name in outputs.appendices]
    return [file for files in found if all((root / file).is_file() for file in files) for file in files]


def missing_files(root: Path) -> dict[str, str]:
    """What a finished study has and a run folder lacks, each with the executed notebook that writes it."""
    outputs = load_outputs()
    encodings = json.loads((root / "protocol.json").read_text(encoding="utf-8"))["protocol"]["encodings"]
    files = outputs.study_files(encodings) | outputs.data_files(encodings)
    return {file: stage for file, stage in files.items() if not (root / file).is_file()}


def forget_lost_stages(root: Path) -> None:
    """A stage of which a file was removed by hand is redone: Snakemake watches its executed notebook alone."""
    for stage in set(missing_files(root).values()):
        (root / "notebooks" / f"{stage}.ipynb").unlink(missing_ok=True)


def _entry(entries: dict[str, Entry], kind: str, name: str) -> Entry:
    if name not in entries:
        raise OutputsError(f"outputs.yaml has no {kind} {name!r}{_nearest(name, entries)}")
    return entries[name]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else "; list it there"
