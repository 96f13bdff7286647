"""The manifest: one row an image, validated on load."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mammorgb_utils.data.batch.checksums import checksums, is_digest
from mammorgb_utils.data.synthetic import is_synthetic_name
from mammorgb_utils.protocol import VIEWS
from mammorgb_utils.runs import write_csv

COLUMNS = ("pair", "patient", "exam", "laterality", "view", "birads", "implant", "source", "split", "path", "sha256")
OPTIONAL = ("density",)  # a manifest may have it or not
_ALLOWED = {
    "laterality": (r"[LR]", "L or R"),
    "view": (r"CC|MLO", "CC or MLO"),
    "birads": (r"[0-6]?", "0 to 6, or empty where unknown"),
    "implant": (r"true|false|", "true, false, or empty where unknown"),
    "split": (r"train|heldout", "train or heldout"),
    "density": (r"[A-D]?", "A, B, C or D, or empty where unknown"),
    "sha256": (r"[0-9a-f]{64}", "the file's SHA-256 as 64 lower-case hex digits"),
    "pair": (r".+", "a pseudonym"), "patient": (r".+", "a pseudonym"), "exam": (r".+", "a pseudonym"),
    "source": (r".+", "the archive's name"),
    "path": (r"(?!/)(?!.*\.\./).+", "a path relative to the manifest's folder, without '..'"),
}
_SHOWN = 5  # errors named one by one before the rest is counted


class ManifestError(ValueError):
    """A manifest can't be used; every line of the message names row, column and remedy."""


def load_manifest(path: str | Path, *, both_views: bool = True) -> pd.DataFrame:
    """Read and check a manifest.

    Args:
        path: CSV with the columns of `COLUMNS`, and of `OPTIONAL` where they are known, one row an image.
        both_views: Whether CC and MLO views must be among them, as in a study.

    Returns:
        One row an image in file order: text columns, `birads` as nullable Int64, `implant` as nullable boolean.

    Raises:
        ManifestError: A column is missing or unknown, a value isn't allowed, a pair mixes breasts, a patient is
            in both splits, a file is a drawn view, or a view is missing altogether. Rows count as in a spreadsheet:
            the header is row 1.
    """
    path = Path(path)
    if not path.is_file():
        raise ManifestError(f"{path.name}: no such manifest; name yours with MANIFEST=…, or run `mammorgb phantom`")
    try:
        # A path's bytes are the disk's own, in whatever code its names are.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig",
                            encoding_errors="surrogateescape")
        frame.drop(columns="path", errors="ignore").to_csv().encode()
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError) as error:
        raise ManifestError(f"{path.name}: not a UTF-8 CSV table with a header ({error})") from error
    _check_columns(frame, path.name)
    if problems := _bad_values(frame) or _bad_groups(frame, VIEWS if both_views else ()):
        raise ManifestError(f"{path.name}:\n  " + _listed(problems))
    birads = pd.to_numeric(frame["birads"].replace("", pd.NA)).astype("Int64")
    implant = frame["implant"].map({"true": True, "false": False}).astype("boolean")
    frame = frame.assign(birads=birads, implant=implant)[_columns(frame)]
    frame.attrs["name"] = path.name  # for the messages of later checks
    return frame


def write_manifest(frame: pd.DataFrame, path: str | Path, *, both_views: bool = True) -> None:
    """Write a manifest atomically and read it back, so that what stands on disk is valid.

    Args:
        frame, path, both_views: As `load_manifest` gives and takes them.

    Raises:
        ManifestError: As `load_manifest`.
    """
    implant = frame["implant"].map({True: "true", False: "false"}).fillna("")
    birads = frame["birads"].astype("Int64").astype("string").fillna("")
    write_csv(Path(path), frame.assign(implant=implant, birads=birads)[_columns(frame)])
    load_manifest(path, both_views=both_views)


def require_files(frame: pd.DataFrame, root: Path) -> None:
    """Check that every file of a manifest's rows is there, below the folder that `path` is relative to."""
    absent = [f"row {row + 2}, column path: no such file; copy it there, or remove the row"
              for row, path in frame["path"].items() if not os.path.isfile(root / path)]
    _refuse(frame, absent, "are absent")


def verify_checksums(frame: pd.DataFrame, root: Path, *, progress: bool = True) -> None:
    """Check that every file of a manifest's rows is there and unchanged, before anything is computed from it."""
    require_files(frame, root)
    found = checksums(root, list(frame["path"]), progress=progress)
    rows = list(zip(frame.index, frame["sha256"], found, strict=True))
    closed = [f"row {row + 2}, column path: the file can't be read ({actual}); see to its permissions and the disk"
              for row, _, actual in rows if not is_digest(actual)]
    _refuse(frame, closed, "can't be read")
    changed = [f"row {row + 2}, column sha256: the file's content differs; restore it, or write the manifest anew"
               for row, stated, actual in rows if stated != actual]
    _refuse(frame, changed, "have changed")


def _refuse(frame: pd.DataFrame, problems: list[str], what: str) -> None:
    if problems:
        name = frame.attrs.get("name", "the manifest")
        raise ManifestError(f"{name}: {len(problems)} files {what}:\n  " + _listed(problems))


def _listed(problems: list[str]) -> str:
    more = f"\n  … and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "\n  ".join(problems[:_SHOWN]) + more


def _columns(frame: pd.DataFrame) -> list[str]:
    return [*COLUMNS, *(column for column in OPTIONAL if column in frame)]


def _check_columns(frame: pd.DataFrame, name: str) -> None:
    parts = [] if isinstance(frame.index, pd.RangeIndex) else ["rows below have more fields, be it a last comma"]
    parts += [f"column {column!r} is missing" for column in COLUMNS if column not in frame]
    parts += [f"column {column!r} is unknown" for column in frame if column not in (*COLUMNS, *OPTIONAL)]
    if parts:
        raise ManifestError(f"{name}, row 1: {'; '.join(parts)}. The columns are {', '.join(COLUMNS)}, and, "
                            f"where it is known, {', '.join(OPTIONAL)}")
    if frame.empty:
        raise ManifestError(f"{name}: holds no rows; add one row an image")


def _bad_values(frame: pd.DataFrame) -> list[str]:
    problems = []
    for column in _columns(frame):
        pattern, remedy = _ALLOWED[column]
        for row, value in frame.loc[~frame[column].str.fullmatch(pattern, flags=re.DOTALL), column].items():
            shown = "this value" if column == "path" else repr(value[:40])  # a path may hold a name
            problems.append((row, f"row {row + 2}, column {column}: {shown} isn't allowed; give {remedy}"))
    return [text for _, text in sorted(problems)]


def _bad_groups(frame: pd.DataFrame, views: Sequence[str]) -> list[str]:
    problems = []
    for column in ("patient", "exam", "laterality"):
        mixed = frame[frame.groupby("pair")[column].transform("nunique") > 1].drop_duplicates("pair")
        problems += [f"row {row + 2}, column {column}: pair {pair!r} has more than one {column}; a pair is one breast "
                     "of one exam" for row, pair in mixed["pair"].items()]
    both = frame[frame.groupby("patient")["split"].transform("nunique") > 1].drop_duplicates("patient")
    problems += [f"row {row + 2}, column split: patient {patient!r} is in train and heldout; keep each patient in one"
                 for row, patient in both["patient"].items()]
    owners = frame.drop_duplicates("pair")
    again = owners[owners.duplicated(["patient", "exam", "laterality"])]
    problems += [f"row {row + 2}, column pair: {pair!r} is a breast that an earlier row names otherwise; a breast of "
                 "one exam is one pair" for row, pair in again["pair"].items()]
    problems += [f"row {row + 2}, column path: a view that a model drew, by its name; remove the row, it is nobody's"
                 for row in frame.index[frame["path"].map(is_synthetic_name)]]
    problems += [f"row {row + 2}, column path: an earlier row has the same file; each row is one image"
                 for row in frame.index[frame.duplicated("path")]]
    return problems + [f"column view: no row is {view}; the study needs both views of a breast"
                       for view in views if view not in set(frame["view"])]
