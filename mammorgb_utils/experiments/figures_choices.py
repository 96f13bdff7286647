"""Figures of what a choice moves: mask methods, and the map of open choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mammorgb_utils.output.style import (
    BAND,
    COLOURS,
    DOUBLE_COLUMN,
    EDGE,
    LABELS,
    MARKERS,
    QUIET,
    bare,
    format_p,
    format_rate,
    new_figure,
    panel_letters,
    present_sets,
    styled,
)

METHOD_LABELS = {"background": "Background", "otsu": "Otsu", "triangle": "Triangle", "watershed": "Watershed"}
_CONTOURS = {"background": ("#FFFFFF", "-"), "otsu": ("#E69F00", "--"), "triangle": ("#56B4E9", ":"),
             "watershed": ("#D55E00", "-")}
FIELD_LABELS = {
    "mask_method": "Mask method", "match_scope": "Pixels that matching sees", "aspect": "To a square: squash or pad",
    "sum_scale": "Scale of the sum", "real_split": "Real set: held out or not", "images_or_pairs":
    "11,020: images or pairs", "sampler": "Sampler and steps", "sampling_weights": "EMA or raw weights",
    "ema_decay": "Decay of the EMA", "lr_schedule": "Learning-rate schedule", "warmup_steps": "Warm-up",
    "weight_decay": "Weight decay", "max_grad_norm": "Gradient clipping", "contrast_test": "Test between encodings",
    "third_channel": "Third channel (against zero)", "learning_rate": "Learning rate (against 1e-5)",
    "mirror": "Mirroring", "reference_cdf": "Matching's reference"}
_PANELS = {"real_median": "Real: median IoU", "shift": "Synthetic − real: IoU", "gain": "Paired − shuffled: IoU"}
_DRAWN = {"color": QUIET, "marker": "X"}  # pairs drawn in an appendix
_REACH = 3.0  # equivalence margins to either side that the map shows
_OFFSETS = {"real": -0.24, "sum": -0.08, "absdiff": 0.08, "zero": 0.24, "drawn": 0.0}


@styled
def mask_agreement(table: pd.DataFrame, examples: Sequence[tuple[str, np.ndarray, Mapping[str, np.ndarray]]], *,
                   method: str) -> Figure:
    """Contours of every mask method on example pairs, and how well the methods agree.

    Args:
        table: What `evaluation.mask_agreement.mask_agreement` returned.
        examples: What `mask_examples` chose: title, `(2, H, W)` views, and method to `(2, H, W)` bool.
        method: The study's own, which the others are held against.

    Returns:
        Above the views; below the median IoU of each method with the study's own in CC and MLO views, by set, and, for
        phantoms, with the truth. Bars cover 95 %.
    """
    figure = new_figure(DOUBLE_COLUMN, 104.0)
    above, below = figure.subfigures(2, 1, height_ratios=(1.0, 1.65))
    tops = above.subplots(1, 2 * len(examples), squeeze=False)[0]
    for number, (title, views, masks) in enumerate(examples):
        for axes, view, column in zip(tops[2 * number:2 * number + 2], ("CC", "MLO"), (0, 1), strict=True):
            _contours(axes, views[column], {name: drawn[column] for name, drawn in masks.items()})
            axes.set_title(f"{title}\n{view}" if column == 0 else f"\n{view}", pad=3)
    truth = (table[["first", "second"]] == "truth").any(axis=1)
    panels = below.subplots(1, 3 if truth.any() else 2, sharey=True)
    for axes, view in zip(panels, ("CC", "MLO"), strict=False):
        _agreement(axes, _against(table[(table["view"] == view) & ~truth], method), "set", COLOURS)
        axes.set_title(f"{view}, with the {METHOD_LABELS[method].lower()} mask")
    if truth.any():
        _agreement(panels[2], _against(table[truth], "truth"), "view", {"CC": EDGE, "MLO": COLOURS["absdiff"]})
        panels[2].set_title("With the phantoms' truth")
    panels[0].set_ylabel("IoU of two masks of one view")
    _agreement_legend(below, table["set"], list(examples[0][2]), truth.any())
    panel_letters([tops[0], *panels], pad=3)
    return figure


def _contours(axes: Axes, view: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
    axes.imshow(np.sqrt(view), vmin=0.0, vmax=1.0)  # the root lifts the dim skin line
    for method, mask in masks.items():
        colour, line = _CONTOURS[method]
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[colour], linestyles=[line], linewidths=0.8)
    bare(axes)


def _against(table: pd.DataFrame, other: str) -> pd.DataFrame:
    """The rows in which one of the two is `other`, with the remaining one as `method`."""
    rows = table[(table[["first", "second"]] == other).any(axis=1)]
    return rows.assign(method=rows["first"].where(rows["first"] != other, rows["second"]))


def _agreement(axes: Axes, rows: pd.DataFrame, by: str, colours: Mapping[str, str]) -> None:
    methods = [name for name in METHOD_LABELS if name in set(rows["method"])]
    groups = [name for name in colours if name in set(rows[by])]
    for number, group in enumerate(groups):
        part = rows[rows[by] == group].set_index("method").reindex(methods)
        x = np.arange(len(methods)) + 0.13 * (number - (len(groups) - 1) / 2.0)
        axes.vlines(x, part["iou_low"], part["iou_high"], color=EDGE, linewidth=0.8)
        axes.plot(x, part["iou_median"], linestyle="", marker=MARKERS.get(group, "o" if group == "CC" else "v"),
                  markersize=4.0, color=colours[group], markeredgecolor=EDGE, markeredgewidth=0.5)
    axes.set_xticks(range(len(methods)), [METHOD_LABELS[name] for name in methods])
    axes.set_xlim(-0.5, len(methods) - 0.5)
    axes.axhline(1.0, color=QUIET, linewidth=0.5)


def _agreement_legend(figure: Any, names: pd.Series, methods: Sequence[str], with_truth: bool) -> None:
    marks = [Line2D([], [], linestyle="", marker=MARKERS[name], markersize=4.0, color=COLOURS[name],
                    markeredgecolor=EDGE, markeredgewidth=0.5, label=LABELS[name]) for name in present_sets(names)]
    marks += [Line2D([], [], linestyle="", marker=marker, markersize=4.0, color=colour, markeredgecolor=EDGE,
                     markeredgewidth=0.5, label=f"{view} to truth")
              for view, marker, colour in (("CC", "o", EDGE), ("MLO", "v", COLOURS["absdiff"])) if with_truth]
    lines = [Line2D([], [], color=EDGE if name == "background" else _CONTOURS[name][0], linestyle=_CONTOURS[name][1],
                    label=METHOD_LABELS[name] + (" (white)" if name == "background" else "")) for name in methods]
    figure.legend(handles=[*marks, *lines], loc="outside lower center", ncols=(len(marks) + len(lines) + 1) // 2,
                  columnspacing=1.2, handletextpad=0.5)


@styled
def open_choices(table: pd.DataFrame, *, margin: float) -> Figure:
    """How far each open choice moves the main results.

    Args:
        table: What `evaluation.open_choices.open_choices` returned.
        margin: Equivalence margin of IoU, drawn as a band.

    Returns:
        A row a field; in three panels the move of the real median, of the shift between synthetic and real, and of
        the gain of pairing. A mark a choice and set, the farthest one named; bars are the 95 % interval of the
        choice's own value, where the table has one; beyond `_REACH` margins stands an arrow with the value. A shift
        is Hodges–Lehmann's, for samplers and learning rates the difference of medians, without a bar. Fields without
        a result say so.
    """
    fields = list(dict.fromkeys(table["field"]))
    figure = new_figure(DOUBLE_COLUMN, 22.0 + 6.4 * len(fields))
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (result, title) in zip(panels, _PANELS.items(), strict=True):
        axes.axvspan(-margin, margin, color=BAND, linewidth=0, zorder=0)
        axes.axvline(0.0, color=QUIET, linewidth=0.6, zorder=1)
        for place, field in enumerate(fields):
            _moves(axes, place, table[(table["field"] == field) & (table["result"] == result)])
        axes.set(title=title, xlabel="Moved by [IoU]")
        axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(fields)), [FIELD_LABELS.get(field, field) for field in fields])
    panels[0].set_ylim(len(fields) - 0.4, -0.6)
    reach = _widen(panels, margin)
    for axes, result in zip(panels, _PANELS, strict=True):
        for place, field in enumerate(fields):
            rows = _moved_rows(table[(table["field"] == field) & (table["result"] == result)])
            _mark_beyond(axes, place, rows, reach)
            _name_farthest(axes, place, rows, reach)
    for place, field in enumerate(fields):
        _remark(panels, place, table[table["field"] == field])
    stated = [field for field in fields if not table.loc[table["field"] == field, "open"].all()]
    for axes in panels if stated else ():
        axes.axhline(len(fields) - len(stated) - 0.5, color=EDGE, linewidth=0.6)
    _choice_legend(figure, table, margin)
    panel_letters(panels)
    return figure


def _moves(axes: Axes, place: int, rows: pd.DataFrame) -> None:
    for row in _moved_rows(rows).to_dict("records"):
        name = row["choice"] if row["field"] == "third_channel" else row["set"]
        y = place + _OFFSETS.get(name, 0.0)
        axes.hlines(y, row["move_low"], row["move_high"], color=EDGE, linewidth=0.6, zorder=3)
        style = {"color": COLOURS[name], "marker": MARKERS[name]} if name in COLOURS else _DRAWN
        axes.plot(row["moved_by"], y, **style, markersize=3.8, markeredgecolor=EDGE, markeredgewidth=0.4, zorder=4)


def _moved_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The choices that aren't the one compared with, with their intervals as moves."""
    rows = rows[rows["moved_by"].notna() & (rows["choice"] != rows["against"])]
    base = rows["value"] - rows["moved_by"]
    return rows.assign(move_low=rows["low"] - base, move_high=rows["high"] - base)


def _mark_beyond(axes: Axes, place: int, rows: pd.DataFrame, reach: float) -> None:
    """Arrows at the panel's edge for moves that lie outside it, so that one of them doesn't hide all others."""
    for move in rows.loc[rows["moved_by"].abs() > reach, "moved_by"]:
        side = np.sign(move)
        axes.plot(side * reach, place, marker=">" if side > 0 else "<", markersize=4.0, color=EDGE, zorder=5)
        axes.annotate(f"{move:+.2f}", (side * reach, place), xytext=(-5 * side, 4), textcoords="offset points",
                      ha="right" if side > 0 else "left", va="center", fontsize=5.5, color=EDGE, zorder=5)


def _name_farthest(axes: Axes, place: int, rows: pd.DataFrame, reach: float) -> None:
    """The name of the choice that moves most, on the side where there is more room."""
    if rows.empty:
        return
    far = rows.loc[rows["moved_by"].abs().idxmax()]
    ends = rows[["moved_by", "move_low", "move_high"]].clip(-reach, reach).to_numpy(float)
    low, high = min(np.nanmin(ends), 0.0), max(np.nanmax(ends), 0.0)
    right = high <= -low
    name = format_rate(float(far["choice"])) if far["field"] == "learning_rate" else str(far["choice"])
    axes.annotate(METHOD_LABELS.get(name, LABELS.get(name, name)), (high if right else low, place),
                  xytext=(4 if right else -4, 0), textcoords="offset points", va="center",
                  ha="left" if right else "right", fontsize=5.5, color=EDGE, zorder=5)


def _widen(panels: Sequence[Axes], margin: float) -> float:
    """One scale for all panels, zero in the middle, so that moves can be compared across them; how far it goes."""
    reach = min(max(abs(end) for axes in panels for end in axes.get_xlim()), _REACH * margin)
    for axes in panels:
        axes.set_xlim(-1.1 * reach, 1.1 * reach)
    return reach


def _remark(panels: Sequence[Axes], place: int, rows: pd.DataFrame) -> None:
    """What a row says in words: that nothing was run, or the p-values under each test."""
    if (rows["source"] == "not run").all():
        panels[1].text(0.5, place, "not run", transform=panels[1].get_yaxis_transform(), ha="center", va="center",
                       color=QUIET, fontstyle="italic", fontsize=6.0)
    tests = rows[(rows["result"] == "p") & rows["value"].notna()]
    ranges = [f"{' − '.join(LABELS[name] for name in pair.split(' − '))}: {_p_range(part['value'])}"
              for pair, part in tests.groupby("set", sort=False)]
    if ranges:
        text = panels[-1].text(1.0, place, "; ".join(ranges), transform=panels[-1].get_yaxis_transform(), ha="right",
                               va="center", fontsize=5.5, color=EDGE, zorder=6,
                               bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})
        text.set_in_layout(False)  # it runs over all panels


def _p_range(values: pd.Series) -> str:
    low, high = format_p(values.min()), format_p(values.max())
    return low if low == high else f"{low} to {high.removeprefix('p ').removeprefix('= ')}"


def _choice_legend(figure: Figure, table: pd.DataFrame, margin: float) -> None:
    shown = table[table["moved_by"].notna()]
    handles = [Line2D([], [], linestyle="", marker=MARKERS[name], markersize=4.0, color=COLOURS[name],
                      markeredgecolor=EDGE, markeredgewidth=0.4, label=LABELS[name])
               for name in present_sets(shown["set"])]
    if (shown["set"] == "drawn").any():
        handles.append(Line2D([], [], linestyle="", **_DRAWN, markersize=4.0, markeredgecolor=EDGE,
                              markeredgewidth=0.4, label="Drawn pairs"))
    handles.append(Patch(facecolor=BAND, label=f"Equivalence margin ±{margin:g}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.0,
                  title="The choice that moves most is named. Below the line: what the paper states.",
                  title_fontproperties={"size": 6.0})
