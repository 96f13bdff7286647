"""What the archive adapters have in common: one image's record, index files, and values in the manifest's terms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

_SIDES = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}
_YES_NO = {"1": True, "1.0": True, "YES": True, "TRUE": True, "0": False, "0.0": False, "NO": False, "FALSE": False}
_BIRADS = re.compile(r"(?:BI-?RADS[ _]?)?([0-6])(?:\.0)?[ABC]?", re.IGNORECASE)
_DENSITY = re.compile(r"(?:(?:DENSITY|ACR)[ _]?)?([A-D1-4])(?:\.0)?", re.IGNORECASE)
# Of several findings in one breast the last in this order counts. For a study of BI-RADS 2 only `1 < 2 < all others`
# matters: a breast is BI-RADS 2 when no finding is worse.
_RISING = (1, 2, 3, 0, 4, 5, 6)


class AdapterError(ValueError):
    """An archive can't be read; the message names file, column and remedy, never a patient."""


@dataclass(frozen=True)
class ImageRecord:
    """One mammogram as the archive describes it; its keys leave this package only as pseudonyms."""

    patient: str
    exam: str
    laterality: str  # L or R
    view: str  # CC or MLO
    birads: int | None  # 0 to 6 of this breast, None where unknown
    implant: bool | None  # None where unknown
    density: str  # A to D, empty where unknown
    path: Path  # relative to the archive's folder
    index: str = ""  # the file that lists it; empty where the headers are the index
    row: int = 0  # its row there as in a spreadsheet, the header being row 1
    split: str | None = None  # train or heldout where the archive has a split of its own


@dataclass
class Listing:
    """The images that an archive offers, counts of what isn't taken, and sentences for the user."""

    records: list[ImageRecord] = field(default_factory=list)
    skipped: Counter = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, *, patient: str, laterality: str, view: str, birads: str = "", implant: str = "",
            density: str = "", grade: int | None = None, **facts) -> bool:
        """Take one image with values as the archive writes them, or count why it isn't taken; whether it was.

        `grade` is BI-RADS where it is already a number; `facts` are the other fields of `ImageRecord`.
        """
        side, view = _SIDES.get(laterality.strip().upper()), view.strip().upper()
        if view not in ("CC", "MLO"):
            self.skipped["view neither CC nor MLO" if view else "no view stated"] += 1
        elif side is None:
            self.skipped["side neither L nor R"] += 1
        elif not patient:
            self.skipped["no patient stated"] += 1
        else:
            if birads and grade is None:
                grade = self.grade(birads)
            self.records.append(ImageRecord(
                patient=patient, laterality=side, view=view, birads=grade, implant=_YES_NO.get(implant.upper()),
                density=self.density(density), **facts))
            return True
        return False

    def grade(self, text: str) -> int | None:
        """BI-RADS as 0 to 6 from forms such as `2`, `2.0`, `4b` or `BI-RADS 2`; what isn't understood is counted."""
        match = _BIRADS.fullmatch(text.strip())
        if text.strip() and not match:
            self.skipped["BI-RADS not understood (image kept, BI-RADS unknown)"] += 1
        return int(match[1]) if match else None

    def density(self, text: str) -> str:
        """BI-RADS density as A to D from forms such as `C`, `DENSITY C`, `3` or `3.0`."""
        match = _DENSITY.fullmatch(text.strip())
        if text.strip() and not match:
            self.skipped["density not understood (image kept, density unknown)"] += 1
        return "ABCD"["A1B2C3D4".index(match[1].upper()) // 2] if match else ""


def worst_grade(grades: Iterable[int | None]) -> int | None:
    """BI-RADS of a breast from those of its findings: the most worrying one, None where none is known."""
    known = [grade for grade in grades if grade is not None]
    return max(known, key=_RISING.index) if known else None


def find_index(root: Path, *names: str) -> Path:
    """The first of `names` that lies in `root` or at most two folders below it, once."""
    for name in names:
        found = [path for depth in ("", "*/", "*/*/") for path in sorted(root.glob(depth + name))]
        if len(found) > 1:
            raise AdapterError(f"{name}: found {len(found)} times below ROOT; name the folder of one of them as ROOT")
        if found:
            return found[0]
    raise AdapterError(f"{' or '.join(names)}: not found; ROOT must be the archive's folder, with this file in it or "
                       "at most two folders below")


def find_folder(root: Path, name: str) -> Path | None:
    """`root` itself, or the folder of that name nearest below it, in it or at most two folders below; one alone."""
    for depth in ("", "*/", "*/*/"):
        found = [root] if root.name == name else [path for path in sorted(root.glob(depth + name)) if path.is_dir()]
        if len(found) > 1:
            raise AdapterError(f"{name}: found {len(found)} times below ROOT, as parts of a download; bring them into "
                               "one, as by `cp -rl`, or name one of them as ROOT")
        if found:
            return found[0]
    return None


def index_rows(path: Path, required: Iterable[str],
               optional: Iterable[str] = ()) -> Iterator[tuple[dict[str, object], dict[str, str]]]:
    """Rows of an index file: where each stands, as `ImageRecord` has it, and the named columns as stripped text.

    Commas or semicolons part the columns: a spreadsheet saves either. An absent optional column is empty; a file that
    is no table, or has no such required column, is an `AdapterError`.
    """
    wanted = {name.lower(): name for name in (*required, *optional)}
    try:
        with path.open(encoding="utf-8-sig") as lines:
            header = lines.readline()
        sep = ";" if header.count(";") > header.count(",") else ","
        frame = pd.read_csv(path, sep=sep, dtype=str, keep_default_na=False, encoding="utf-8-sig",
                            usecols=lambda name: name.strip().lower() in wanted)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise AdapterError(f"{path.name}: not a UTF-8 table with a header; take it from the archive anew") from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise AdapterError(f"{path.name}: a row has more fields than the header; take it from the archive anew")
    frame = frame.rename(columns=lambda name: wanted[name.strip().lower()])
    for name in required:
        if name not in frame:
            raise AdapterError(f"{path.name}, row 1: column {name!r} is missing; take the file from the archive "
                               "unchanged")
    frame = frame.reindex(columns=list(wanted.values()), fill_value="").apply(lambda column: column.str.strip())
    for number, row in enumerate(frame.to_dict("records"), start=2):
        yield {"index": path.name, "row": number}, row
