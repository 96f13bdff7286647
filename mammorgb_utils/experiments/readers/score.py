"""What readers could tell: accuracy, area under the curve, agreement, ratings, artefacts, and the size it takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from mammorgb_utils.evaluation.statistics import rate_row, wilson
from mammorgb_utils.experiments.readers.agreement import accuracy, auc, kappa, n_for_accuracy, n_for_auc
from mammorgb_utils.experiments.readers.files import ARTEFACTS, SCALE, read_key, read_results
from mammorgb_utils.output import style
from mammorgb_utils.output.saving import save_figure, save_table
from mammorgb_utils.output.tables import rounded
from mammorgb_utils.protocol import SET_ORDER
from mammorgb_utils.streams import Stream, generator

SMALLEST = 0.6  # accuracy that a study should be able to tell from guessing, fixed beforehand
HALF_WIDTH = 0.05  # of the interval of an area that counts as known
SIMULATED = "Simulated answers: they try the method out and say nothing about the images."
KINDS = (*ARTEFACTS, "any")
_COLUMNS = ("reader", "measure", "set", "n", "estimate", "low", "high", "interval")
_LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))  # one a reader, round and round


def score_readers(readings: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Score each reader of `read_results`. Repeats count in the agreement within a reader alone.

    Returns:
        `reader`, `measure`, `set` (empty: real against all synthetic), `n`, `estimate`, `low`, `high`, `interval` (its
        method). Measures: accuracy; share called synthetic; AUC of signed confidence; agreement of repeats (kappa of
        origin, quadratic kappa of consistency); median consistency; AUC of consistency (chance that a real pair is
        rated higher than a synthetic one); agreement of two readers, named `a & b`; answers or images needed.
        A measure without both classes is left out, an interval that doesn't exist is NaN.
    """
    rows = []
    first = dict(list(readings[readings["repeat_of"] == ""].groupby("reader", sort=True)))
    for reader, part in readings.groupby("reader", sort=True):
        again = part[part["repeat_of"] != ""]
        both = again.merge(part, left_on="repeat_of", right_on="case", suffixes=("_2", "_1"))
        rows += [(reader, *row) for row in (*_origin(first[reader]), *_ratings(first[reader]),
                                            *_kappas("within", both, seed), *_needed(first[reader]))]
    for one, two in combinations(first, 2):
        both = first[one].merge(first[two], on="case", suffixes=("_1", "_2"))
        rows += [(f"{one} & {two}", *row) for row in _kappas("between", both, seed)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def artefact_rates(readings: pd.DataFrame) -> pd.DataFrame:
    """How often each reader saw each kind of artefact in each set, repeats left out.

    Returns:
        `reader`, `set` (at the end `synthetic`, all of them together), `artefact` (a kind, or `any`), `n`, `count`,
        `rate`, `low`, `high` (95 %, Wilson).
    """
    first = readings[readings["repeat_of"] == ""]
    first = first.assign(any=first[list(ARTEFACTS)].any(axis=1))
    both = pd.concat([first, first[first["synthetic"]].assign(set="synthetic")])
    parts = dict(list(both.groupby(["reader", "set"])))
    rows = [{"reader": reader, "set": name, "artefact": kind} | rate_row(parts[reader, name][kind])
            for reader in sorted(readings["reader"].unique()) for name in (*SET_ORDER, "synthetic")
            if (reader, name) in parts for kind in KINDS]
    return pd.DataFrame(rows).astype({"count": int})


def remark(readings: pd.DataFrame) -> str:
    """What a caption must say of the answers: nothing where readers gave them."""
    return SIMULATED if readings["simulated"].any() else ""


def _origin(first: pd.DataFrame) -> Iterator[tuple]:
    said = first["origin"] == "synthetic"
    yield "accuracy", "", len(first), *accuracy((said == first["synthetic"]).sum(), len(first)), "exact"
    for name in style.present_sets(first["set"]):
        mine = said[first["set"] == name]
        yield "called synthetic", name, len(mine), *wilson(int(mine.sum()), len(mine)), "Wilson"
    for name, fake, real in _contrasts(first):
        yield "AUC", name, len(fake) + len(real), *_area(fake["score"], real["score"])


def _ratings(first: pd.DataFrame) -> Iterator[tuple]:
    for name in style.present_sets(first["set"]):
        mine = first.loc[first["set"] == name, "consistency"]
        low, median, high = np.percentile(mine, [25, 50, 75])
        yield "consistency, median", name, len(mine), median, low, high, "quartiles"
    for name, fake, real in _contrasts(first):
        yield "consistency, AUC", name, len(fake) + len(real), *_area(real["consistency"], fake["consistency"])


def _contrasts(first: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """All synthetic pairs against the real ones, then set by set where there are several."""
    real, fake = first[~first["synthetic"]], first[first["synthetic"]]
    names = style.present_sets(fake["set"])
    for name in ["", *(names if len(names) > 1 else ())]:
        part = fake if name == "" else fake[fake["set"] == name]
        if len(part) and len(real):
            yield name, part, real


def _area(high: pd.Series, low: pd.Series) -> tuple:
    area = auc(high, low)
    return *area, "Newcombe" if area.estimate in (0.0, 1.0) else "DeLong"


def _kappas(what: str, both: pd.DataFrame, seed: int) -> Iterator[tuple]:
    """Agreement of two readings of the same cases: columns end in `_1` and `_2`."""
    for field in ("origin", "consistency") if len(both) else ():
        ordinal = {"weights": "quadratic", "labels": SCALE} if field == "consistency" else {}
        found = kappa(both[f"{field}_1"], both[f"{field}_2"], **ordinal,
                      seed=int(generator(seed, Stream.READER_SCORE).integers(2**31)))
        yield f"kappa {what}, {field}", "", len(both), *found, "bootstrap"


def _needed(first: pd.DataFrame) -> Iterator[tuple]:
    """Sizes for the effect fixed beforehand, then for those that were seen, where they differ from guessing."""
    none = (float("nan"), float("nan"))
    right = ((first["origin"] == "synthetic") == first["synthetic"]).mean()
    for share, text in ((SMALLEST, f"accuracy {SMALLEST:.2f}"), (right, f"accuracy seen, {right:.2f}")):
        if share != 0.5:
            yield f"answers needed: {text}", "", len(first), n_for_accuracy(share), *none, "80 % power"
    for _, fake, real in list(_contrasts(first))[:1]:
        area = auc(fake["score"], real["score"]).estimate
        if 0.0 < area < 1.0:
            yield (f"images needed: AUC {area:.2f} ± {HALF_WIDTH:.2f}", "", len(first), 2 * n_for_auc(area, HALF_WIDTH),
                   *none, "95 % interval")


@style.styled
def figure(readings: pd.DataFrame, table: pd.DataFrame, rates: pd.DataFrame) -> Figure:
    """What readers could tell, from `read_results`, `score_readers` and `artefact_rates`.

    ROC curve of each reader's signed confidence; how often each set was called synthetic; consistency ratings by set,
    all readers together; artefacts in real and in all synthetic pairs, a mark a reader. Where answers are simulated,
    the figure says so.
    """
    drawn = style.new_figure(style.DOUBLE_COLUMN, 145.0)
    grid = drawn.subplots(2, 2, height_ratios=(1, 1.25))
    first = readings[readings["repeat_of"] == ""]
    sets = style.present_sets(first["set"])
    _roc(grid[0, 0], first, table[(table["measure"] == "AUC") & (table["set"] == "")].set_index("reader"))
    called = table[table["measure"] == "called synthetic"]
    _intervals(grid[0, 1], called.rename(columns={"estimate": "rate"}), "set", sets, 0.5, upright=True)
    grid[0, 1].axhline(0.5, **style.DASHED)
    grid[0, 1].set_xticks(range(len(sets)), [style.LABELS[name].replace(" ", "\n") for name in sets])
    grid[0, 1].set(xlim=(-0.5, len(sets) - 0.5), ylim=(0, 1), ylabel="Called synthetic")
    _consistency(grid[1, 0], first, sets)
    shown = rates[rates["set"].isin(["real", "synthetic"])]
    _intervals(grid[1, 1], shown, "artefact", KINDS, 0.85, upright=False)
    grid[1, 1].set_yticks(range(len(KINDS)), [*(label for label, _ in ARTEFACTS.values()), "Any"])
    grid[1, 1].invert_yaxis()
    grid[1, 1].set(xlim=(0, None), xlabel="Pairs in which it was seen")
    for axis in (grid[0, 1].yaxis, grid[1, 0].xaxis, grid[1, 1].xaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    handles = [Line2D([], [], linestyle="", label=style.LABELS.get(name, "All synthetic"), **_mark(name))
               for name in (*sets, "synthetic")]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    if readings["simulated"].any():
        drawn.suptitle("Simulated answers: no reader has seen these images", fontweight="bold")
    style.panel_letters(grid.flat)
    return drawn


def _roc(axes: Axes, first: pd.DataFrame, areas: pd.DataFrame) -> None:
    cuts = [*range(-SCALE[-1], 0), *range(1, SCALE[-1] + 2)]
    for number, (reader, mine) in enumerate(first.groupby("reader", sort=True)):
        curve = [[(mine.loc[mine["synthetic"] == fake, "score"] >= cut).mean() for cut in cuts]
                 for fake in (False, True)]
        label = reader
        if reader in areas.index:
            label = "{}: AUC {:.2f} ({:.2f} to {:.2f})".format(reader, *areas.loc[reader, ["estimate", "low", "high"]])
        axes.plot(*curve, marker="o", markersize=2.5, color=style.EDGE, linestyle=_LINES[number % len(_LINES)],
                  label=label, clip_on=False)
    axes.plot([0, 1], [0, 1], **style.DASHED)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Real pairs called synthetic", ylabel="Synthetic pairs called synthetic")
    axes.legend(loc="lower right", handlelength=2.2)


def _consistency(axes: Axes, first: pd.DataFrame, sets: list[str]) -> None:
    shares = pd.crosstab(first["set"], first["consistency"], normalize="index")
    shares = shares.reindex(index=sets, columns=list(SCALE), fill_value=0.0)
    shares.index = [style.LABELS[name].replace(" ", "\n") for name in sets]
    greys = list(colormaps["Greys"](np.linspace(0.1, 0.85, len(SCALE))))
    shares.plot.barh(ax=axes, stacked=True, color=greys, edgecolor=style.EDGE, linewidth=0.5, width=0.62)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="Ratings of consistency, 1 (surely not one breast) to 5 (surely one)", ylabel="")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(SCALE), handlelength=1.2, columnspacing=1.2)


def _intervals(axes: Axes, table: pd.DataFrame, by: str, order: Sequence[str], room: float, *, upright: bool) -> None:
    """A rate and its interval for each reader and set, at the places of `order`."""
    groups, readers = dict(list(table.groupby(["set", "reader"]))), sorted(table["reader"].unique())
    for (name, reader), rows in groups.items():
        beside, own = (readers, reader) if by == "set" else (list(groups), (name, reader))
        place = rows[by].map(list(order).index) + room * ((beside.index(own) + 0.5) / len(beside) - 0.5)
        away = [rows["rate"] - rows["low"], rows["high"] - rows["rate"]]
        where = {"x": place, "y": rows["rate"], "yerr": away} if upright else \
            {"x": rows["rate"], "y": place, "xerr": away}
        axes.errorbar(**where, linestyle="", ecolor=style.COLOURS.get(name, style.EDGE), elinewidth=1.1, clip_on=False,
                      **_mark(name))


def _mark(name: str) -> dict[str, object]:
    """Marker and fill of a set; all synthetic sets together are open."""
    return style.mark(name) if name in style.MARKERS else style.mark("real") | {"marker": "p", "color": "white"}


def command(options: argparse.Namespace) -> None:
    """What `mammorgb reader-study score` does: score results, print the table, and write tables and figure."""
    key = read_key(options.key)
    readings = read_results(options.results, key)
    table, rates = score_readers(readings), artefact_rates(readings)
    note = remark(readings)
    out = options.out or options.key.resolve().parent.parent / "scores"
    save_table(table, out, "reader_study", remark=note)
    save_table(rates, out, "reader_study_artefacts", remark=note)
    save_figure(figure(readings, table, rates), out, "reader_study")
    print(rounded(table).to_string(index=False))
    if note:
        print(note)
    print(f"{out}: tables reader_study and reader_study_artefacts, figure reader_study")
