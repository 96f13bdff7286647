"""Building a reader study from a finished run: which pairs, in which order, the page, and the key apart from it."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from mammorgb_utils.data.pairs import real_pairs
from mammorgb_utils.experiments.readers import files as asked
from mammorgb_utils.experiments.readers.files import FORMAT, KEY, PAGE, Key, ReaderStudyError, read_key, write_signed
from mammorgb_utils.output.pages import render
from mammorgb_utils.runs import Run, atomic_path, sha256
from mammorgb_utils.streams import Stream, generator

EARLY = 3  # repeats are drawn from the first third of the order and shown in its second half
_HERE = "mammorgb_utils.experiments.readers"
_SCRIPTS = ("reader_digest.js", "reader_view.js", "reader_form.js", "reader.js")
FLOOR = 0.05  # of the grey range, drawn black in every view: real air is exactly 0, generated air hardly ever is
IGNORED = ".gitignore"  # keeps the whole folder out of version control
_EVERYTHING = "*\n"
_OWN = {PAGE, Path(KEY).parts[0], "DO_NOT_SHARE.txt", "results", "scores"}  # that a folder of a reader study may hold


def build_study(run: Run, out: Path, *, pairs: int = 60, repeats: int = 12, seed: int | None = None,
                sets: Sequence[str] = (), floor: float = FLOOR) -> Key:
    """Write `reader_study.html` and `key/key.json`; a study that is there already is left as it is.

    Args:
        out: Folder; one with another study, a changed page, or files of something else is refused.
        pairs, repeats: Different pairs, half of them real, and how many are shown twice.
        seed: Decides choice and order; None: the protocol's. Readers who hold the run should not know it.
        sets: Synthetic sets to show; none named: all.
        floor: Share of the grey range that is drawn black in every view.
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
    if not (out / KEY).exists():
        _require_own_folder(out)
        _write(out, page, cases, {"seed": seed, "floor": floor, "patients": patients})
    return _at_hand(out, page.study)


def _arrays(run: Run, sets: Sequence[str]) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    real, index = real_pairs(run)
    arrays = {"real": real}
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
    texts = {IGNORED: _EVERYTHING, PAGE: page.html, "key/KEEP_FROM_READERS.txt":
             "The key tells real from synthetic: keep it from the readers until they have answered.\n"}
    if choices["patients"]:
        texts["DO_NOT_SHARE.txt"] = "The page is made from patients' images: do not share it beyond those who may " \
                                    "see them.\n"
    for name, text in texts.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    write_signed(out / KEY, {"format": FORMAT["key"], "study": page.study, "page": page.digest,
                             "page_sha256": sha256(out / PAGE), **choices,
                             "cases": cases.drop(columns="row").to_dict("records")})


def choose_cases(real: pd.DataFrame, synthetic: Mapping[str, int], *, pairs: int, repeats: int,
                 seed: int) -> pd.DataFrame:
    """Draw half of the pairs from the real ones and half from the synthetic sets, mix them, and repeat some.

    A patient is shown with one breast, each synthetic set (pairs at hand by its name) gives an equal part, and between
    a pair and its repeat lie a sixth of the pairs at least.

    Returns:
        One row a case, in the order of the page: `case`, `set`, `row` (of the set's array), `pair`, `repeat_of` (the
        earlier case, or empty).
    """
    if pairs < 2 or not 0 <= repeats <= pairs // EARLY:
        raise ReaderStudyError(f"{pairs} pairs, {repeats} repeats: show at least 2 pairs, and repeat at most a third")
    rng = generator(seed, Stream.READER_CASES)
    share = dict.fromkeys(synthetic, pairs // 2 // max(1, len(synthetic)))
    for name in list(share)[:pairs // 2 - sum(share.values())]:
        share[name] += 1
    chosen = [_real_rows(real, pairs - sum(share.values()), rng)]
    for name, count in share.items():
        if count > synthetic[name]:
            raise ReaderStudyError(f"{count} pairs of {name} are needed, the study has {synthetic[name]}; ask for "
                                   "fewer")
        rows = np.sort(rng.choice(synthetic[name], count, replace=False))
        chosen.append(pd.DataFrame({"set": name, "row": rows, "pair": rows.astype(str)}))
    return _in_order(pd.concat(chosen, ignore_index=True), repeats, rng)


def _real_rows(real: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    drawn = real.reset_index(drop=True).iloc[rng.permutation(len(real))].drop_duplicates("patient")
    if len(drawn) < count:
        raise ReaderStudyError(f"real pairs of {count} patients are needed, the study has {len(drawn)}; ask for fewer")
    drawn = drawn.head(count)
    return pd.DataFrame({"set": "real", "row": drawn.index.to_numpy(), "pair": drawn["pair"].to_numpy()})


def _in_order(chosen: pd.DataFrame, repeats: int, rng: np.random.Generator) -> pd.DataFrame:
    """Shuffle; what is repeated comes early the first time, and anywhere in the second half again."""
    first = rng.permutation(len(chosen))
    again = rng.choice(first[:len(first) // EARLY], repeats, replace=False)
    half = len(first) // 2
    order = np.concatenate([first[:half], rng.permutation(np.concatenate([first[half:], again]))])
    table = chosen.iloc[order].reset_index(drop=True)
    table.insert(0, "case", [f"c{number:03d}" for number in range(1, len(table) + 1)])
    earlier = table.groupby(["set", "row"], sort=False)["case"].transform("first")
    return table.assign(repeat_of=earlier.where(earlier != table["case"], ""))


class Page(NamedTuple):
    """A rendered page, and what a result made on it must bear."""

    html: str
    study: str  # of the images
    digest: str  # of images, questions, script and style


def grey_bytes(pairs: np.ndarray, floor: float) -> np.ndarray:
    """Views in [0, 1] as every case shows them, uint8: grey below `floor` black, the rest stretched."""
    stretched = (np.asarray(pairs, dtype=np.float64) - floor) / (1.0 - floor)
    return (np.clip(stretched, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def render_page(cases: list[str], greys: np.ndarray, *, patients: bool) -> Page:
    """The page of a study: one file, without answers, network or anything that tells images apart.

    Every image of `(N, 2, H, W)` greys, in the order of `cases`, is its raw greys in base64, so that no length,
    compression or metadata differs between cases. A page made from patients' images says that it must not be shared.
    """
    images = "\n".join(base64.b64encode(pair.tobytes()).decode() for pair in greys)
    of_images = hashlib.sha256(images.encode()).hexdigest()
    config = {"study": of_images[:16], "cases": cases, "height": greys.shape[2], "width": greys.shape[3],
              **asked.QUESTIONS}
    folder = files(_HERE) / "templates"
    parts = {"images": images, "style": (folder / "reader.css").read_text(encoding="utf-8"),
             "script": "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS),
             "config": json.dumps(config, separators=(",", ":")).replace("<", "\\u003c")}  # inside a script element
    digest = hashlib.sha256("\n".join([parts["style"], parts["script"], parts["config"], of_images]).encode())
    html = render("reader.html", **{name: Markup(text) for name, text in parts.items()}, n_cases=len(cases),
                  patients=patients, artefacts=asked.ARTEFACTS.values())
    return Page(html, of_images[:16], digest.hexdigest())


def command(options: argparse.Namespace) -> None:
    """What `mammorgb reader-study build` does: write the page and the key."""
    run = Run.recorded(options.run)
    key = build_study(run, options.out, pairs=options.pairs, repeats=options.repeats, seed=options.seed,
                      sets=options.sets or (), floor=options.floor)
    print(f"{options.out / PAGE}: {len(key.cases)} cases, for the readers")
    print(f"{options.out / KEY}: tells real from synthetic, keep it from the readers")
    if key.patients:
        print("The page is made from patients' images: do not share it beyond those who may see them")
