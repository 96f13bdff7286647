"""Measure the finished default cohort and hold it to what real mammograms were aimed at.

`python benchmarks/phantom_properties.py` reads the cohort of `mammorgb phantom`, writes
`benchmarks/results/phantom_properties.csv` and repeats it as a table in `docs/phantom.md`: half a minute on one core.

Pairs with an artefact are left out except where a row says otherwise. A mean or median is held to the aim's bounds,
a range to the 1st and 99th percentile; what was set to reach a value earns no verdict.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import fft, ndimage, stats

from mammorgb_utils.data.dicom import read_mammogram
from mammorgb_utils.data.geometry import area_resize
from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.data.phantom import make_breast, view_truth_mask
from mammorgb_utils.data.phantom.cases import MASK_STEP
from mammorgb_utils.data.phantom.geometry import SHAPE, SPACING_MM
from mammorgb_utils.evaluation.consistency import shuffled_overlap
from mammorgb_utils.evaluation.overlap import PairMasks, iou
from mammorgb_utils.reporting.documents import fill_tables
from mammorgb_utils.runs import PROJECT_ROOT, atomic_path, write_csv

COHORT = PROJECT_ROOT / "data" / "phantom-600-22759"
RESULTS = "benchmarks/results/phantom_properties.csv"
CARD = PROJECT_ROOT / "docs" / "phantom.md"
SIDE = 64  # px: the laptop study's grid, and the window of the power spectrum
FIELD_MM = SHAPE[0] * SPACING_MM
Bounds = tuple[float, float] | None


def row(name: str, aim: str, values, *, centre: Callable = np.mean, within: Bounds = None,
        reach: Bounds = None) -> dict:
    """One property; `within` bounds its centre, `reach` its 1st and 99th percentile; neither: it was set by us."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    middle, (low, high) = float(centre(values)), np.percentile(values, [1, 99])
    inside = (within is None or within[0] <= middle <= within[1]) and \
        (reach is None or (reach[0] <= low and high <= reach[1]))
    status = "set by us" if within is None and reach is None else "inside" if inside else "outside"
    return {"property": name, "aim": aim, "measured_median_or_mean": middle, "sd": values.std(ddof=1), "p1": low,
            "p99": high, "n": len(values), "status": status}


def single(name: str, aim: str, value: float, n: int, within: Bounds = None) -> dict:
    """One property that is a single number, such as a share or a correlation."""
    return row(name, aim, [value, value], within=within) | {"sd": np.nan, "p1": np.nan, "p99": np.nan, "n": n}


def sizes(plain: pd.DataFrame) -> list[dict]:
    rows = [row(f"{name}, mean", f"mean {within[0]} to {within[1]}, range {reach[0]} to {reach[1]}", plain[column],
                within=within, reach=reach) for name, column, within, reach in (
        ("CC thickness [mm]", "cc_thickness_mm", (44, 59), (25, 90)),
        ("MLO thickness [mm]", "mlo_thickness_mm", (48, 59), (25, 90)),
        ("volume [cm³]", "volume_cm3", (850, 1060), (150, 2500)),
        ("CC nipple line [mm]", "pnl_cc_mm", (85, 105), (40, 150)),
        ("MLO nipple line [mm]", "pnl_mlo_mm", (85, 105), (40, 150)))]
    n, ratio = len(plain), plain["mlo_area_cm2"] / plain["cc_area_cm2"]
    tissue = ratio * (1 - plain["muscle_fraction"]) * plain["mlo_thickness_mm"] / plain["cc_thickness_mm"]
    longer, nipple = plain["pnl_mlo_mm"] - plain["pnl_cc_mm"], plain["nipple_y_mlo_mm"]
    angle = np.radians(plain["muscle_angle_deg"])
    # Where the pectoral edge meets the image edge, from the nipple's distance to it.
    muscle_end = nipple - (plain["pnl_mlo_mm"] - plain["nipple_x_mlo_mm"] * np.cos(angle)) / np.sin(angle)
    return [
        *rows,
        row("MLO − CC nipple line [mm], mean", "3 to 8", longer, within=(3, 8)),
        single("MLO − CC nipple line [mm], SD", "6 to 10", longer.std(), n, (6, 10)),
        single("nipple lines within 1 cm, share", "0.75 to 0.90", np.mean(np.abs(longer) <= 10), n, (0.75, 0.90)),
        row("muscle angle [°], mean", "range 15 to 35", plain["muscle_angle_deg"], reach=(15, 35)),
        row("muscle share of the MLO mask, mean", "range 0.05 to 0.15", plain["muscle_fraction"], reach=(0.05, 0.15)),
        row("muscle length over nipple row, mean", "about 1 (0.9 to 1.1)", muscle_end / nipple, within=(0.9, 1.1)),
        row("CC area [cm²], median", "range 60 to 250", plain["cc_area_cm2"], centre=np.median, reach=(60, 250)),
        row("MLO over CC area, median", "1.05 to 1.4", ratio, centre=np.median, within=(1.05, 1.4)),
        single("this ratio inside 1.05 to 1.4, share", "all (0.98)", np.mean(ratio.between(1.05, 1.4)), n, (0.98, 1)),
        row("MLO over CC area × thickness without muscle, mean", "about 1 (0.9 to 1.1)", tissue, within=(0.9, 1.1))]


def densities(plain: pd.DataFrame) -> list[dict]:
    n, density, grade = len(plain), plain["density"], plain["birads_density"]
    grades = [single(f"BI-RADS density {letter}, share", f"about {aim} (± 0.05)", np.mean(grade == letter), n,
                     (aim - 0.05, aim + 0.05)) for letter, aim in zip("abcd", (0.1, 0.4, 0.4, 0.1), strict=True)]
    thickness, volume = (stats.spearmanr(density, plain[name]).statistic for name in ("cc_thickness_mm", "volume_cm3"))
    views = stats.pearsonr(plain["cc_density"], plain["mlo_density"]).statistic
    return [row("volumetric density, mean", "about 0.19 (0.17 to 0.21)", density, within=(0.17, 0.21)), *grades,
            single("density and CC thickness, Spearman", "about −0.6 (−0.7 to −0.5)", thickness, n, (-0.7, -0.5)),
            single("density and volume, Spearman", "below 0", volume, n, (-1, 0)),
            single("CC and MLO density, Pearson", "0.85 to 0.95", views, n)]


def truth_pairs(masks: dict[str, np.ndarray], chosen: np.ndarray, shift_mm: np.ndarray | None = None) -> PairMasks:
    """Truth masks on the study's grid, CC shifted down by `shift_mm` where it is given."""
    cc, mlo, muscle = (masks[name][chosen] for name in ("cc", "mlo", "mlo_muscle"))
    if shift_mm is not None:
        rows = np.rint(shift_mm / (SPACING_MM * MASK_STEP)).astype(int)
        cc = np.stack([ndimage.shift(mask, (by, 0), order=0) for mask, by in zip(cc, rows, strict=True)])
    small = [np.stack([area_resize(mask, (SIDE, SIDE)) > 0.5 for mask in stack]) for stack in (cc, mlo, muscle)]
    unused = np.ones((len(cc), 2))
    return PairMasks(np.stack(small[:2], axis=1), small[2], unused.astype(bool), unused)


def overlaps(truth: pd.DataFrame, masks: dict[str, np.ndarray], plain: pd.DataFrame) -> list[dict]:
    usable = np.flatnonzero(truth["role"] == "usable")
    centring = FIELD_MM / 2 - plain["nipple_y_cc_mm"].to_numpy()
    pairs = truth_pairs(masks, plain.index)
    paired, all_usable, centred = (np.array([iou(*pair) for pair in each.breast]) for each in (
        pairs, truth_pairs(masks, usable), truth_pairs(masks, plain.index, centring)))
    shuffled = shuffled_overlap(pairs, n_draws=20, seed=0)["iou"]
    gap, n = np.median(paired) - shuffled.median(), len(paired)
    return [
        row("IoU of truth masks at 64 px, median", "about 0.84", paired, centre=np.median),
        row("IoU with artefact pairs, median", "about 0.84", all_usable, centre=np.median),
        single("IoU, SD", "0.06 to 0.10", paired.std(ddof=1), n, (0.06, 0.10)),
        single("IoU, skewness", "left tail (below 0)", stats.skew(paired), n, (-np.inf, 0)),
        row("IoU of shuffled pairs, median", "at least 0.08 below paired", shuffled, centre=np.median,
            within=(0, np.median(paired) - 0.08)),
        single("IoU, paired − shuffled median", "at least 0.08", gap, n, (0.08, 1)),
        row("CC nipple row below the field's top [mm], mean", "none stated", plain["nipple_y_cc_mm"]),
        row("MLO nipple row below the field's top [mm], mean", "none stated", plain["nipple_y_mlo_mm"]),
        row("IoU with the CC nipple moved to mid-field, median", "about 0.84 (0.82 to 0.86)", centred,
            centre=np.median, within=(0.82, 0.86))]


def looks(manifest: pd.DataFrame, plain: pd.DataFrame) -> list[dict]:
    """What is read from the stored pixels: rim of both views, texture of the CC view."""
    paths, gaps, exponents = manifest.set_index(["pair", "view"])["path"], [], []
    for case in plain.itertuples():
        breast = make_breast([int(part) for part in case.seed_key.split()])
        for view in ("CC", "MLO"):
            pixels = read_mammogram(PROJECT_ROOT / paths[case.pair, view]).pixels
            pixels = pixels if case.laterality == "L" else pixels[:, ::-1]
            mask = view_truth_mask(breast, view)
            air = ~mask
            air[:30, -120:] = False  # the label stands in this corner
            gaps.append(pixels[mask].min() - pixels[air].max())
            if view == "CC":
                exponents.append(spectral_exponent(pixels, mask))
    measured = np.array(exponents)[np.isfinite(exponents)]
    return [row("darkest tissue − brightest air, of full scale, median", "range above 0", gaps, centre=np.median,
                reach=(1e-6, 1)),
            row("CC spectral exponent, mean", "2.8 to 3.0", measured, within=(2.8, 3.0)),
            single("CC spectral exponent, SD", "0.3 to 0.4", measured.std(ddof=1), len(measured), (0.3, 0.4))]


def spectral_exponent(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Minus the log-log slope of the radial power spectrum of a 64 px square inside the breast; NaN without one."""
    inside = np.argwhere(ndimage.uniform_filter(mask.astype(float), SIDE, mode="constant") > 0.999)
    if not len(inside):
        return np.nan
    top, left = inside[len(inside) // 2] - SIDE // 2
    square = pixels[top:top + SIDE, left:left + SIDE].astype(float)
    power = np.abs(fft.fft2((square - square.mean()) * np.outer(np.hanning(SIDE), np.hanning(SIDE)))) ** 2
    cycles = fft.fftfreq(SIDE, 1 / SIDE)
    rings = np.arange(3, 26)  # cycles a window: above its own width, below the grid's limit
    radial = ndimage.mean(power, np.rint(np.hypot(cycles[:, None], cycles[None, :])), rings)
    return -stats.linregress(np.log(rings), np.log(radial)).slope


def cases(truth: pd.DataFrame) -> list[dict]:
    usable = truth[truth["role"] == "usable"]
    kinds = usable.loc[usable["artefact"] != "", "artefact"].value_counts().sort_index()
    excluded = truth.loc[truth["role"] != "usable", "role"].value_counts().sort_index()
    return [single("usable pairs", "the profile's phantom_pairs", len(usable), len(truth)),
            single("artefacts, share of usable pairs", "about 0.06 to 0.08", kinds.sum() / len(usable), len(usable)),
            *(single(f"artefact {kind}, share of usable pairs", "none stated", count / len(usable), len(usable))
              for kind, count in kinds.items()),
            *(single(f"excluded: {kind}, patients", "none stated", count, len(truth))
              for kind, count in excluded.items())]


def main() -> None:
    truth = pd.read_csv(COHORT / "truth.csv", keep_default_na=False)
    masks = dict(np.load(COHORT / "truth_masks" / "masks.npz"))
    manifest = load_manifest(PROJECT_ROOT / "data_manifest.csv")
    plain = truth[(truth["role"] == "usable") & (truth["artefact"] == "")]
    table = pd.DataFrame([*looks(manifest, plain), *sizes(plain),
                          *overlaps(truth, masks, plain), *densities(plain), *cases(truth)])
    numbers = ["measured_median_or_mean", "sd", "p1", "p99"]
    table[numbers] = table[numbers].map(lambda value: "" if np.isnan(value) else f"{value:.4g}")
    write_csv(PROJECT_ROOT / RESULTS, table)
    with atomic_path(CARD) as temporary:
        temporary.write_text(fill_tables(CARD.read_text(encoding="utf-8"), PROJECT_ROOT), encoding="utf-8")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
