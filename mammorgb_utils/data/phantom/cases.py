"""Who is in the cohort, usable pairs and what a study must exclude; and what is known of each of them: its truth."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from mammorgb_utils.data.phantom.anatomy import EXTRA_STREAM, HELDOUT_STREAM, TRAIN_STREAM, Breast
from mammorgb_utils.data.phantom.geometry import SHAPE, SPACING_MM, mass_position, nipple_position
from mammorgb_utils.data.phantom.render import muscle_truth_mask, view_truth_mask
from mammorgb_utils.data.phantom.storage import ARTEFACTS

ARTEFACT_SHARE = 0.07
EXTRA_SHARES = {"other_birads": 0.05, "implant": 0.015, "missing_view": 0.015, "duplicate": 0.01, "unreadable": 0.007}
MASK_STEP = 4  # truth masks are kept at a quarter of the resolution
_GRADES = (1, 3, 4, 5, 0)
_MASKS = ("cc", "mlo", "mlo_muscle")
TRUTH_COLUMNS = [
    "pair", "patient", "role", "artefact", "artefact_view", "laterality", "cc_thickness_mm", "mlo_thickness_mm",
    "volume_cm3", "density", "birads_density", "cc_density", "mlo_density", "pnl_cc_mm", "pnl_mlo_mm",
    "muscle_angle_deg", "muscle_fraction", "cc_area_cm2", "mlo_area_cm2", "n_masses", "mass_depth_cc_mm",
    "mass_depth_mlo_mm", "mass_xy_cc_mm", "mass_xy_mlo_mm", "spacing_mm", "nipple_x_cc_mm", "nipple_y_cc_mm",
    "rotation_cc_deg", "nipple_x_mlo_mm", "nipple_y_mlo_mm", "rotation_mlo_deg", "seed_key"]
_CM2 = SPACING_MM**2 / 100.0


@dataclass(frozen=True)
class Case:
    """One patient of a cohort."""

    patient: str
    role: str  # "usable" or a key of EXTRA_SHARES
    split: str
    stream: int
    number: int
    birads: int = 2
    artefact: str = ""  # or a member of ARTEFACTS

    def key(self, seed: int) -> tuple[int, int, int]:
        """Seed key of this case's breast in a cohort."""
        return seed, self.stream, self.number


def plan_cases(n_pairs: int, seed: int) -> list[Case]:
    """All cases of a cohort, shuffled by its seed: usable pairs, and what must be excluded, each kind at least once.

    Raises:
        ValueError: Fewer than 2 pairs can't be split.
    """
    if n_pairs < 2:
        raise ValueError(f"n_pairs: at least 2 are needed for two splits (got {n_pairs})")
    rng = np.random.default_rng([seed, 0, n_pairs])
    cases = _usable(n_pairs, rng) + _extra(n_pairs)
    order = rng.permutation(len(cases))
    return [Case(f"P{place + 1:04d}", *cases[index]) for place, index in enumerate(order)]


def _usable(n_pairs: int, rng: np.random.Generator) -> list[tuple]:
    marked = rng.choice(n_pairs, max(1, round(ARTEFACT_SHARE * n_pairs)), replace=False)
    artefacts, n_train = dict(zip(marked.tolist(), cycle(ARTEFACTS))), (n_pairs + 1) // 2
    return [("usable", "train", TRAIN_STREAM, i, 2, artefacts.get(i, "")) if i < n_train else
            ("usable", "heldout", HELDOUT_STREAM, i - n_train, 2, artefacts.get(i, "")) for i in range(n_pairs)]


def _extra(n_pairs: int) -> list[tuple]:
    roles = [role for role, share in EXTRA_SHARES.items() for _ in range(max(1, round(share * n_pairs)))]
    grades = [_GRADES[i % len(_GRADES)] if role == "other_birads" else 2 for i, role in enumerate(roles)]
    return [(role, ("train", "heldout")[i % 2], EXTRA_STREAM, i, grades[i], "") for i, role in enumerate(roles)]


def truth_row(case: Case, breast: Breast, other: Breast, touched: str) -> dict[str, Any]:
    """One row of `truth.csv`; lengths in mm, areas in cm², of a breast cut by the field what is left of it.

    `other` is the breast of the MLO view, another one in the artefact `view_mismatch`; `touched` is the view that
    carries a drawn artefact.
    """
    cc, mlo, muscle = _masks(breast, other)
    masses = [mass for mass in breast.masses if not mass.calcified]
    own_mlo = masses if other is breast else []  # in a mismatched pair, the CC masses aren't in the MLO
    row = {
        "pair": f"{case.patient}_E1_{breast.laterality}", "patient": case.patient, "role": case.role,
        "artefact": case.artefact,
        "artefact_view": "MLO" if case.artefact == "view_mismatch" else touched if case.artefact else "",
        "laterality": breast.laterality, "cc_thickness_mm": breast.cc.thickness_mm,
        "mlo_thickness_mm": other.mlo.thickness_mm, "volume_cm3": breast.volume_cm3, "density": breast.density,
        "birads_density": breast.birads_density, "cc_density": breast.density * breast.gland_cc,
        "mlo_density": other.density * other.gland_mlo, "pnl_cc_mm": breast.cc.nipple_line_mm,
        "pnl_mlo_mm": other.mlo.nipple_line_mm, "muscle_angle_deg": other.muscle_angle_deg,
        "muscle_fraction": muscle.sum() / mlo.sum(), "cc_area_cm2": cc.sum() * _CM2, "mlo_area_cm2": mlo.sum() * _CM2,
        "n_masses": len(masses), "mass_depth_cc_mm": _joined(m.u * breast.cc.nipple_line_mm for m in masses),
        "mass_depth_mlo_mm": _joined(m.u * breast.mlo.nipple_line_mm for m in own_mlo),
        "mass_xy_cc_mm": _joined(x for m in masses for x in mass_position(breast, "CC", m)),
        "mass_xy_mlo_mm": _joined(x for m in own_mlo for x in mass_position(breast, "MLO", m)),
        "spacing_mm": SPACING_MM, "seed_key": " ".join(map(str, breast.key))}
    for name, shown, view in (("cc", breast, "CC"), ("mlo", other, "MLO")):
        row[f"nipple_x_{name}_mm"], row[f"nipple_y_{name}_mm"] = nipple_position(shown, view)
        row[f"rotation_{name}_deg"] = float(np.degrees(shown.placement(view).rotation))
    return {key: round(float(value), 4) if isinstance(value, float) else value for key, value in row.items()}


def _joined(values: Any) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def _masks(breast: Breast, other: Breast) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return view_truth_mask(breast, "CC"), view_truth_mask(other, "MLO"), muscle_truth_mask(other)


def pack_masks(breast: Breast, other: Breast) -> dict[str, str]:
    """Both breast masks and the muscle, chest wall on the left, as text that fits a JSON record."""
    return {name: base64.b64encode(np.packbits(mask[MASK_STEP // 2::MASK_STEP, MASK_STEP // 2::MASK_STEP])).decode()
            for name, mask in zip(_MASKS, _masks(breast, other), strict=True)}


def unpack_masks(records: list[dict]) -> dict[str, list[np.ndarray]]:
    """The masks of all records: bool arrays of a quarter of the detector's grid, by name."""
    rows, columns = SHAPE[0] // MASK_STEP, SHAPE[1] // MASK_STEP
    return {name: [np.unpackbits(np.frombuffer(base64.b64decode(record["masks"][name]), np.uint8))
                   .reshape(rows, columns).astype(bool) for record in records] for name in _MASKS}
