"""B1's figures: does a pair follow its grade, and the pairs themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mammorgb_utils.diffusion.conditioning import GRADES
from mammorgb_utils.evaluation.sets import Indexed
from mammorgb_utils.experiments.conditional.arms import Drawn
from mammorgb_utils.experiments.conditional.tables import PRIMARY, Tables
from mammorgb_utils.output import style
from mammorgb_utils.output.pictures import gallery

MATCHED = {"foreground": "matched over the breast", "image": "matched over the image", "none": "not matched"}
_VIEWS = {"CC": ("o", -0.1), "MLO": ("s", 0.1)}  # marker, place beside
_VARIETY = {"coverage": ("Coverage", style.COLOURS["zero"], "D"),
            "diversity": ("Diversity, ratio to real", style.COLOURS["absdiff"], "^")}
_COLOUR = "#16325C"  # of guidance, the stronger the darker


@style.styled
def figure(tables: Tables) -> Figure:
    """A row a matching: concordance of tissue by guidance, its means by grade in each view, and variety by guidance.

    Without any row it says that nothing was trained.
    """
    scopes = list(dict.fromkeys(tables.obedience["match_scope"]))
    if not scopes:
        return _nothing()
    drawn = style.new_figure(style.DOUBLE_COLUMN, 8.0 + 58.0 * len(scopes))
    weights = sorted(tables.obedience["guidance"].dropna().unique())
    colours, letters = dict(zip(weights, sns.light_palette(_COLOUR, len(weights) + 1)[1:], strict=True)), []
    for place, scope in zip(drawn.subfigures(len(scopes), 1, squeeze=False).flat, scopes, strict=True):
        place.suptitle(MATCHED[scope].capitalize(), fontweight="bold")
        row = place.subplots(1, 4, width_ratios=(1.2, 1, 1, 1.1))
        row[2].sharey(row[1])
        letters += list(row)
        part = Tables(*(table[table["match_scope"] == scope] for table in tables))
        _concordance(row[0], part.obedience[part.obedience["judge"] == PRIMARY], weights, colours)
        for axes, view in zip(row[1:3], _VIEWS, strict=True):
            rows = part.calibration[(part.calibration["measure"] == "grade") & (part.calibration["view"] == view)]
            _calibration(axes, rows, view, colours)
        _variety(row[3], part.variety)
    handles = [Line2D([], [], linestyle="", marker=marker, color="white", markeredgecolor=style.EDGE, label=view)
               for view, (marker, _) in _VIEWS.items()]
    handles += [Line2D([], [], color=style.COLOURS["real"], marker="o", markersize=4, label="Real, held out")]
    handles += [Line2D([], [], color=colour, marker="o", markersize=4, label=f"w = {weight:g}")
                for weight, colour in colours.items()]
    handles += [Line2D([], [], label="Chance", **style.DASHED)]
    handles += [Line2D([], [], color=colour, marker=marker, markersize=4.5, linewidth=0.8, label=label,
                       markeredgecolor=style.EDGE, markeredgewidth=0.5) for label, colour, marker in _VARIETY.values()]
    drawn.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.0)
    style.panel_letters(letters)
    return drawn


def _nothing() -> Figure:
    drawn = style.new_figure(style.DOUBLE_COLUMN, 20.0)
    drawn.text(0.5, 0.5, "Nothing was trained: too few pairs of known density.", ha="center", va="center")
    return drawn


def _concordance(axes: Axes, rows: pd.DataFrame, weights: Sequence[float], colours: Mapping[float, str]) -> None:
    places = {"real": 0} | {weight: i + 1 for i, weight in enumerate(weights)}
    for row in rows[rows["view"].isin(_VIEWS)].itertuples():
        marker, beside = _VIEWS[row.view]
        key = row.guidance if row.set == "drawn" else "real"
        colour = colours.get(key, style.COLOURS["real"])
        axes.vlines(places[key] + beside, row.concordance_low, row.concordance_high, color=colour, linewidth=1.1)
        axes.plot(places[key] + beside, row.concordance, marker=marker, markersize=4.5, color=colour,
                  markeredgecolor=style.EDGE, markeredgewidth=0.5)
    axes.axhline(0.5, **style.DASHED)
    axes.set_xticks(list(places.values()), ["Real", *(f"{weight:g}" for weight in weights)])
    axes.set(xlim=(-0.5, len(weights) + 0.5), ylim=(min(0.35, axes.get_ylim()[0]), 1.03), xlabel="Guidance w",
             ylabel="Denser one has the higher score")


def _calibration(axes: Axes, rows: pd.DataFrame, view: str, colours: Mapping[float, str]) -> None:
    grades = [grade for grade in GRADES if grade in set(rows["grade"])]
    for number, (weight, part) in enumerate(rows.groupby("guidance")):
        part = part.set_index("grade").reindex(grades)  # a guidance may have left a grade without any breast
        if number == 0:
            axes.fill_between(range(len(grades)), part["real_low"], part["real_high"], color=style.BAND, linewidth=0)
            axes.plot(part["real"].to_numpy(), color=style.COLOURS["real"], marker=_VIEWS[view][0], markersize=4)
        x = np.arange(len(grades)) + 0.08 * (number - 1)
        axes.vlines(x, part["drawn_low"], part["drawn_high"], color=colours[weight], linewidth=1.0)
        axes.plot(x, part["drawn"], color=colours[weight], marker=_VIEWS[view][0], markersize=4, linewidth=1.0,
                  markeredgecolor=style.EDGE, markeredgewidth=0.4)
    axes.set_xticks(range(len(grades)), grades)
    axes.set(xlabel="Grade, asked for or real", ylabel=f"Mean score, {view}")


def _variety(axes: Axes, rows: pd.DataFrame) -> None:
    for number, (metric, (_, colour, marker)) in enumerate(_VARIETY.items()):
        part = rows[rows["metric"] == metric].sort_values("guidance").reset_index(drop=True)
        if part["value"].isna().all():
            axes.annotate("too few pairs", (0.5, 0.5), xycoords="axes fraction", ha="center", color=style.QUIET)
            continue
        x = part.index + 0.1 * (2 * number - 1)
        axes.fill_between((-0.4, len(part) - 0.6), *[2 * [part[name].mean()] for name in ("null_low", "null_high")],
                          color=colour, alpha=0.2, linewidth=0, zorder=0)
        axes.vlines(x, part["low"], part["high"], color=colour, linewidth=1.0)
        axes.plot(x, part["value"], color=colour, marker=marker, markersize=4.5, linewidth=0.8,
                  markeredgecolor=style.EDGE, markeredgewidth=0.5)
        axes.set_xticks(part.index, [f"{weight:g}" for weight in part["guidance"]])
    axes.set(xlabel="Guidance w", ylabel="Variety", ylim=(0, None))


@style.styled
def pairs_figure(real: Mapping[str, Indexed], drawn: Mapping[str, Drawn], chosen: Sequence[str],
                 noise: int = 0) -> Figure:
    """Pairs from one noise: a column a matching and grade, a real one first, then a row a guidance.

    Args:
        real: By matching held-out pairs with the column `grade` in their index; the first of each grade is shown.
        drawn: By matching what `arms.draw` gave; none where nothing was trained, which the figure says.
        chosen: Grades that were learned.
        noise: Which of the drawn pairs.
    """
    if not drawn:
        return _nothing()
    columns, pairs = [(scope, grade) for scope in drawn for grade in chosen], []
    for scope, grade in columns:
        views, index = real[scope]
        pairs.append(views[int((index["grade"] == grade).to_numpy().argmax())])
    weights = sorted({weight for weight, grade in next(iter(drawn.values())) if grade})
    pairs += [drawn[scope][weight, grade][noise] for weight in weights for scope, grade in columns]
    captions = [f"real {grade}, {MATCHED[scope].partition(' over')[0]}" for scope, grade in columns]
    captions += [f"w = {weight:g}, {grade}" for weight in weights for _, grade in columns]
    title = ", ".join(MATCHED[scope] for scope in drawn)
    return gallery(np.stack(pairs), captions, title=title.capitalize(), columns=len(columns))
