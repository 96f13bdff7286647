"""Building a reader study from a finished run: the page, and the key in a folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mammorgb_utils.data.pairs import real_pairs
from mammorgb_utils.experiments.readers.cases import ReaderStudyError, choose_cases
from mammorgb_utils.experiments.readers.files import FORMAT, KEY, PAGE, Key, read_key, write_signed
from mammorgb_utils.experiments.readers.page import Page, grey_bytes, render_page
from mammorgb_utils.runs import Run, atomic_path, sha256

FLOOR = 0.05  # of the grey range, drawn black in every view: real air is exactly 0, generated air hardly ever is
IGNORED = ".gitignore"  # keeps the whole folder out of version control
_EVERYTHING = "*\n"
_OWN = {PAGE, Path(KEY).parts[0], "DO_NOT_SHARE.txt", "results", "scores"}  # that a folder of a reader study may hold
_KEEP = "The key tells real from synthetic: keep it from the readers until they have answered.\n"
_WARNING = "The page is made from patients' images: do not share it beyond those who may see them.\n"


def build_study(run: Run, out: Path, *, pairs: int = 60, repeats: int = 12, seed: int | None = None,
                sets: Sequence[str] = (), floor: float = FLOOR) -> Key:
    """Write `reader_study.html` and `key/key.json`; a study that is there already is left as it is.

    Args:
        run: A study whose pairs are sampled.
        out: Folder.
        pairs, repeats: Different pairs, half of them real, and how many are shown twice.
        seed: Decides choice and order; None: the protocol's. Readers who hold the run should not know it.
        sets: Synthetic sets to show; none named: all.
        floor: Share of the grey range that is drawn black in every view.

    Returns:
        The key.

    Raises:
        ReaderStudyError: A set is missing or too small, or the folder holds another study, a changed page, or files
            of something else.
    """
    if not 0.0 <= floor < 1.0:
        raise ReaderStudyError(f"floor {floor:g}: use a share of the grey range, from 0 to below 1")
    seed = run.protocol.seed if seed is None else seed
    arrays, index = _arrays(run, sets or run.protocol.encodings)
    counts = {name: len(array) for name, array in arrays.items() if name != "real"}
    cases = choose_cases(index, counts, pairs=pairs, repeats=repeats, seed=seed)
    greys = np.stack([grey_bytes(arrays[case.set][case.row], floor) for case in cases.itertuples()])
    patients = set(index["source"]) != {"phantom"}
    page = render_page(cases["case"].to_list(), greys, patients=patients)
    if (out / KEY).exists():
        return _at_hand(out, page.study)
    _require_own_folder(out)
    _write(out, page, cases, {"seed": seed, "floor": floor, "patients": patients})
    return read_key(out / KEY)


def _arrays(run: Run, sets: Sequence[str]) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    arrays = {}
    arrays["real"], index = real_pairs(run)
    for name in sets:
        if not run.samples(name).is_file():
            raise ReaderStudyError(f"runs/{run.root.name} has no synthetic pairs of {name!r}; it has "
                                   f"{', '.join(run.protocol.encodings)}, sampled by `make reproduce`")
        arrays[name] = np.load(run.samples(name), mmap_mode="r")
        if arrays[name].shape[1:] != arrays["real"].shape[1:]:
            raise ReaderStudyError(f"pairs of {name!r} are {arrays[name].shape[1:]}, real ones "
                                   f"{arrays['real'].shape[1:]}: sizes would tell them apart")
    return arrays, index


def _at_hand(out: Path, study: str) -> Key:
    """The study that was built here before: pages that readers have must keep their key."""
    key = read_key(out / KEY)
    if key.study != study:
        raise ReaderStudyError(f"{out.name} holds the reader study {key.study}, not {study}: choose another folder, "
                               "or remove this one if no reader has its page")
    if not (out / PAGE).is_file() or sha256(out / PAGE) != key.page_sha256:
        raise ReaderStudyError(f"{out.name}/{PAGE} is missing or was changed: put the page back that was built, or "
                               "remove the folder if no reader has answered")
    return key


def _require_own_folder(out: Path) -> None:
    """Files of something else stay as they are, and its `.gitignore` too; what a killed call began is continued."""
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    foreign = sorted(name for name in there - _OWN if not name.startswith(".") or name == ".git")
    if IGNORED in there and (out / IGNORED).read_bytes() != _EVERYTHING.encode():
        foreign.append(IGNORED)
    if foreign:
        raise ReaderStudyError(f"--out {out.name or out}: holds {foreign[0]!r}, which isn't of a reader study; name a "
                               "folder that is new or empty, as all in it is kept out of version control")


def _write(out: Path, page: Page, cases: pd.DataFrame, choices: dict[str, object]) -> None:
    notes = {IGNORED: _EVERYTHING, "key/KEEP_FROM_READERS.txt": _KEEP}
    for name, text in {**notes, **({"DO_NOT_SHARE.txt": _WARNING} if choices["patients"] else {})}.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    with atomic_path(out / PAGE) as temporary:
        temporary.write_text(page.html, encoding="utf-8", newline="\n")
    write_signed(out / KEY, {"format": FORMAT["key"], "study": page.study, "page": page.digest,
                             "page_sha256": sha256(out / PAGE), **choices,
                             "cases": cases.drop(columns="row").to_dict("records")})
