"""The models in the repository: what they claim to be, and that today's phantoms are still those they learned from."""

import json

import numpy as np
import pytest

from mammorgb_utils.data.base_views import base_views, fingerprint
from mammorgb_utils.diffusion.engine.base import base_sha256, load_base
from mammorgb_utils.diffusion.sampling import open_for_sampling, sample_pairs
from mammorgb_utils.diffusion.training import training_steps
from mammorgb_utils.evaluation.overlap import pair_masks
from mammorgb_utils.experiments.pairing_gain import MIDDLE, gain_row, group_losses, groups_of_like_area
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, digest

PROTOCOL = Protocol.load("laptop")
FOLDER = PROJECT_ROOT / PROTOCOL.base_model
PUBLISHED = Protocol.load("workstation")
PAIRED = PROJECT_ROOT / "models" / "phantom-sum-64"


def test_todays_preprocessing_gives_the_views_that_the_base_learned_from():
    recorded = json.loads((FOLDER / "fingerprint.json").read_text())
    today = fingerprint(recorded["seed"], PROTOCOL)
    worst = np.abs(np.array(recorded["views"]) - np.array(today["views"])).max()
    assert worst < 0.002, f"block means moved by {worst:.4f}: pretrain the base anew (CONTRIBUTING.md)"


def test_the_fingerprint_notices_another_preprocessing():
    recorded = json.loads((FOLDER / "fingerprint.json").read_text())
    other = fingerprint(recorded["seed"], PROTOCOL.model_copy(update={"match_scope": "none"}))
    assert np.abs(np.array(recorded["views"]) - np.array(other["views"])).max() > 0.02


def test_the_base_is_small_half_precision_and_a_plain_pipeline():
    assert sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file()) <= 10e6
    unet, scheduler = load_base(PROTOCOL.base_model, PROTOCOL.image_size)
    assert 3e6 < sum(p.numel() for p in unet.parameters()) < 5e6
    assert scheduler.config.prediction_type == "v_prediction" and unet.config.in_channels == 3


@pytest.fixture(scope="module")
def unseen():
    breasts = 64
    return base_views(breasts, 65, PROTOCOL).reshape(breasts, 2, PROTOCOL.image_size, PROTOCOL.image_size)


@pytest.mark.parametrize("encoding", PROTOCOL.encodings)
def test_the_base_can_only_guess_which_views_belong_together(unseen, encoding):
    groups = groups_of_like_area(unseen, np.arange(len(unseen)), 8, 8, PROTOCOL)
    model = load_base(PROTOCOL.base_model, PROTOCOL.image_size)
    row = gain_row(group_losses(model, unseen, groups, encoding, PROTOCOL, MIDDLE).mean(axis=-1), PROTOCOL)
    assert row["n"] == len(unseen) and row["top1_low"] <= row["chance"] <= row["top1_high"]
    assert abs(row["gain"]) < 0.01


def test_the_model_card_says_what_it_is():
    card = (FOLDER / "README.md").read_text()
    record = json.loads((FOLDER / "mammorgb.json").read_text())
    assert "no patient data" in card and "apache-2.0" in card and record["digest"] in card


@pytest.mark.parametrize("profile", ["laptop", "smoke"])
def test_profiles_use_the_base_of_the_repository(profile):
    assert Protocol.load(profile).base_model == PROTOCOL.base_model


def test_the_paired_model_is_the_training_of_the_published_study():
    record = json.loads((PAIRED / "mammorgb.json").read_text())
    identity, fields = record["identity"], PUBLISHED.model_dump(mode="json")
    assert record["digest"] == digest(identity) and record["encoding"] == "sum"
    assert identity["base_sha256"] == base_sha256(PUBLISHED.base_model)
    assert identity["steps"] == training_steps(PUBLISHED, record["n_pairs"])
    shared = fields.keys() & identity.keys()
    assert len(shared) > 10 and {name: identity[name] for name in shared} == {name: fields[name] for name in shared}
    assert sum(f.stat().st_size for f in PAIRED.rglob("*") if f.is_file()) <= 10e6


def test_the_paired_model_knows_more_than_chance_of_which_views_belong_together(unseen):
    groups = groups_of_like_area(unseen, np.arange(len(unseen)), 8, 8, PROTOCOL)
    losses = group_losses(open_for_sampling(PAIRED), unseen, groups, "sum", PROTOCOL, MIDDLE[1:2])
    assert gain_row(losses.mean(axis=-1), PROTOCOL)["gain_low"] > 0.01


def test_the_paired_model_draws_breasts():
    pairs = sample_pairs(PAIRED, 4, PUBLISHED.changed(sampling_steps=8), seed=1, progress=False)
    shares = pair_masks(pairs, PUBLISHED.mask_method).breast.mean(axis=(2, 3))
    assert pairs.shape == (4, 2, 64, 64) and (shares > 0.05).all() and (shares < 0.8).all()
    assert (pairs[..., -4:] < 0.05).mean() > 0.9, "air opposite the chest wall"
