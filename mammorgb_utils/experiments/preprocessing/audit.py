"""What matching and framing do to the masks of real pairs: overlap of breasts and of strangers, before and after."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from tqdm import tqdm

from mammorgb_utils.data.batch.workers import map_isolated
from mammorgb_utils.data.dicom import Mammogram, RejectedImage
from mammorgb_utils.data.pairs import kept_images
from mammorgb_utils.data.preprocess import ReferenceCDF, frame_view, load_reference_cdf, preprocessing_steps, read_view
from mammorgb_utils.evaluation.consistency import pairing_gain, shuffled_overlap
from mammorgb_utils.evaluation.overlap import PairMasks, masks_by_method, pair_metrics, plausible
from mammorgb_utils.evaluation.statistics import Effect, Sample, median_draws, patient_of
from mammorgb_utils.output.style import BAND, COLOURS, DOUBLE_COLUMN, EDGE, new_figure, panel_letters, styled
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run, exclusive, read_table, sha256, write_csv, write_json
from mammorgb_utils.streams import Stream, generator

MAX_PAIRS = 150  # read anew: medians to about 0.01 of IoU, in a minute on one core for phantoms
# Levels of the three fields, with their names in the figure.
SCOPES = {"none": "before\nmatching", "image": "whole\nimage", "foreground": "breast\nonly"}  # `match_scope`
ASPECTS = {"squash": "squashed", "pad": "padded"}
MASK_METHODS = ("background", "otsu")  # beside the study's own
CELL = ["match_scope", "aspect", "mask_method"]
_SECONDS = 180.0  # for both views of a pair and their masks


def matching_audit(run: Run, index: pd.DataFrame, *, max_pairs: int = MAX_PAIRS,
                   progress: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Overlap and areas of real pairs for every matching, framing and mask method, computed once a study.

    Views are read from their files anew. Writes `pairs/audit.csv`, `pairs/audit_shuffled.csv` and, last, the
    record of what they were made from; a finished audit is loaded, a killed one starts over.

    Args:
        index: Rows of `pairs/index.csv`: the real pairs that synthetic ones are compared against.
        max_pairs: More than these are sampled, by the protocol's seed.

    Returns:
        One row a cell and pair: `match_scope`, `aspect`, `mask_method` (the cell), `pair`, `patient`, the columns
        of `pair_metrics`, `plausible` (areas judged by those before matching, same framing, background mask),
        `excluded` (a reason code where a view couldn't be read: all else is NaN, in every cell). And one row a
        cell and shuffled pair: the cell and the columns of `shuffled_overlap`, same partners in every cell that
        has all masks.
    """
    reference = load_reference_cdf(run.protocol)
    made_from = {"reference_sha256": reference.sha256, "index_sha256": sha256(run.pairs_index), "max_pairs": max_pairs}
    *files, record = (run.pairs.with_name(name) for name in ("audit.csv", "audit_shuffled.csv", "audit.json"))
    with exclusive(run.pairs.parent):
        there = all(file.is_file() for file in (*files, record))
        if not there or json.loads(record.read_text(encoding="utf-8")) != made_from:
            rng = generator(run.protocol.seed, Stream.AUDIT_PAIRS)
            rows = np.sort(rng.choice(len(index), min(len(index), max_pairs), replace=False))
            for file, table in zip(files, _audited(run, index.iloc[rows], reference, progress), strict=True):
                write_csv(file, table)
            write_json(record, made_from)
    audit, shuffled = (read_table(file) for file in files)
    return audit.assign(excluded=audit["excluded"].astype(object).fillna("")), shuffled


def cells(protocol: Protocol) -> pd.DataFrame:
    """Every matching, framing and mask method that a study audits, a row each; its own are among them."""
    methods = dict.fromkeys((*MASK_METHODS, protocol.mask_method))
    return pd.DataFrame(product(methods, SCOPES, ASPECTS), columns=["mask_method", "match_scope", "aspect"])[CELL]


def audit_summary(audit: pd.DataFrame, shuffled: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """The two tables of `matching_audit` in one row a matching, framing and mask method.

    Matching over the whole image pulls areas toward the reference's, which makes strangers overlap as well:
    the spread of areas shows the pull, and the gain is what is left of the pairing.

    Returns:
        The cell; `n` (pairs with IoU), `n_nan` (both masks empty), `excluded` (a view couldn't be read);
        `paired_median`, `gain` (paired − shuffled), each with `_low`, `_high` (95 %, bootstrap over patients);
        `shuffled_median`; `area_mean`, `area_sd` (% of the image, over every mask that isn't empty); `plausible`
        (share of the pairs read); `no_muscle_median`.
    """
    strangers = {cell: shuffled[:0] for cell in audit.groupby(CELL).groups} | dict(list(shuffled.groupby(CELL)))
    return pd.DataFrame([dict(zip(CELL, cell, strict=True)) | _cell_row(rows, strangers[cell], protocol)
                         for cell, rows in audit.groupby(CELL, sort=False)])


def difference_from_study(audit: pd.DataFrame, pairs: np.ndarray, index: pd.DataFrame, protocol: Protocol) -> float:
    """Largest difference in IoU between the audit's cell of the study's own choice and the pairs that it stored.

    Args:
        audit: What `matching_audit` returns.
        pairs, index: `(N, 2, H, W)` float32 in [0, 1], preprocessed, and their rows of `pairs/index.csv`.
        protocol: Its `match_scope`, `aspect` and `mask_method` name the cell.

    Returns:
        0 when the audit saw what the study uses; infinite where only one of them has a mask.
    """
    own = audit[(audit[CELL] == [getattr(protocol, name) for name in CELL]).all(axis=1) & (audit["excluded"] == "")]
    own = own.set_index("pair")["iou"]
    rows = index.index[index["pair"].isin(own.index)]
    stored = pair_metrics(pairs[rows], method=protocol.mask_method).set_index(index["pair"].loc[rows])["iou"]
    one_sided = own.isna() != stored.isna().reindex(own.index)
    return float("inf") if one_sided.any() else float((own - stored).abs().fillna(0.0).max())


def _audited(run: Run, chosen: pd.DataFrame, reference: ReferenceCDF,
             progress: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables; masks wait for their shuffling as packed bits."""
    paths = kept_images(run).pivot(index="pair", columns="view", values="path").loc[chosen["pair"]]
    items = [(row.Index, run.manifest.parent / row.CC, run.manifest.parent / row.MLO) for row in paths.itertuples()]
    work = partial(_masks_of_pair, reference=reference, protocol=run.protocol)
    tables, bits, every = [], {}, cells(run.protocol)
    with closing(map_isolated(work, items, seconds=_SECONDS)) as results:
        for (pair, *_), result in tqdm(results, total=len(items), desc="audit", unit="pair", mininterval=2,
                                       disable=not progress):
            if isinstance(result, RejectedImage):
                tables.append(every.assign(pair=pair, excluded=result.code))
            else:
                tables.append(every.join(result[0]).assign(pair=pair, excluded=""))
                bits[pair] = result[1]
    if not bits:
        raise ValueError(f"audit: none of {len(chosen)} real pairs can be read any more; are the manifest's files "
                         "still in their place?")
    owner = chosen.set_index("pair")["patient"]
    shuffled = [_shuffled({pair: packed[cell] for pair, packed in bits.items()}, owner, run.protocol).assign(**labels)
                for cell, labels in enumerate(every.to_dict("records"))]
    return (_ordered(pd.concat(tables, ignore_index=True), owner, every),
            _led_by(CELL, pd.concat(shuffled, ignore_index=True)))


def _masks_of_pair(item: tuple[str, Path, Path], reference: ReferenceCDF,
                   protocol: Protocol) -> tuple[pd.DataFrame, np.ndarray]:
    """The metrics of one pair, a row a cell, and its masks as bits: `(cells, 3, H, W/8)`, CC, MLO, muscle."""
    pairs = np.stack([view_in_cells(read_view(path, protocol), reference, protocol) for path in item[1:]], axis=1)
    masks = list(masks_by_method(pairs, cells(protocol)["mask_method"].unique()).values())
    metrics = pd.concat([pair_metrics(pairs, masks=found) for found in masks], ignore_index=True)
    drawn = np.concatenate([np.concatenate([found.breast, found.muscle[:, None]], axis=1) for found in masks])
    return metrics, np.packbits(drawn, axis=-1)


def view_in_cells(mammogram: Mammogram, reference: ReferenceCDF, protocol: Protocol) -> np.ndarray:
    """One view under every matching and framing, in the order of `cells`, each as `preprocess_view` gives it.

    A matching is done once for both framings, which halves the time.
    """
    views = []
    for scope in SCOPES:
        choice = protocol.model_copy(update={"match_scope": scope})
        matched = preprocessing_steps(mammogram, reference, choice)["matched"]
        views += [frame_view(matched, choice.model_copy(update={"aspect": aspect})) for aspect in ASPECTS]
    return np.stack(views)


def _shuffled(bits: dict[str, np.ndarray], owner: pd.Series, protocol: Protocol) -> pd.DataFrame:
    names, drawn = list(bits), np.unpackbits(np.stack(list(bits.values())), axis=-1).astype(bool)
    unused = np.zeros((len(drawn), 2))
    masks = PairMasks(breast=drawn[:, :2], muscle=drawn[:, 2], left=unused.astype(bool), largest=unused)
    return shuffled_overlap(masks, n_draws=protocol.n_derangements, seed=protocol.seed, pairs=names,
                            patients=owner.loc[names])


def _ordered(audit: pd.DataFrame, owner: pd.Series, every: pd.DataFrame) -> pd.DataFrame:
    """Rows cell by cell, the pair's patient and the plausibility of its masks added."""
    audit = audit.assign(patient=audit["pair"].map(owner), plausible=False)
    for aspect in ASPECTS:
        rows = (audit["aspect"] == aspect) & (audit["excluded"] == "")
        before = audit[rows & (audit["match_scope"] == "none") & (audit["mask_method"] == "background")]
        if len(before):
            audit.loc[rows, "plausible"] = plausible(audit[rows], before)
    return _led_by([*CELL, "pair", "patient"], every.merge(audit, on=CELL))


def _led_by(names: list[str], table: pd.DataFrame) -> pd.DataFrame:
    return table[[*names, *table.columns.difference(names, sort=False)]]


def _cell_row(rows: pd.DataFrame, strangers: pd.DataFrame, protocol: Protocol) -> dict[str, object]:
    kept = rows[rows["excluded"] == ""]
    known = kept[kept["iou"].notna()]
    row = {"n": len(known), "n_nan": len(kept) - len(known), "excluded": len(rows) - len(kept)}
    if known.empty or strangers["iou"].isna().all():
        return row
    areas = 100.0 * kept[["cc_area", "mlo_area"]].to_numpy(float)
    areas = areas[areas > 0.0]
    gain, draws = pairing_gain(kept, strangers, n_bootstrap=protocol.n_bootstrap, seed=protocol.seed)
    medians = median_draws(Sample(known["iou"].to_numpy(float), patient_of(known)), protocol.n_bootstrap,
                           generator(protocol.seed, Stream.AUDIT_MEDIANS))
    low, high = np.nanquantile(medians, [0.025, 0.975])
    return row | {"paired_median": known["iou"].median(), "paired_low": low, "paired_high": high,
                  "shuffled_median": strangers["iou"].median(),
                  **Effect(gain, *np.nanquantile(draws, [0.025, 0.975])).columns("gain"), "area_mean": areas.mean(),
                  "area_sd": areas.std(ddof=1), "plausible": kept["plausible"].astype(bool).mean(),
                  "no_muscle_median": known["iou_no_muscle"].median()}


@styled
def figure(audit: pd.DataFrame, shuffled: pd.DataFrame) -> Figure:
    """How histogram matching and framing move the overlap and the areas of the same real breasts' masks.

    A column a mask method and framing; above, the IoU of pairs (right half of a violin) and of shuffled pairs (left
    half) with the difference of their medians, below, the areas of all masks with their SD. Lines are quartiles. A pair
    without IoU is left out, and counted.
    """
    kept = audit[audit["excluded"] == ""]
    overlap = pd.concat([shuffled.assign(pairs="shuffled"), kept.assign(pairs="own")], ignore_index=True)
    areas = kept.melt(CELL, ["cc_area", "mlo_area"], value_name="area")
    areas = areas[areas["area"] > 0.0].assign(area=lambda rows: 100.0 * rows["area"])
    columns = list(product(audit["mask_method"].unique(), ASPECTS))
    drawn = new_figure(DOUBLE_COLUMN, 116.0)
    grid = drawn.subplots(2, len(columns), sharey="row")
    for (top, bottom), (method, aspect) in zip(grid.T, columns, strict=True):
        part, area = (table[(table["mask_method"] == method) & (table["aspect"] == aspect)]
                      for table in (overlap, areas))
        spread = area.groupby("match_scope")["area"].std()
        _violins(top, part, "iou", [_overlap_label(part[part["match_scope"] == scope], label)
                                    for scope, label in SCOPES.items()], hue="pairs", hue_order=["shuffled", "own"],
                 split=True, palette={"shuffled": BAND, "own": COLOURS["real"]})
        _violins(bottom, area, "area", [f"{label}\nSD {spread.get(scope, np.nan):.1f}"
                                        for scope, label in SCOPES.items()], color="white")
        top.set_title(f"{method.capitalize()} mask,\n{ASPECTS[aspect]}", pad=4)
    grid[0, 0].set(ylabel="IoU of CC and MLO mask", ylim=(0, 1.02))
    grid[1, 0].set(ylabel="Mask area (% of the image)", ylim=(0, 102))
    n_read, n_all = kept["pair"].nunique(), audit["pair"].nunique()
    _legend(drawn, f"n = {n_read:,} pairs" + (f" ({n_all - n_read} excluded)" if n_all > n_read else ""))
    panel_letters(grid.flat, pad=4)
    return drawn


def _violins(axes: Axes, rows: pd.DataFrame, y: str, labels: list[str], **look: object) -> None:
    sns.violinplot(rows, x="match_scope", order=list(SCOPES), y=y, cut=0, width=0.85, density_norm="width",
                   inner="quart", inner_kws={"color": "#8C8C8C", "linewidth": 0.8}, linecolor=EDGE, linewidth=0.5,
                   saturation=1.0, legend=False, ax=axes, **look)
    axes.set_xlabel("")
    axes.set_xticks(range(len(SCOPES)), labels)


def _overlap_label(rows: pd.DataFrame, label: str) -> str:
    """The matching, what pairing gains under it, and how many pairs have no mask."""
    medians = rows.groupby("pairs")["iou"].median()
    if len(medians.dropna()) == 2:
        label += f"\n{medians['own'] - medians['shuffled']:+.2f}".replace("-", "−")
    empty = int(rows.loc[rows["pairs"] == "own", "iou"].isna().sum())
    return label + (f"\n({empty} empty)" if empty else "")


def _legend(figure: Figure, count: str) -> None:
    handles = [Patch(facecolor=BAND, edgecolor=EDGE, label="Shuffled pairs"),
               Patch(facecolor=COLOURS["real"], edgecolor=EDGE, label="Pairs"),
               Line2D([], [], color="#8C8C8C", linewidth=0.8, linestyle="--", label="Median, quartiles"),
               *(Line2D([], [], linestyle="", label=text)
                 for text in ("Below the axes: gain in median IoU; SD of the areas", count))]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2, labelcolor=EDGE)
