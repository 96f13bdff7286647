"""The folder of a score: tables, a page and their provenance, checked whenever they are read again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from mammorgb_utils.data.pair_folder import pairs_digest
from mammorgb_utils.evaluation.sets import StudySets
from mammorgb_utils.evaluation.statistics import CANDIDATE
from mammorgb_utils.output import style
from mammorgb_utils.output.outputs import load_outputs
from mammorgb_utils.output.pages import figure_uri, page_table, write_page
from mammorgb_utils.output.records import study_digest
from mammorgb_utils.runs import NAME, Run, atomic_path, provenance, read_table, sha256, write_csv, write_json

PROVENANCE = "provenance.json"  # written last: a folder without it isn't a score
VERSION = 2  # of the figures of the card and of how they are computed
_PHANTOM = "phantom"  # source of pairs that are nobody's
_NOTE = "DO_NOT_SHARE.txt"
_WARNING = ("This score was computed from patients' images: its rows of single pairs and its digests are patient data. "
            "Do not share the folder beyond those who may see the images; report the figures of the card.")
SMALL = 100  # pairs below which most tests have little power
# What is read of a provenance.json.
_NEEDED = {"label": str, "study": str, "n_pairs": int, "pairs_sha256": str, "study_sha256": str, "files": dict}
# A row a pair: only the candidate's are written.
_PAIR_TABLES = ("overlap", "shuffled", "profiles", "anatomy", "artefact_flags", "nearest_training")
_MIXED = ("value", "low", "high", "real", "null_low", "null_median", "null_high")
# Shown in a study's report.
_MAIN = ("iou_median", "emd", "hodges_lehmann", "consistency_score", "match", "kid", "artefacts")


class ScoreFolderError(ValueError):
    """A score's folder can't be used; the message says why and what to do."""


def score_folder(run: Run, label: str, out: Path | None = None) -> Path:
    """Where a score goes: `out`, or `runs/<name>/scores/<label>`; a label that isn't one is refused."""
    if not re.fullmatch(NAME, label):
        raise ScoreFolderError(f"--name {label!r}: use letters, digits, '.', '_' and '-', a letter first")
    return Path(out) if out else run.root / "scores" / label


def require_free(folder: Path, pairs: np.ndarray, run: Run) -> None:
    """Refuse a folder that holds the score of other pairs, or against another study; the message says what differs."""
    if not (folder / PROVENANCE).is_file():
        return
    facts = _facts(folder)
    for what, found, mine in (("other pairs", facts["pairs_sha256"], pairs_digest(pairs)),
                              ("another study", facts["study_sha256"], study_digest(run.root))):
        if found != mine:
            raise ScoreFolderError(f"{folder.name} holds a score of {what}; choose another --name, or remove the "
                                   "folder")


def write_score(run: Run, folder: Path, label: str, sets: StudySets, tables: Mapping[str, pd.DataFrame], *,
                of_patients: bool = False, n_unread: int = 0) -> Path:
    """Write a score: one CSV a table, `score.html`, and `provenance.json` last.

    Args:
        run: The study that the pairs were scored against.
        folder: From `score_folder`.
        label: What the pairs are called.
        sets: What was compared.
        tables: From `score.score_tables`.
        of_patients: The candidate's pairs are those of patients. Where they or the study's real pairs are, the page and
            a note beside it say so, and the page leaves out their digest, which would tell who holds the same.
        n_unread: Files beside the pairs that weren't read; the page counts them.

    Returns:
        The page. It holds no image of a pair, and of real pairs nothing but figures of the whole set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if private := of_patients or sets.source != _PHANTOM:
        with atomic_path(folder / _NOTE) as temporary:
            temporary.write_text(f"{_WARNING}\n", encoding="utf-8")
    else:
        (folder / _NOTE).unlink(missing_ok=True)
    (folder / PROVENANCE).unlink(missing_ok=True)
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table[table["set"] == CANDIDATE] if name in _PAIR_TABLES else table)
    facts = _new_facts(run, label, sets, tables)
    left_out = [f"{n_unread} files beside the pairs were not read."] if n_unread else []
    facts |= {"of_patients": of_patients, "warnings": [*[_WARNING] * private, *facts["warnings"], *left_out]}
    page = _write_page(run, folder, facts, tables)
    write_json(folder / PROVENANCE, facts | {"files": {path.name: sha256(path) for path in sorted(folder.glob("*.csv"))
                                                       if path.stem in tables}})
    return page


def read_score(folder: Path, run: Run | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The card of a score and its provenance, after every table was compared with its digest.

    Args:
        folder: As `write_score` left it, or as somebody sent it.
        run: The study that it must have been scored against; None accepts any.

    Raises:
        ScoreFolderError: The score is unfinished, changed, or of another study.
    """
    facts = _facts(folder)
    for name, digest in facts["files"].items():
        file = folder / Path(name).name
        if not file.is_file():
            raise ScoreFolderError(f"{folder.name}: {name} is missing; repeat `mammorgb score`")
        if sha256(file) != digest:
            raise ScoreFolderError(f"{folder.name}: {name} was changed since it was written; repeat `mammorgb score`")
    if run is not None and facts["study_sha256"] != study_digest(run.root):
        raise ScoreFolderError(f"{folder.name}: scored against another study ({facts['study']}); repeat "
                               f"`mammorgb score` with --run {run.root.name}")
    card = read_table(folder / "card.csv")
    if missing := [name for name in ("figure", "value", "low", "high") if name not in card]:
        raise ScoreFolderError(f"{folder.name}: card.csv lacks the column {missing[0]!r}; repeat `mammorgb score`")
    return card, facts


def score_rows(run: Run) -> dict[str, Any]:
    """Every score of a study as one table for a page; one that can't be trusted says so instead of figures."""
    rows = []
    for folder in sorted(path.parent for path in run.root.glob(f"scores/*/{PROVENANCE}")):
        try:
            card, facts = read_score(folder, run)
        except ScoreFolderError as error:
            rows.append({"Pairs": folder.name, "n": "", "Note": str(error)})
            continue
        own, names = card.set_index("figure"), load_outputs().score
        rows.append({"Pairs": facts["label"], "n": str(facts["n_pairs"]), "Note": ""}
                    | {names[name]: _with_interval(own.loc[name]) for name in _MAIN if name in own.index})
    return page_table(pd.DataFrame(rows))


def _with_interval(row: pd.Series) -> str:
    value, low, high = ("" if pd.isna(row[name]) else f"{row[name]:.3f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if value and low else value


def _by_row(frame: pd.DataFrame) -> pd.DataFrame:
    """For a page: figures of unlike size below one another are rounded each by itself; the set by its name."""
    mixed = [name for name in _MIXED if name in frame and {"figure", "metric"} & set(frame.columns)]
    text = {name: ["" if pd.isna(value) else (f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}").replace("-", "−")
                   for value in frame[name]] for name in mixed}
    return frame.assign(**text).replace({"set": {CANDIDATE: "Candidate"}} if "set" in frame else {})


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScoreFolderError(f"{folder.name}: no {PROVENANCE}, so not a finished score; repeat "
                               "`mammorgb score`") from None
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        raise ScoreFolderError(f"{folder.name}: {PROVENANCE} is damaged; repeat `mammorgb score`") from None
    version = facts.get("version", "unknown") if isinstance(facts, dict) else "unknown"
    if version != VERSION:
        raise ScoreFolderError(f"{folder.name}: a score of version {version}, this code's is {VERSION}; repeat "
                               "`mammorgb score`")
    wrong = [name for name, kind in _NEEDED.items() if type(facts.get(name)) is not kind]
    if wrong or "card.csv" not in facts["files"]:
        raise ScoreFolderError(f"{folder.name}: {PROVENANCE} is damaged ({(wrong or ['files'])[0]!r} isn't there as it "
                               "was written); repeat `mammorgb score`")
    return facts


def _new_facts(run: Run, label: str, sets: StudySets, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    own = tables["overlap"][tables["overlap"]["set"] == CANDIDATE]
    missing, n = int(own["iou"].isna().sum()), len(own)
    warnings = [f"{n} pairs: most tests have little power below {SMALL}; intervals are wide."] if n < SMALL else []
    if missing:
        warnings.append(f"{missing} of {n} pairs have no breast mask: they are counted, and left out of overlap.")
    return {"version": VERSION, "label": label, "study": run.root.name, "source": sets.source, "n_pairs": n,
            "n_patients": int(own["patient"].nunique()), "n_real": len(sets.pairs["real"]), "warnings": warnings,
            "pairs_sha256": pairs_digest(sets.pairs[CANDIDATE]), "real_sha256": pairs_digest(sets.pairs["real"]),
            "study_sha256": study_digest(run.root), "code": provenance(run)}


def _write_page(run: Run, folder: Path, facts: dict[str, Any], tables: Mapping[str, pd.DataFrame]) -> Path:
    shown = [{"title": entry.title, "sentence": entry.sentence, "file": f"{name}.csv",
              "table": page_table(_by_row(tables[name]))}
             for name, entry in (load_outputs().figures | load_outputs().tables).items()
             if name in tables and name not in _PAIR_TABLES]
    card = _by_row(tables["card"].assign(figure=tables["card"]["figure"].replace(load_outputs().score)))
    shared = {"Pairs (SHA-256 of their values)": facts["pairs_sha256"]} if not facts["of_patients"] else {}
    shared |= {"Real pairs": facts["real_sha256"]} if facts["source"] == _PHANTOM else {}
    what = {**shared, "Study's protocol and manifest": facts["study_sha256"], **facts["code"]}
    return write_page(folder / "score.html", "score.html", facts=facts, protocol=run.protocol, card=page_table(card),
                      tables=shown, provenance=page_table(pd.DataFrame(list(what.items()), columns=["What", "Value"])),
                      picture=figure_uri(score_overlap(tables["overlap"], tables["shuffled"])))


@style.styled
def score_overlap(overlap: pd.DataFrame, shuffled: pd.DataFrame) -> Figure:
    """Cumulative distributions of IoU with and without muscle, small enough for phones.

    Solid lines are pairs, dashed ones shuffled pairs; NaN is left out.
    """
    figure = style.new_figure(140.0, 58.0)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, measure, title in zip(panels, ("iou", "iou_no_muscle"), ("whole breast mask", "without muscle"),
                                    strict=True):
        for name, label, look in (("real", "Real", "real"), (CANDIDATE, "Candidate", "sum")):
            for table, line, word in ((overlap, "-", ""), (shuffled, (0, (3, 1.5)), ", shuffled")):
                sns.ecdfplot(table[table["set"] == name], x=measure, ax=axes, color=style.COLOURS[look], linestyle=line,
                             label=label + word)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"IoU, {title}", ylabel="Share of pairs below")
    panels[0].legend(loc="upper left", handlelength=2.2)
    return figure
