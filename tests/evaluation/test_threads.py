import numpy as np
import pytest
from drawn_views import breast, mlo_breast, view

from mammorgb_utils.evaluation import threads
from mammorgb_utils.evaluation.artefacts import DETECTORS, artefact_scores
from mammorgb_utils.evaluation.fidelity.texture import texture_features
from mammorgb_utils.evaluation.overlap import PairMasks, masks_by_method, pair_masks

PAIRS = np.stack([np.stack([view(breast(64, 0.5 + 0.03 * i), noise=0.01, seed=i), view(mlo_breast(64), seed=i)])
                  for i in range(7)])


def measured():
    masks = pair_masks(PAIRS)
    others = masks_by_method(PAIRS, ("otsu", "watershed"))
    arrays = [getattr(found, name) for found in (masks, *others.values())
              for name in ("breast", "muscle", "left", "largest")]
    return [*arrays, texture_features(PAIRS, masks).to_numpy(), artefact_scores(PAIRS, masks).to_numpy()]


def test_parts_give_what_the_whole_gives(monkeypatch):
    whole = measured()
    monkeypatch.setattr(threads, "_PIXELS", 3 * 64 * 64)  # parts of three pairs, and one of one
    for first, second in zip(whole, measured(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_an_error_in_a_part_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(threads, "_PIXELS", 64 * 64)
    spoilt = PAIRS.copy()
    spoilt[4, 1, 3, 3] = np.nan
    with pytest.raises(ValueError, match="check it for NaN"):
        pair_masks(spoilt)


def test_a_set_without_pairs_has_empty_masks():
    masks = pair_masks(PAIRS[:0])
    assert isinstance(masks, PairMasks) and masks.breast.shape == (0, 2, 64, 64) and len(masks) == 0
    assert artefact_scores(PAIRS[:0], masks).shape == (0, len(DETECTORS))
    assert texture_features(PAIRS[:0], masks).shape == texture_features(PAIRS, pair_masks(PAIRS)).iloc[:0].shape
