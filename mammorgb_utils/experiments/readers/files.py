"""What readers are asked, the key, and their results: read with every check that a mix-up or an edit would fail."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammorgb_utils.runs import write_json
from mammorgb_utils.streams import Stream, generator

PAGE, KEY = "reader_study.html", "key/key.json"  # in the folder of a study
FORMAT = {"key": "mammorgb-reader-key/1", "result": "mammorgb-reader-result/1"}
_CASE = ["case", "set", "pair", "repeat_of"]
READER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,23}")  # a pseudonym
ORIGINS = ("real", "synthetic")
SCALE = (1, 2, 3, 4, 5)  # of confidence and of consistency
ARTEFACTS = {  # name in the files: (label, hint) on the page
    "background_offset": ("Grey background", "air that isn't black, or changes across the image"),
    "edge_line": ("Edge or paddle line", "a straight line along an edge or through the image"),
    "label_remnant": ("Label remnant", "rests of letters or of a marker"),
    "cut_breast": ("Cut breast", "tissue that ends at an edge where it shouldn't"),
    "view_mismatch": ("Views don't match", "a finding or a shape of one view that the other contradicts"),
    "checkerboard": ("Checkerboard or grid", "a regular fine pattern"),
    "other": ("Other", "anything else that no mammogram should show"),
}
QUESTIONS = {  # of the page; its grey window [%] opens a little above black, so that air looks alike
    "scale": SCALE, "window": {"centre": 53, "width": 94}, "confidence": ("guessing", "certain"),
    "consistency": ("surely not one breast", "surely one breast"),
    "artefacts": [{"name": name, "label": label, "hint": hint, "key": key}
                  for key, (name, (label, hint)) in zip("abcdefg", ARTEFACTS.items(), strict=True)]}
ABILITY = 0.6  # distance of the two classes in what the reader perceives [SD]; AUC about 0.66
_KEPT = 0.7  # correlation of a pair's two impressions
_STEP = 0.45  # of an impression, a point of confidence [SD]


class ReaderStudyError(ValueError):
    """A reader study can't be built or scored; the message names file, field and remedy."""


@dataclass(frozen=True)
class Key:
    """What a page doesn't hold: where its cases come from."""

    study: str  # of the images
    page: str  # digest that results made on the page bear
    page_sha256: str  # of the file
    patients: bool  # whether images are those of patients
    cases: pd.DataFrame  # case, set, pair, repeat_of


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of JSON as a browser writes it, keys sorted."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write_signed(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with the digest of its content, which shows later edits; it is no protection against forgery."""
    write_json(path, {**content, "digest": digest(content)})


def read_key(path: Path) -> Key:
    """Read a key; `ReaderStudyError` where the file is absent, isn't a key, or was edited."""
    content = _read_signed(path, "key", "take the key.json that was written with the page")
    try:
        cases = pd.DataFrame([[case[name] for name in _CASE] for case in content["cases"]], columns=_CASE, dtype=str)
        return Key(content["study"], content["page"], content["page_sha256"], content["patients"], cases)
    except (KeyError, TypeError) as error:
        raise ReaderStudyError(f"{path.name} lacks {error}: take the key.json that was written with the page") from None


def read_results(paths: Sequence[Path], key: Key) -> pd.DataFrame:
    """Read the results of one study's readers, a file each as the page saved it, and look up what they saw.

    Returns:
        One row a reader and case: `reader`, `simulated`, `case`, `set`, `pair`, `repeat_of`, `synthetic` (truth),
        `origin`, `confidence`, `score` (both on one scale: −5, certainly real, to 5, certainly synthetic, without 0),
        `consistency`, `seconds`, and a bool column an artefact.
    """
    readings = [_reading(Path(path), key) for path in paths]
    readers = [reading["reader"].iloc[0] for reading in readings]
    twice = sorted({name for name in readers if readers.count(name) > 1})
    if twice:
        raise ReaderStudyError(f"two results of the reader {twice[0]!r}: give one file a reader, under its own name")
    return pd.concat(readings, ignore_index=True)


def _read_signed(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())  # in any Unicode encoding that an editor may have chosen
    except FileNotFoundError:
        raise ReaderStudyError(f"{path.name} not found; {remedy}") from None
    except (ValueError, RecursionError):
        raise ReaderStudyError(f"{path.name} isn't JSON, perhaps it was cut; {remedy}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT[kind]:
        raise ReaderStudyError(f"{path.name} isn't a reader study's {kind}; {remedy}")
    stated = content.pop("digest", None)
    if stated != digest(content):
        raise ReaderStudyError(f"{path.name} was edited after it was written, or is damaged; {remedy}")
    return content


def _reading(path: Path, key: Key) -> pd.DataFrame:
    content = _read_signed(path, "result", "ask the reader to save it from the page again")
    if content.get("study") != key.study:
        raise ReaderStudyError(f"{path.name} belongs to the reader study {content.get('study')}, the key to "
                               f"{key.study}; take the key that was written with that page")
    if content.get("page") != key.page:
        raise ReaderStudyError(f"{path.name} was answered on a page that isn't the one which was built: page or key "
                               "was changed; have the reader answer the page as it was built")
    if not isinstance(reader := content.get("reader"), str) or not READER.fullmatch(reader):
        raise ReaderStudyError(f"{path.name}: reader {reader!r} isn't a pseudonym of letters, digits, '-' and '_'")
    if not isinstance(simulated := content.get("simulated", False), bool):
        raise ReaderStudyError(f"{path.name}: simulated is {simulated!r}, which isn't true or false")
    answers = _checked(path.name, content.get("answers"), key.cases["case"].to_list())
    found = key.cases.merge(answers, on="case", validate="one_to_one")
    signed = found["confidence"].where(found["origin"] == "synthetic", -found["confidence"])
    found = found.assign(reader=reader, simulated=simulated, score=signed, synthetic=found["set"] != "real")
    return found.join(pd.DataFrame({name: [name in row for row in found["artefacts"]] for name in ARTEFACTS}))


def _checked(name: str, answers: Any, cases: list[str]) -> pd.DataFrame:
    rows = [row for row in answers if isinstance(row, dict)] if isinstance(answers, list) else []
    given = [str(row.get("case")) for row in rows]
    if len(set(given)) != len(given) or not set(given) <= set(cases):
        raise ReaderStudyError(f"{name}: answers to cases that the page doesn't have, or two to one; ask the reader to "
                               "save it from the page again")
    if len(given) < len(cases):
        raise ReaderStudyError(f"{name}: {len(cases) - len(given)} of {len(cases)} cases have no answer; the reader "
                               "can continue from this file on the page, and save it again at the end")
    for row in rows:
        for field, allowed in (("origin", ORIGINS), ("confidence", SCALE), ("consistency", SCALE)):
            if type(row.get(field)) not in (str, int) or row[field] not in allowed:
                raise ReaderStudyError(f"{name}: {field} of case {row['case']} is {row.get(field)!r}, which isn't one "
                                       f"of {', '.join(map(str, allowed))}")
        if not isinstance(row.get("artefacts"), list) or not set(map(str, row["artefacts"])) <= set(ARTEFACTS):
            raise ReaderStudyError(f"{name}: artefacts of case {row['case']} hold a kind that the page doesn't have")
        if isinstance(row.get("seconds"), bool) or not isinstance(row.get("seconds", 0), int | float):
            raise ReaderStudyError(f"{name}: seconds of case {row['case']} is {row['seconds']!r}, which isn't a number")
    return pd.DataFrame(rows, columns=["case", "origin", "confidence", "consistency", "artefacts", "seconds"])


def simulated_result(key: Key, *, seed: int, reader: str = "simulated", ability: float = ABILITY) -> dict[str, Any]:
    """A result as the page saves it, marked as simulated, from noise and the key's truth.

    It tries out a study's files and figures, and says nothing about the images. A reader without `ability` guesses.
    """
    rng = generator(seed, Stream.READER_SIMULATION)
    numbers = {case: i for i, case in enumerate(key.cases["case"])}
    seen, fresh = rng.standard_normal((2, len(numbers), 2))  # of origin and of consistency
    answers = []
    for i, case in enumerate(key.cases.itertuples()):
        fake = case.set != "real"
        noise = seen[i] if not case.repeat_of else (
            _KEPT * seen[numbers[case.repeat_of]] + np.sqrt(1.0 - _KEPT**2) * fresh[i])
        impression = ability * (fake - 0.5) + noise[0]
        rating = np.clip(round(4.1 - 0.5 * fake + 0.9 * noise[1]), 1, 5)
        saw = rng.random(len(ARTEFACTS)) < (0.03 if fake else 0.015)
        answers.append({"case": case.case, "origin": "synthetic" if impression > 0 else "real",
                        "confidence": int(min(5, 1 + abs(impression) // _STEP)), "consistency": int(rating),
                        "artefacts": [name for name, there in zip(ARTEFACTS, saw, strict=True) if there],
                        "seconds": int(rng.integers(8, 40))})
    content = {"format": FORMAT["result"], "study": key.study, "page": key.page, "reader": reader, "simulated": True,
               "answers": answers}
    return {**content, "digest": digest(content)}


def readings_at_hand(folder: Path, key: Key, *, seed: int, readers: int = 2) -> pd.DataFrame:
    """`read_results` of `folder/results/`; without any, of simulated readers, written to `folder/simulated/`."""
    files = sorted((folder / "results").glob("*.json"))
    if not files:
        files = [folder / "simulated" / f"simulated-{number}.json" for number in range(1, readers + 1)]
        for number, file in enumerate(files):
            write_json(file, simulated_result(key, seed=seed + number, reader=file.stem))
    return read_results(files, key)
