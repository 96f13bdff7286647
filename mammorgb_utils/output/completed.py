"""Missing views as image files: drawn by a study's model beside the view that is there, and marked as nobody's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammorgb_utils.data.lone_views import LoneViews, lone_views
from mammorgb_utils.data.pair_folder import pairs_digest, write_png
from mammorgb_utils.data.synthetic import png_text, synthetic_name
from mammorgb_utils.diffusion.engine.model_folder import RECORD
from mammorgb_utils.diffusion.engine.sample_store import completed_views
from mammorgb_utils.output.records import read_json
from mammorgb_utils.protocol import VIEWS
from mammorgb_utils.runs import Run, RunError, atomic_path, differences, exclusive, write_csv, write_json

_NOTE = ("Drawn by a model beside patients' images: patient data, do not share. No file shows a patient's breast; none "
         "belongs into a manifest or a diagnosis.\n")


def complete_run(run: Run, source: Path, *, encoding: str = "all", draws: int = 1, out: Path | None = None,
                 resize: bool = False, progress: bool = True) -> list[str]:
    """Draw the missing views of `lone_views(source)` into a folder; a killed call continues.

    The folder gets `<breast>_<view>_synthetic-00.png` … (16 bits, with a text that says what they are) and, last,
    `completed.csv`, one row a file.

    Args:
        run: The study whose preprocessing, models and seed are used.
        source, resize: As `lone_views` takes them.
        encoding: Whose model draws; `all` stands for the study's first.
        draws: Views a breast.
        out: By default `runs/<name>/completed/<source>`.

    Returns:
        Sentences for the terminal.

    Raises:
        RunError: The study has no such model, or the folder holds views that were drawn otherwise.
    """
    name = run.encodings(encoding)[0]
    model = read_json(run.model(name) / RECORD)
    if not model:
        raise RunError(f"runs/{run.root.name} has no finished model {name!r}; run `make reproduce RUN={run.root.name}` "
                       "first, at least its notebook 02")
    if draws < 1:
        raise RunError(f"--draws {draws}: at least one view a breast")
    found = lone_views(source, run.protocol, resize=resize, progress=progress)
    folder = out or run.root / "completed" / source.absolute().stem
    facts = {"encoding": name, "model": model["digest"], "seed": run.protocol.seed, "draws": draws}
    with exclusive(folder, wait=0):
        _claim(folder, facts | {"given": pairs_digest(found.pictures), "breasts": found.names})
        _without_sharing(folder, found)
        if not (folder / "completed.csv").is_file():
            rows = _draw(run, name, found, draws, folder, facts, progress)
            write_csv(folder / "completed.csv", pd.DataFrame(rows, columns=["file", "pair", "given", "drawn", "draw"]))
        shutil.rmtree(folder / ".drawn", ignore_errors=True)
    return [*(f"not completed: {count} × {reason}" for reason, count in sorted(found.left_out.items())),
            *(f"{view} given: {found.views.count(view)} breasts" for view in VIEWS if view in found.views),
            f"{folder}: {draws * len(found.names)} synthetic views, by the model {name}"]


def _claim(folder: Path, asked: dict[str, Any]) -> None:
    file = folder / "completed.json"
    recorded = read_json(file)
    if changes := differences(recorded, asked) if recorded else []:
        what = ", ".join(change.partition(":")[0] for change in changes)
        raise RunError(f"{folder.name} holds views that were drawn otherwise ({what} differ); choose another --out, or "
                       "remove the folder")
    write_json(file, asked)


def _without_sharing(folder: Path, found: LoneViews) -> None:
    """Keep the folder out of version control, and say whose views these are, before the first one."""
    for name, text in ((".gitignore", "*\n"), *([] if found.is_phantom else [("DO_NOT_SHARE.txt", _NOTE)])):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _draw(run: Run, encoding: str, found: LoneViews, draws: int, folder: Path, facts: dict[str, Any],
          progress: bool) -> Iterator[dict[str, Any]]:
    """Write the views beside all CC, then those beside all MLO; a row a file."""
    for given, drawn in (VIEWS, VIEWS[::-1]):
        places = [place for place, view in enumerate(found.views) if view == given]
        if not places:
            continue
        views = completed_views(run.model(encoding), run.protocol, found.pictures[places], given, draws,
                                folder / ".drawn" / given / "views.npy", progress=progress)
        for (row, draw), place in zip(np.ndindex(views.shape[:2]), np.repeat(places, draws), strict=True):
            name = found.names[place]
            file = synthetic_name(name, drawn, draw)
            write_png(folder / file, views[row, draw], png_text({"Given": given, "Drawn": drawn, "Draw": draw} | facts))
            yield {"file": file, "pair": name, "given": given, "drawn": drawn, "draw": draw}
