"""How far the main results move when a choice is made otherwise: gathered from what a study has measured.

A shift is measured in two ways, and moves compare within a field alone: by Hodges–Lehmann, the median of all
differences, where the source table has it (mask methods, preprocessing, real split, third channel), and as difference
of the two medians where it has medians alone (samplers, learning rates).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

import pandas as pd

from mammorgb_utils.evaluation.statistics import sets_in
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import read_table

# Fields that the paper leaves open, then what it states and we could not repeat as it was: they give the scale.
OPEN_FIELDS = ("mask_method", "match_scope", "aspect", "sum_scale", "real_split", "images_or_pairs", "sampler",
               "sampling_weights", "ema_decay", "lr_schedule", "warmup_steps", "weight_decay", "max_grad_norm",
               "contrast_test")
STATED_FIELDS = ("third_channel", "learning_rate", "mirror", "reference_cdf")
RESULTS = ("real_median", "shift", "gain", "score", "p")  # IoU, IoU, IoU, ratio, probability
NOT_RUN = "not run"
COLUMNS = ("field", "open", "choice", "study_choice", "result", "set", "value", "low", "high", "against", "moved_by",
           "source")
# The study's choice where it isn't a protocol field of the same name.
_STUDY = {"images_or_pairs": "the cohort's own number", "contrast_test": "Mann–Whitney", "third_channel": "zero"}
_PAPER_RATE = 1e-5  # the paper's; a sweep may lack the study's own
_SOURCES = ("mask_effects", "matching_audit", "preprocessing_effects", "samplers", "learning_rates", "effects",
            "consistency")

Rows = list[dict[str, object]]


def choice_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of a run that say what a choice moves, by name; those that aren't there are left out.

    Args:
        folder: `Run.tables`.
    """
    files = {name: Path(folder) / f"{name}.csv" for name in _SOURCES}
    return {name: read_table(file) for name, file in files.items() if file.is_file()}


def open_choices(tables: Mapping[str, pd.DataFrame], overlap: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """The map: each field, each choice, and what became of the main results.

    Nothing is guessed: a field without a measurement has one row whose `source` is "not run".

    Args:
        tables: What `choice_tables` found, and, under `real_split` and `contrast_test`, what `choice_effects` made.
        overlap: metrics/overlap.csv.
        protocol: The study's choices.

    Returns:
        One row a choice, result and set: `field`, `open` (the paper doesn't state it), `choice`, `study_choice`,
        `result` (`real_median`; `shift` of synthetic against real, by Hodges–Lehmann, but for `sampler` and
        `learning_rate` the difference of medians; `gain` of pairing over shuffling; in IoU; `score`, the synthetic
        gain over the real one; `p` of a contrast), `set` (for `p`, both sets), `value` with `low`, `high` (95 %, where
        the source has them: samplers and learning rates have none); `against` (the choice compared with: the study's,
        for the learning rate the paper's), `moved_by` (value − that of `against`); `source` (a table's name).
    """
    overlap_median = overlap.groupby("set")["iou"].median()
    rows = [row for name, read in _READERS.items() if name in tables
            for row in read(tables[name], protocol, overlap_median, sets_in(overlap, protocol))]
    seen = {row["field"] for row in rows}
    rows += [{"field": field, "choice": NOT_RUN, "source": NOT_RUN}
             for field in (*OPEN_FIELDS, *STATED_FIELDS) if field not in seen]
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    table["open"] = table["field"].isin(OPEN_FIELDS)
    table["study_choice"] = [study_choice(field, protocol) for field in table["field"]]
    table["against"] = [f"{_PAPER_RATE:g}" if field == "learning_rate" else own
                        for field, own in zip(table["field"], table["study_choice"], strict=True)]
    order = {field: place for place, field in enumerate((*OPEN_FIELDS, *STATED_FIELDS))}
    return _moved(table).sort_values("field", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def study_choice(field: str, protocol: Protocol) -> str:
    """What the study chose, in the words in which the map names choices."""
    if field == "sampler":
        return _sampler(protocol.sampler, protocol.sampling_steps)
    if field in _STUDY:
        return _STUDY[field]
    value = getattr(protocol, field)
    if field == "reference_cdf":
        return Path(value).stem  # a path would name a folder of the user's
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _moved(table: pd.DataFrame) -> pd.DataFrame:
    """Add what each value differs by from that of `against` in the same source, result and set."""
    key = ["field", "result", "set", "source"]
    base = table.loc[table["choice"] == table["against"], [*key, "value"]].drop_duplicates(key)
    found = table[key].merge(base, on=key, how="left")["value"].to_numpy(float)
    return table.assign(moved_by=table["value"].to_numpy(float) - found)


def _row(field: str, choice: object, result: str, name: str, value: float, source: str, low: float = float("nan"),
         high: float = float("nan")) -> dict[str, object]:
    return {"field": field, "choice": str(choice), "result": result, "set": name, "value": value, "low": low,
            "high": high, "source": source}


def _by_mask(table: pd.DataFrame, protocol: Protocol, real: pd.Series, sets: list[str]) -> Rows:
    rows = []
    for line in table.to_dict("records"):
        if line["set"] == "real":
            rows.append(_row("mask_method", line["mask_method"], "real_median", "real", line["median"],
                             "mask_effects"))
        results = ("gain",) if line["set"] == "real" else ("shift", "gain", "score")
        rows += [_row("mask_method", line["mask_method"], result, line["set"], line[result], "mask_effects",
                      line[f"{result}_low"], line[f"{result}_high"]) for result in results]
    return rows


def _by_matching(table: pd.DataFrame, protocol: Protocol, real: pd.Series, sets: list[str]) -> Rows:
    """Each field of the audit alone, the other two as in the study."""
    own = {name: getattr(protocol, name) for name in ("match_scope", "aspect", "mask_method")}
    rows = []
    for field in ("match_scope", "aspect"):
        others = [name for name in own if name != field]
        for line in table[(table[others] == [own[name] for name in others]).all(axis=1)].to_dict("records"):
            rows += [_row(field, line[field], result, "real", line[value], "matching_audit", line[low], line[high])
                     for result, value, low, high in (("real_median", "paired_median", "paired_low", "paired_high"),
                                                      ("gain", "gain", "gain_low", "gain_high"))]
    return rows


def _by_preprocessing(table: pd.DataFrame, protocol: Protocol, real: pd.Series, sets: list[str]) -> Rows:
    """Models trained anew under each preprocessing; the row of the study's own stands for each field's own choice."""
    rows, fields = [], [field for field in table["field"].unique() if field != "study"]
    for line in table.to_dict("records"):
        named = [(field, study_choice(field, protocol)) for field in fields] if line["field"] == "study" \
            else [(line["field"], line["choice"])]
        for field, choice in named:
            rows.append(_row(field, choice, "real_median", "real", line["real_median"], "preprocessing_effects"))
            rows.append(_row(field, choice, "gain", "real", line["real_gain"], "preprocessing_effects",
                             line["real_gain_low"], line["real_gain_high"]))
            rows.append(_row(field, choice, "gain", "drawn", line["synthetic_gain"], "preprocessing_effects"))
            rows += [_row(field, choice, result, "drawn", line[result], "preprocessing_effects",
                          line[f"{result}_low"], line[f"{result}_high"]) for result in ("shift", "score")]
    return rows


def _by_sampler(table: pd.DataFrame, protocol: Protocol, real: pd.Series, sets: list[str]) -> Rows:
    """Difference of the medians to real; the table's interval is of the shift to the reference sampler, not of this."""
    rows = [_row("sampler", "reference", "shift", "drawn", table["iou_median_reference"].iloc[0] - real["real"],
                 "samplers")] if len(table) else []
    for line in table.to_dict("records"):
        rows.append(_row("sampler", _sampler(line["sampler"], line["steps"]), "shift", "drawn",
                         line["iou_median"] - real["real"], "samplers"))
    return rows


def _by_rate(table: pd.DataFrame, protocol: Protocol, real: pd.Series, sets: list[str]) -> Rows:
    """Mean over the trainings of each rate; of medians, as single pairs aren't in the table."""
    means = table.groupby("learning_rate")[["iou_median", "gain"]].mean()
    rows = []
    for rate, line in means.iterrows():
        rows.append(_row("learning_rate", f"{rate:g}", "shift", "drawn", line["iou_median"] - real["real"],
                         "learning_rates"))
        rows.append(_row("learning_rate", f"{rate:g}", "gain", "drawn", line["gain"], "learning_rates"))
    return rows


def _by_channel_shift(table: pd.DataFrame, protocol: Protocol, real: pd.Series, sets: list[str]) -> Rows:
    """The encodings of the study: what the paper compares, as a scale for the rest."""
    table = table[(table["measure"] == "iou") & table["set"].isin(sets)]
    return [_row("third_channel", line["set"], "shift", "drawn", line["hodges_lehmann"], "effects",
                 line["hodges_lehmann_low"], line["hodges_lehmann_high"]) for line in table.to_dict("records")]


def _by_channel_gain(table: pd.DataFrame, protocol: Protocol, real: pd.Series, sets: list[str]) -> Rows:
    table = table[(table["measure"] == "iou") & table["set"].isin(sets)]
    return [_row("third_channel", line["set"], result, "drawn", line[result], "consistency", line[f"{result}_low"],
                 line[f"{result}_high"]) for line in table.to_dict("records") for result in ("gain", "score")]


def _by_split(table: pd.DataFrame, protocol: Protocol, real: pd.Series, sets: list[str]) -> Rows:
    return [_row("real_split", line["split"], line["result"], line["set"], line["value"], "pairs", line["low"],
                 line["high"]) for line in table.to_dict("records")]


def _by_test(table: pd.DataFrame, protocol: Protocol, real: pd.Series, sets: list[str]) -> Rows:
    wanted = {frozenset(pair) for pair in combinations(sets, 2)}
    return [_row("contrast_test", line["test"], "p", f"{line['first']} − {line['second']}", line["p"], "overlap")
            for line in table.to_dict("records") if frozenset((line["first"], line["second"])) in wanted]


_READERS: dict[str, Callable[[pd.DataFrame, Protocol, pd.Series, list[str]], Rows]] = {
    "mask_effects": _by_mask, "matching_audit": _by_matching, "preprocessing_effects": _by_preprocessing,
    "samplers": _by_sampler, "learning_rates": _by_rate, "effects": _by_channel_shift,
    "consistency": _by_channel_gain, "real_split": _by_split, "contrast_test": _by_test}


def _sampler(name: str, steps: float) -> str:
    return f"{name}, {steps:.0f} steps"
