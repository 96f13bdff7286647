"""The map of open choices: how far the main results move when a choice is made otherwise.

Gathered from what a study has measured. A shift is measured in two ways, and moves compare within a field alone: by
Hodges–Lehmann, the median of all differences, where the source table has it (mask methods, preprocessing, real split,
third channel), and as difference of the two medians where it has medians alone (samplers, learning rates).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import brunnermunzel, ks_2samp, ttest_ind

from mammorgb_utils.evaluation import statistics
from mammorgb_utils.evaluation.consistency import pairing_gain
from mammorgb_utils.evaluation.sets import StudySets, overlap_table, shuffled_table
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import read_table
from mammorgb_utils.streams import Stream, generator

# Fields and their names in the figure: those that the paper leaves open, then what it states and we could not repeat as
# it was, which gives the scale.
OPEN_FIELDS = {
    "mask_method": "Mask method", "match_scope": "Pixels that matching sees", "aspect": "To a square: squash or pad",
    "sum_scale": "Scale of the sum", "real_split": "Real set: held out or not", "images_or_pairs":
    "11,020: images or pairs", "sampler": "Sampler and steps", "sampling_spacing": "Noise levels that steps visit",
    "sampling_weights": "EMA or raw weights", "ema_decay": "Decay of the EMA", "lr_schedule": "Learning-rate schedule",
    "warmup_steps": "Warm-up", "weight_decay": "Weight decay", "max_grad_norm": "Gradient clipping",
    "contrast_test": "Test between encodings"}
STATED_FIELDS = {
    "third_channel": "Third channel (against zero)", "learning_rate": "Learning rate (against 1e-5)",
    "mirror": "Mirroring", "reference_cdf": "Matching's reference"}
FIELDS = OPEN_FIELDS | STATED_FIELDS
NOT_RUN = "not run"
# Why a field has no row of its own: the appendix that would tell hasn't run, or none can.
_TOLD_BY = {"mask_method": "A7", "match_scope": "01", "aspect": "01", "real_split": "05", "contrast_test": "05",
            "third_channel": "05", "sampler": "A6", "learning_rate": "A1", "mirror": "A3", "reference_cdf": "A3"}
_UNTOLD = {"images_or_pairs": "only its authors know"}
COLUMNS = ("field", "open", "choice", "study_choice", "result", "set", "value", "low", "high", "against", "moved_by",
           "source")
# The study's choice where it isn't a protocol field of the same name.
_STUDY = {"images_or_pairs": "the cohort's own number", "contrast_test": "Mann–Whitney", "third_channel": "zero"}
REFERENCE_STEPS = 1000  # of DDPM in A6
MAX_PAIRS = 500  # of a split that are masked; medians to about 0.005 of IoU
SPLITS = ("heldout", "train", "all")  # `real_split`
TESTS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "Mann–Whitney": statistics.mann_whitney,
    "Kolmogorov–Smirnov": lambda x, y: float(ks_2samp(x, y).pvalue),
    "Welch's t": lambda x, y: float(ttest_ind(x, y, equal_var=False).pvalue),
    "Brunner–Munzel": lambda x, y: float(brunnermunzel(x, y).pvalue),
}
_PAPER_RATE = f"{1e-5:g}"  # the paper's; a sweep may lack the study's own


class _Study(NamedTuple):
    sets: list[str]
    protocol: Protocol
    real_median: float  # of IoU


def choice_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables below `Run.tables` that say what a choice moves, by name; those that aren't there are left out."""
    files = {name: Path(folder) / f"{name}.csv" for name in _READERS}
    return {name: read_table(file) for name, file in files.items() if file.is_file()}


def open_choices(tables: Mapping[str, pd.DataFrame], summary: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """The map: each field, each choice, and what became of the main results.

    Nothing is guessed: a field without a measurement has one row whose `source` is "not run", and its `choice` why.

    Args:
        tables: What `choice_tables` found, and, under `other_statistics`, what that function made.
        summary: tables/overlap_summary.csv: the study's sets, and the median IoU of its real pairs.

    Returns:
        One row a choice, result and set, `COLUMNS`: `open` (the paper doesn't state it), `result` (`real_median`,
        `shift` of synthetic against real, `gain` of pairing over shuffling, all in IoU; `score`, the synthetic gain
        over the real one; `p` of a contrast), `set` (for `p`, both sets), `low`, `high` (95 %, where the source has
        them); `against` (the choice compared with: the study's, for the learning rate the paper's), `moved_by` (value
        − that of `against`); `source` (a table's name).
    """
    study = _Study(statistics.sets_in(summary, protocol), protocol, summary.set_index("set").loc["real", "iou_median"])
    found = [rows for name, read in _READERS.items() if name in tables for rows in read(tables[name], study)]
    seen = {field for rows in found for field in rows["field"]}
    why = {field: _UNTOLD.get(field, f"{_TOLD_BY.get(field, 'A8')} would tell") for field in FIELDS}
    absent = [{"field": field, "choice": why[field], "source": NOT_RUN} for field in FIELDS if field not in seen]
    table = pd.concat([*found, pd.DataFrame(absent)], ignore_index=True).reindex(columns=list(COLUMNS))
    own = table["field"].map(lambda field: study_choice(field, protocol))
    table = table.assign(open=table["field"].isin(OPEN_FIELDS), study_choice=own,
                         against=own.mask(table["field"] == "learning_rate", _PAPER_RATE))
    key = ["field", "result", "set", "source"]
    base = table.loc[table["choice"] == table["against"], [*key, "value"]].drop_duplicates(key)
    moved = table["value"].to_numpy(float) - table[key].merge(base, on=key, how="left")["value"].to_numpy(float)
    order = list(FIELDS)
    return table.assign(moved_by=moved).sort_values("field", key=lambda names: names.map(order.index), kind="stable",
                                                    ignore_index=True)


def study_choice(field: str, protocol: Protocol) -> str:
    """What the study chose, in the words in which the map names choices."""
    if field == "sampler":
        return f"{protocol.sampler}, {protocol.sampling_steps} steps"
    if field in _STUDY:
        return _STUDY[field]
    value = getattr(protocol, field)
    if field == "reference_cdf":
        return Path(value).stem  # a path would name a folder of the user's
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rows(table: pd.DataFrame, field: str, choice: pd.Series | str, source: str,
          *results: tuple[str, str, str]) -> pd.DataFrame:
    """A row of the map a row of a table and result: its name, set, and columns `value [low high]`."""
    parts = []
    for result, name, columns in results:
        bounds = dict(zip(("value", "low", "high"), columns.split(), strict=False))
        parts.append(pd.DataFrame({"field": field, "choice": choice, "result": result,
                                   "set": table[name] if name in table else name, "source": source,
                                   **{key: table[column].astype(float) for key, column in bounds.items()}}))
    return pd.concat(parts).sort_index(kind="stable")


def _by_mask(table: pd.DataFrame, study: _Study) -> Iterable[pd.DataFrame]:
    rows = _rows(table, "mask_method", table["mask_method"], "mask_effects", ("real_median", "set", "median"),
                 *((name, "set", f"{name} {name}_low {name}_high") for name in ("shift", "gain", "score")))
    real = rows["set"] == "real"
    yield rows[(real & rows["result"].isin(["real_median", "gain"])) | (~real & (rows["result"] != "real_median"))]


def _by_matching(table: pd.DataFrame, study: _Study) -> Iterable[pd.DataFrame]:
    """Each field of the audit alone, the other two as in the study."""
    own = {name: getattr(study.protocol, name) for name in ("match_scope", "aspect", "mask_method")}
    for field in ("match_scope", "aspect"):
        others = [name for name in own if name != field]
        part = table[(table[others] == [own[name] for name in others]).all(axis=1)]
        yield _rows(part, field, part[field], "matching_audit", ("real_median", "real", "paired_median paired_low "
                    "paired_high"), ("gain", "real", "gain gain_low gain_high"))


def _by_preprocessing(table: pd.DataFrame, study: _Study) -> Iterable[pd.DataFrame]:
    """Models trained anew under each preprocessing; the row of the study's own stands for each field's own choice."""
    for field in table.loc[table["field"] != "study", "field"].unique():
        part = table[table["field"].isin([field, "study"])]
        choice = part["choice"].mask(part["field"] == "study", study_choice(field, study.protocol))
        yield _rows(part, field, choice, "preprocessing_effects", ("real_median", "real", "real_median"),
                    ("gain", "real", "real_gain real_gain_low real_gain_high"), ("gain", "drawn", "synthetic_gain"),
                    ("shift", "drawn", "shift shift_low shift_high"), ("score", "drawn", "score score_low score_high"))


def _by_sampler(table: pd.DataFrame, study: _Study) -> Iterable[pd.DataFrame]:
    """Difference of the medians to real; the table's interval is of the shift to the reference sampler, not of this."""
    table = table.assign(shift=table["iou_median"] - study.real_median)
    name, spacing = table["sampler"].str.partition(" ")[0], table["sampler"].str.partition(" ")[2]
    usual, result = table[spacing == ""], ("shift", "drawn", "shift")
    known = study_choice("sampler", study.protocol)  # where the study itself walks every step, it is the reference
    yield _rows(table.head(1).assign(shift=table["iou_median_reference"] - study.real_median), "sampler",
                known if known == f"ddpm, {REFERENCE_STEPS} steps" else "reference", "samplers", result)
    yield _rows(usual, "sampler", usual["sampler"] + ", " + usual["steps"].map("{:.0f} steps".format), "samplers",
                result)
    own = name.eq(study.protocol.sampler) & table["steps"].eq(study.protocol.sampling_steps)
    if own.sum() > 1:
        choice = spacing[own].replace("", study.protocol.sampling_spacing)
        yield _rows(table[own], "sampling_spacing", choice, "samplers", result)


def _by_rate(table: pd.DataFrame, study: _Study) -> Iterable[pd.DataFrame]:
    """Mean over the trainings of each rate; of medians, as single pairs aren't in the table."""
    means = table.groupby("learning_rate", as_index=False)[["iou_median", "gain"]].mean()
    yield _rows(means.assign(shift=means["iou_median"] - study.real_median), "learning_rate",
                means["learning_rate"].map("{:g}".format), "learning_rates", ("shift", "drawn", "shift"),
                ("gain", "drawn", "gain"))


def _by_training(table: pd.DataFrame, study: _Study) -> Iterable[pd.DataFrame]:
    """Short trainings; the one with the study's choices stands for each field's own. `trainings.run_plan`."""
    for field in table.loc[table["field"].isin(list(OPEN_FIELDS)), "field"].unique():
        part = table[table["field"].isin([field, "study"])]
        choice = part["choice"].mask(part["field"] == "study", study_choice(field, study.protocol))
        yield _rows(part, field, choice, "trained_choices", ("shift", "drawn", "shift shift_low shift_high"),
                    ("gain", "drawn", "gain"))


def _by_channel(table: pd.DataFrame, study: _Study) -> Iterable[pd.DataFrame]:
    """The encodings of the study: what the paper compares, as a scale for the rest."""
    part = table[(table["measure"] == "iou") & table["set"].isin(study.sets)]
    columns = {"gain": "gain", "score": "score"} if "gain" in table else {"shift": "hodges_lehmann"}
    yield _rows(part, "third_channel", part["set"], "consistency" if "gain" in table else "effects",
                *((result, "drawn", f"{name} {name}_low {name}_high") for result, name in columns.items()))


_READERS: dict[str, Callable[[pd.DataFrame, _Study], Iterable[pd.DataFrame]]] = {
    "mask_effects": _by_mask, "matching_audit": _by_matching, "preprocessing_effects": _by_preprocessing,
    "samplers": _by_sampler, "learning_rates": _by_rate, "trained_choices": _by_training,
    "effects": _by_channel, "consistency": _by_channel,
    "other_statistics": lambda table, study: [table.assign(source="other_statistics")]}


def other_statistics(pairs: np.ndarray, index: pd.DataFrame, overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """What `split_effects` and `contrast_tests` give, each with its `field`: metrics/other_statistics.csv."""
    return pd.concat([split_effects(pairs, index, overlap, protocol).assign(field="real_split"),
                      contrast_tests(overlap, protocol).assign(field="contrast_test")], ignore_index=True)


def split_effects(pairs: np.ndarray, index: pd.DataFrame, overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """The main results, were the real pairs the held-out ones, those of training, or all.

    Args:
        pairs, index: `(N, 2, H, W)` float in [0, 1], every pair of the study, and their rows of `pairs/index.csv`.
        overlap: metrics/overlap.csv, for the synthetic pairs.

    Returns:
        One row a split and result: `choice`, `result` (`real_median`, `gain`, and the `shift` of each encoding), `set`,
        `value`, `low`, `high` (95 %). Splits of fewer than `MIN_PAIRS` pairs are left out, and the gain of one in
        which a patient holds more than half; of larger ones than `MAX_PAIRS` so many are drawn.
    """
    rows = []
    for split in SPLITS:
        places = np.flatnonzero(index["split"] == split) if split != "all" else np.arange(len(index))
        rng = generator(protocol.seed, Stream.SPLIT_SAMPLE)
        places = np.sort(rng.choice(places, min(len(places), MAX_PAIRS), replace=False))
        if index["patient"].iloc[places].nunique() >= statistics.MIN_PAIRS:
            sets = StudySets.of({split: (pairs[places], index.iloc[places])}, protocol)
            rows += [(split, *row) for row in _split_rows(sets, overlap)]
    return pd.DataFrame(rows, columns=["choice", "result", "set", "value", "low", "high"])


def _split_rows(sets: StudySets, overlap: pd.DataFrame) -> Iterator[tuple]:
    protocol, real = sets.protocol, overlap_table(sets)
    known = real[real["iou"].notna()]
    if known["patient"].nunique() < statistics.MIN_PAIRS:
        return
    sample = statistics.Sample(known["iou"].to_numpy(float), statistics.patient_of(known))
    medians = statistics.median_draws(sample, protocol.n_bootstrap, generator(protocol.seed, Stream.CHOICE_MEDIANS))
    yield "real_median", "real", known["iou"].median(), *np.nanquantile(medians, [0.025, 0.975])
    if 2 * real["patient"].value_counts().max() <= len(real):  # else there is no derangement
        gain, gains = pairing_gain(real, shuffled_table(sets), n_bootstrap=protocol.n_bootstrap,
                                   seed=protocol.seed + Stream.CHOICE_GAINS)
        yield "gain", "real", gain, *np.nanquantile(gains, [0.025, 0.975])
    for name in statistics.sets_in(overlap, protocol):
        drawn = overlap.loc[(overlap["set"] == name) & overlap["iou"].notna()]
        if len(drawn) >= statistics.MIN_PAIRS:
            groups = np.concatenate([statistics.patient_of(drawn), statistics.patient_of(known)])
            yield "shift", name, *statistics.hodges_lehmann(drawn["iou"], known["iou"], groups=groups)


def contrast_tests(overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Contrasts of the encodings in IoU of metrics/overlap.csv under each test that may have given the paper's p.

    Returns:
        One row a contrast and test: `choice` (the test), `result` (`p`), `set` (both), `value` (two-sided, unadjusted;
        NaN with fewer than `MIN_PAIRS` pairs in a set).
    """
    values = {name: rows["iou"].dropna().to_numpy(float) for name, rows in overlap.groupby("set")}
    rows = [(name, "p", f"{first} − {second}", test(values[first], values[second])
             if min(values[first].size, values[second].size) >= statistics.MIN_PAIRS else np.nan)
            for first, second in combinations(statistics.sets_in(overlap, protocol), 2) for name, test in TESTS.items()]
    return pd.DataFrame(rows, columns=["choice", "result", "set", "value"])
