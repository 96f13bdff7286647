"""The cohort described for machines: Croissant metadata beside its manifest."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from mammorgb_utils.runs import PROJECT_ROOT, sha256, write_json

NAME = "croissant.json"
_WORDS = Path(__file__).parents[1] / "croissant_phantom.json"


def write_croissant(folder: Path, manifest: Path) -> Path:
    """Describe the cohort in `folder` beside its manifest; a description that says the same is left alone.

    Source:
        Croissant 1.0 and its RAI vocabulary, https://docs.mlcommons.org/croissant.
    """
    path, content = manifest.with_name(NAME), croissant(folder, manifest)
    if not (path.is_file() and json.loads(path.read_text(encoding="utf-8")) == content):
        write_json(path, content)
    return path


def croissant(folder: Path, manifest: Path) -> dict[str, Any]:
    """Context, what the cohort is, its files with their digests, and two tables: images, and truth of each breast.

    Pixels are files without a table: some of a cohort's are broken on purpose, and a loader would stop at them.
    """
    words = _words()
    below = os.path.relpath(folder, manifest.parent)
    truth = Path(folder) / "truth.csv"
    files = [_file("manifest", manifest.name, manifest, "one row an image"),
             _file("truth-table", os.path.normpath(os.path.join(below, truth.name)), truth, "one row a patient"),
             _set("dicom", os.path.normpath(f"{below}/*/*.dcm"), "application/dicom", "one image each"),
             _set("masks", os.path.normpath(f"{below}/truth_masks/*.npz"), "application/zip", "true masks, NumPy")]
    tables = [_table("images", "manifest", manifest, "path"), _table("truth", "truth-table", truth, "patient")]
    return {"@context": words["@context"], **words["about"], **_citation(), "distribution": files, "recordSet": tables}


@cache
def _words() -> dict[str, Any]:
    return json.loads(_WORDS.read_text(encoding="utf-8"))


def _citation() -> dict[str, str]:
    """Version, date and BibTeX entry, from the file that the repository is cited by."""
    known = yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    date = known["date-released"].isoformat()
    entry = (f"@misc{{mammorgb-phantoms, title={{{known['title']}}}, author={{{{{known['authors'][0]['name']}}}}}, "
             f"version={{{known['version']}}}, year={{{date[:4]}}}}}")
    return {"version": known["version"], "datePublished": date, "citeAs": entry}


def _file(name: str, place: str, path: Path, about: str) -> dict[str, Any]:
    return {"@type": "cr:FileObject", "@id": name, "name": name, "description": about, "contentUrl": place,
            "encodingFormat": "text/csv", "sha256": sha256(path)}


def _set(name: str, pattern: str, kind: str, about: str) -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": name, "name": name, "description": about, "encodingFormat": kind,
            "includes": pattern}


def _table(name: str, file: str, path: Path, key: str) -> dict[str, Any]:
    """A table's columns as they stand in the file, in its order."""
    meaning = _words()["fields"][name]
    columns = pd.read_csv(path, nrows=0).columns
    fields = [{"@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "description": meaning[column][1],
               "dataType": meaning[column][0],
               "source": {"fileObject": {"@id": file}, "extract": {"column": column}}} for column in columns]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "key": {"@id": f"{name}/{key}"}, "field": fields}
