"""Every transfer syntax × bits × sign × VOI × photometric, sides and view codings in turn: known pixels come back."""

from itertools import cycle, product

import numpy as np
import pytest
from dicom_files import EIGHT_BITS, LOSSY, SYNTAXES, TWELVE_BITS, UNSIGNED, lut_sequence, view_code, write_mammogram

from mammorgb_utils.data.dicom import read_mammogram

BITS, VOI = (8, 10, 12, 14, 16), ("none", "window", "sigmoid", "lut", "rescaled window")
# Side, orientation, where that puts the chest wall.
SIDES = [("L", ["A", "R"], "left"), ("R", ["P", "L"], "right"), ("L", None, "left"), ("R", None, "right")]
VIEWS = [("CC", {"ViewPosition": "CC"}), ("MLO", {"ViewPosition": "MLO"}),
         ("CC", {"ViewCodeSequence": view_code("R-10242"), "ViewPosition": None}),
         ("MLO", {"ViewCodeSequence": view_code("399368009"), "ViewPosition": None}),
         ("MLO", {"ViewCodeSequence": view_code("R-10226"), "ViewPosition": "MLO"})]


def picture(bits: int, signed: bool) -> np.ndarray:
    """`(40, 56)`: a smooth ramp over the whole stored range, its ends included."""
    y, x = np.mgrid[:40, :56]
    values = np.rint((0.7 * x / 55 + 0.3 * y / 39) * (2**bits - 1)) - (2 ** (bits - 1) if signed else 0)
    return values.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")


def shown(values: np.ndarray, bits: int, signed: bool, voi: str) -> tuple[np.ndarray, dict]:
    """The display in [0, 1] by the standard's formulas, written out, and the tags that ask for it."""
    low = -(2 ** (bits - 1)) if signed else 0
    v, span = values.astype(np.float64), float(2**bits - 1)
    centre, width = low + 0.45 * span, 0.6 * span
    if voi == "none":
        return (v - v.min()) / (v.max() - v.min()), {}
    if voi == "sigmoid":
        return (1 / (1 + np.exp(-4 * (v - centre) / width)),
                {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": "SIGMOID"})
    if voi == "lut":
        table = np.rint(np.sqrt(np.arange(2**bits) / span) * span)
        return table[(v - low).astype(int)] / span, {"VOILUTSequence": lut_sequence(table, first=low, bits=bits)}
    slope, intercept = (2.0, -100.0) if voi == "rescaled window" else (1.0, 0.0)
    centre, width, v = centre * slope + intercept, width * slope, v * slope + intercept
    tags = {"WindowCenter": centre, "WindowWidth": width}
    tags |= {"RescaleSlope": slope, "RescaleIntercept": intercept} if slope != 1 else {}
    return np.clip((v - (centre - 0.5)) / (width - 1) + 0.5, 0, 1), tags


def possible(syntax: str, bits: int, signed: bool, voi: str) -> bool:
    depth = bits == 8 if syntax in EIGHT_BITS else 8 < bits <= 12 if syntax in TWELVE_BITS else True
    sign = not signed or syntax not in UNSIGNED
    return depth and sign and not (voi == "lut" and bits > 14)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_known_pixels_come_back(tmp_path, syntax):
    sides, views, n = cycle(SIDES), cycle(VIEWS), 0
    for bits, signed, voi, inverse in product(BITS, (False, True), VOI, (False, True)):
        if not possible(syntax, bits, signed, voi):
            continue
        stored = picture(bits, signed)
        expected, tags = shown(stored, bits, signed, voi)
        (side, orientation, wall), (view, coding) = next(sides), next(views)
        path = write_mammogram(tmp_path / "a.dcm", stored, syntax=syntax, bits=bits, ImageLaterality=side,
                               PatientOrientation=orientation, **coding, **tags,
                               PhotometricInterpretation="MONOCHROME1" if inverse else "MONOCHROME2")
        mammogram = read_mammogram(path)
        case = f"{syntax}, {bits} bits, {'signed' if signed else 'unsigned'}, {voi}, inverse {inverse}"
        assert (mammogram.laterality, mammogram.view, mammogram.chest_wall_by_tags) == (side, view, wall), case
        assert mammogram.voi == voi.removeprefix("rescaled ") and mammogram.inverted == inverse, case
        error = np.abs(mammogram.pixels - (1 - expected if inverse else expected)).max()
        # Windows rise at 1/0.6 of the whole range, the root at its dark end far more.
        limit = (0.25 if voi == "lut" else 0.06) if syntax in LOSSY else 0.5 / (2**bits - 1) + 1e-6
        assert error <= limit, f"{case}: off by {error:.5f}"
        n += 1
    assert n >= 10
