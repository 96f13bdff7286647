"""A simulated reader: tries out a study's files and figures. Its answers say nothing about the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammorgb_utils.experiments.readers.files import ARTEFACTS, FORMAT, Key, digest, read_results
from mammorgb_utils.runs import write_json
from mammorgb_utils.streams import Stream, generator

ABILITY = 0.6  # distance of the two classes in what the reader perceives [SD]; AUC about 0.66
_KEPT = 0.7  # correlation of a pair's two impressions
_STEP = 0.45  # of an impression, a point of confidence [SD]


def simulated_result(key: Key, *, seed: int, reader: str = "simulated", ability: float = ABILITY) -> dict[str, Any]:
    """A result as the page saves it, marked as simulated, from noise and the key's truth.

    Args:
        key: Of the study.
        seed: Decides all answers.
        reader: Pseudonym.
        ability: How well the reader tells the classes apart; 0 guesses.
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
    """The results in `folder/results/`; without any, those of simulated readers, written to `folder/simulated/`.

    Args:
        folder: Of the study.
        key: Of the study.
        seed: Of the first simulated reader, of the others the following ones.
        readers: Simulated readers.

    Returns:
        As `read_results`.

    Raises:
        ReaderStudyError: As `read_results`.
    """
    files = sorted((folder / "results").glob("*.json"))
    if not files:
        files = [folder / "simulated" / f"simulated-{number}.json" for number in range(1, readers + 1)]
        for number, file in enumerate(files):
            write_json(file, simulated_result(key, seed=seed + number, reader=file.stem))
    return read_results(files, key)
