"""What was measured on phantom pairs beside what is known of them: which measures can be believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.data.phantom import make_breast
from mammorgb_utils.data.phantom.geometry import SHAPE, SPACING_MM
from mammorgb_utils.data.phantom.render import Projection, project
from mammorgb_utils.evaluation.anatomy.agreement import MEASURES
from mammorgb_utils.evaluation.anatomy.measure import BINS, PROFILES, VIEWS
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import Run

MIN_R = 0.7  # Pearson's, of measured and true values, in both views: about half of the variance
MIN_KNOWN = 10  # pairs with truth, below which nothing is judged
RENDERED = 40  # pairs whose gland is projected anew for the truth of centroid and profile: a third of a second each
ONE_CM = 10.0  # mm: nipple lines of CC and MLO should differ by no more
_FIELD_MM = SHAPE[1] * SPACING_MM, SHAPE[0] * SPACING_MM  # width, height
_UNITS = {"nipple_line": "mm", "area": "cm²", "dense": "share", "mass_depth": "nipple lines",
          "centroid": "nipple lines", "profile": "share"}
_COLUMNS = ("measure", "view", "unit", "n", "n_nan", "truth_mean", "truth_sd", "measured_mean", "r", "r_low", "r_high",
            "bias", "agreement_low", "agreement_high", "within_1cm", "within_1cm_truth", "valid", "note")
NO_TRUTH = "no truth: the pairs aren't phantoms"


def phantom_folders(run: Run) -> list[Path]:
    """Folders of the phantom cohorts that the manifest names as `<cohort>/<folder of images>/<file>`."""
    manifest = load_manifest(run.manifest)
    paths = manifest.loc[manifest["source"] == "phantom", "path"]
    return sorted({(run.manifest.parent / path).parent.parent for path in paths})


def true_anatomy(run: Run, *, with_artefacts: bool = False) -> pd.DataFrame:
    """What is known of the study's phantom pairs, no rows where no pair is a phantom.

    Returns:
        Rows of the cohorts' `truth.csv` without excluded kinds and, unless they are asked for, artefacts.
    """
    files = [folder / "truth.csv" for folder in phantom_folders(run)]
    tables = [pd.read_csv(file, keep_default_na=False, dtype={"pair": str, "patient": str})
              for file in files if file.is_file()]
    if not tables:
        return pd.DataFrame({"pair": pd.Series(dtype=str)})
    truth = pd.concat(tables, ignore_index=True)
    usable = (truth["role"] == "usable") & (with_artefacts | (truth["artefact"] == ""))
    return truth[usable].reset_index(drop=True)


def truth_table(anatomy: pd.DataFrame, truth: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Agreement of measured with true anatomy on phantom pairs.

    Args:
        anatomy: metrics/anatomy.csv; rows of the sets `real` and `train` count.
        truth: What `true_anatomy` gives.
        protocol: `aspect` decides what a width of the image is in mm.

    Returns:
        One row a measure and view (CC, MLO; for the nipple line also MLO − CC, with the shares `within_1cm` and
        `within_1cm_truth`): `unit`, `n`, `n_nan`, `truth_mean`, `truth_sd`, `measured_mean`, `r` (Pearson's) with its
        Fisher interval `r_low`, `r_high`, `bias` (measured − true) with the 95 % limits of agreement `agreement_low`,
        `agreement_high`; `valid` (yes | no). Of a cohort without truth one row says so in `note`.

    Source:
        Bland and Altman 1986. Density is known as a share of volume, measured as a share of area: its bias is no error.
        Masses are compared where one alone was planted; centroid and profile with the projected gland of the first
        `RENDERED` pairs, the profile after its mean over pairs was taken out.
    """
    known = anatomy[anatomy["set"].isin(("real", "train"))].drop_duplicates("pair").merge(truth, on="pair")
    if len(known) < MIN_KNOWN:
        return pd.DataFrame([{"measure": "none", "n": len(known), "note": NO_TRUTH}], columns=list(_COLUMNS))
    rows = []
    for view in VIEWS:
        for measure, (measured, true) in _scalars(known, view, protocol).items():
            rows.append(_agreement(measure, view.upper(), measured, true))
    rows.append(_nipple_difference(known, protocol))
    rows += _rendered_rows(known.head(RENDERED)) if RENDERED else []
    rows.sort(key=lambda row: MEASURES.index(row["measure"]))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def validity(table: pd.DataFrame) -> dict[str, str]:
    """By measure whether it agrees with the truth in both views: yes, no, or `no truth` to compare with."""
    per_view = table[table["view"].isin([view.upper() for view in VIEWS])]
    worst = per_view.groupby("measure")["valid"].agg(lambda v: "yes" if (v == "yes").all() else "no")
    return {name: worst.get(name, "no truth") for name in MEASURES}


def _field(protocol: Protocol) -> tuple[float, float]:
    """Width and height [mm] of what a study's image shows of a phantom."""
    return _FIELD_MM if protocol.aspect == "squash" else (max(_FIELD_MM),) * 2


def _scalars(known: pd.DataFrame, view: str, protocol: Protocol) -> dict[str, tuple[pd.Series, pd.Series]]:
    width, height = _field(protocol)
    line = known[f"pnl_{view}_mm"].astype(float)
    single = known[f"mass_depth_{view}_mm"].astype(str).where(known["n_masses"] == 1, "")
    return {"area": (known[f"{view}_area"] * width * height / 100.0, known[f"{view}_area_cm2"].astype(float)),
            "nipple_line": (known[f"{view}_nipple_line"] * width, line),
            "dense": (known[f"{view}_dense"], known[f"{view}_density"].astype(float)),
            "mass_depth": (known[f"{view}_mass_depth"], pd.to_numeric(single, errors="coerce") / line)}


def _nipple_difference(known: pd.DataFrame, protocol: Protocol) -> dict[str, object]:
    width = _field(protocol)[0]
    measured = (known["mlo_nipple_line"] - known["cc_nipple_line"]) * width
    true = known["pnl_mlo_mm"].astype(float) - known["pnl_cc_mm"].astype(float)
    shares = {name: float((values.dropna().abs() <= ONE_CM).mean())
              for name, values in (("within_1cm", measured), ("within_1cm_truth", true))}
    return _agreement("nipple_line", "MLO − CC", measured, true) | shares


def _rendered_rows(known: pd.DataFrame) -> list[dict[str, object]]:
    """Centroid and profile of the gland itself, projected from the breast's seed."""
    breasts, rows = [make_breast([int(part) for part in str(key).split()]) for key in known["seed_key"]], []
    for view in VIEWS:
        centroids, profiles = zip(*(_gland(project(breast, view.upper())) for breast in breasts), strict=True)
        rows.append(_agreement("centroid", view.upper(), known[f"{view}_centroid"], centroids))
        both = [np.asarray(values, float) for values in (known[PROFILES[view]], profiles)]
        row = _agreement("profile", view.upper(), *((values - np.nanmean(values, axis=0)).ravel() for values in both))
        independent = _interval(row.get("r", np.nan), len(known))  # bins of one pair aren't independent
        rows.append(row | {"n": len(known), "n_nan": 0, "bias": np.nan, "agreement_low": np.nan,
                           "agreement_high": np.nan} | independent)
    return rows


def _gland(shown: Projection) -> tuple[float, np.ndarray]:
    """Depth of a projected gland's centroid, and its depth profile."""
    inside = shown.frame.body & (shown.frame.u >= 0)
    u, gland = shown.frame.u[inside], shown.gland[inside]
    above, bins = np.maximum(gland - gland.mean(), 0.0), np.minimum((u * BINS).astype(int), BINS - 1)
    count = np.maximum(np.bincount(bins, minlength=BINS), 1)
    return float((u * above).sum() / max(above.sum(), 1e-9)), np.bincount(bins, gland, BINS) / count


def _agreement(measure: str, view: str, measured: pd.Series, true: pd.Series) -> dict[str, object]:
    measured, true = np.asarray(measured, float), np.asarray(true, float)
    asked = np.isfinite(true)
    both = asked & np.isfinite(measured)
    row = {"measure": measure, "view": view, "unit": _UNITS[measure], "n": int(both.sum()),
           "n_nan": int(asked.sum() - both.sum()), "valid": "no", "note": ""}
    if row["n"] < MIN_KNOWN:
        return row | {"note": f"fewer than {MIN_KNOWN} pairs"}
    x, y = measured[both], true[both]
    r = float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else 0.0
    bias, half = float(np.mean(x - y)), 1.96 * float(np.std(x - y, ddof=1))
    return row | {"truth_mean": y.mean(), "truth_sd": y.std(ddof=1), "measured_mean": x.mean(), "r": r,
                  **_interval(r, row["n"]), "bias": bias, "agreement_low": bias - half, "agreement_high": bias + half,
                  "valid": "yes" if r >= MIN_R else "no"}


def _interval(r: float, n: int) -> dict[str, float]:
    """Fisher's 95 % interval of a correlation."""
    centre, half = np.arctanh(np.clip(r, -0.999999, 0.999999)), 1.96 / np.sqrt(max(n - 3, 1))
    return {"r_low": float(np.tanh(centre - half)), "r_high": float(np.tanh(centre + half))}
