"""What would fail after hours is told before the first notebook, all faults at once."""

import re
import shutil
from collections import namedtuple

import pandas as pd
import pytest

from mammorgb_utils.beforehand import require_feasible
from mammorgb_utils.diffusion.engine.base import load_base
from mammorgb_utils.protocol import Protocol
from mammorgb_utils.runs import PROJECT_ROOT, RunError

SMOKE = Protocol.load("smoke")


def cohort(train=30, heldout=30, per_patient=1, **changes):
    """A manifest's rows of so many breasts with both views."""
    rows = [{"pair": f"P{split}{i}", "patient": f"{split}{i // per_patient}", "laterality": "L", "view": view,
             "split": split, "birads": 2, "implant": False, "source": "mine"}
            for split, n in (("train", train), ("heldout", heldout)) for i in range(n) for view in ("CC", "MLO")]
    return pd.DataFrame(rows).astype({"birads": "Int64", "implant": "boolean"}).assign(**changes)


def faults(tmp_path, manifest=None, **fields):
    with pytest.raises(RunError) as error:
        require_feasible(SMOKE.changed(**fields), cohort() if manifest is None else manifest, tmp_path / "runs" / "r")
    return str(error.value)


def test_a_study_that_can_be_done_passes(tmp_path):
    require_feasible(SMOKE, cohort(), tmp_path / "runs" / "r")


@pytest.mark.parametrize(("fields", "message"), [
    ({"batch_size": 512}, "batch_size is 512, and the cohort has 30 training pairs; lower batch_size"),
    ({"n_synthetic": 1}, "n_synthetic: 1; at least 3 are needed"), ({"n_real": 2}, "real pairs .*: 2; at least 3"),
    ({"image_size": 96}, "base_model .* was trained at 64 px, the protocol asks for image_size 96"),
    ({"base_model": "models/nowhere"}, "models/nowhere.*no model_index.json"),
    ({"reference_cdf": "data/nowhere.json"}, "reference_cdf: 'data/nowhere.json' is neither packaged nor a file"),
    ({"accepted_birads": (5,)}, "no usable pair is left in split 'train'.*other BI-RADS grade: 120")])
def test_a_profile_that_does_not_fit_is_named(tmp_path, fields, message):
    assert re.search(message, faults(tmp_path, **fields)) and not (tmp_path / "runs").exists()


def test_a_manifest_that_does_not_fit_is_named(tmp_path):
    assert "the cohort has 12 training pairs" in faults(tmp_path, cohort(train=12))
    assert "patients of the real pairs (real_split, n_real): 2;" in faults(tmp_path, cohort(per_patient=15))
    assert "no usable pair is left in split 'heldout'" in faults(tmp_path, cohort(heldout=0))
    one_view = cohort()
    assert "missing view: 60" in faults(tmp_path, one_view[one_view["view"] == "CC"])


def test_a_condition_that_cannot_be_learned_is_named(tmp_path):
    asked = {"condition": "density"}
    assert "the manifest has no column density; add it, A to D (for phantoms `mammorgb phantom --overwrite` does)" in \
        faults(tmp_path, **asked)
    graded = cohort(train=40)
    few = graded.assign(density=(["A"] * 44 + ["B"] * 36 + ["C"] * 60))
    assert "too few: B: 18; at least 20 of each are needed" in faults(tmp_path, few, **asked)
    assert "too few: no grade;" in faults(tmp_path, graded.assign(density=""), **asked)
    require_feasible(SMOKE.changed(**asked), graded.assign(density=["A"] * 80 + [""] * 60), tmp_path / "runs" / "r")


def test_phantoms_that_are_still_to_be_made_are_counted_by_the_profile(tmp_path):
    require_feasible(SMOKE, None, tmp_path / "runs" / "r")
    with pytest.raises(RunError, match="batch_size is 16, and the cohort has 10 training pairs"):
        require_feasible(SMOKE.changed(phantom_pairs=20), None, tmp_path / "runs" / "r")


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(10**6))
    assert "the disk of runs/ has 0.0 GB free, and pairs, models and samples take about" in faults(tmp_path)


def test_weights_stored_in_half_precision_count_as_they_are_trained(tmp_path, monkeypatch):
    unet, _ = load_base(SMOKE.base_model, SMOKE.image_size)
    weights = 4 * sum(weight.numel() for weight in unet.parameters())
    least = (10 * len(SMOKE.encodings) + 4) * weights  # checkpoint, model and five more of each, one being written
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(least))
    assert "free, and pairs, models and samples take about" in faults(tmp_path)
    for name in SMOKE.encodings:
        (tmp_path / "runs" / "r" / "samples" / name).mkdir(parents=True)
        (tmp_path / "runs" / "r" / "samples" / name / "pairs.npy").touch()
    (tmp_path / "runs" / "r" / "pairs").mkdir()
    (tmp_path / "runs" / "r" / "pairs" / "pairs.npy").touch()
    require_feasible(SMOKE, cohort(), tmp_path / "runs" / "r")


def test_a_base_whose_weights_are_damaged_is_told(tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(PROJECT_ROOT / SMOKE.base_model, folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    assert "its weights can't be read" in faults(tmp_path, base_model=str(folder))


def test_all_faults_are_told_at_once(tmp_path):
    said = faults(tmp_path, batch_size=512, image_size=96, reference_cdf="nowhere", n_synthetic=1)
    assert "4 faults" in said and [line[:2] for line in said.splitlines()[1:]] == ["- "] * 4


def test_the_base_of_a_trained_study_is_not_asked_for(tmp_path):
    for name in SMOKE.encodings:
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model_index.json").touch()
    require_feasible(SMOKE.changed(base_model="models/nowhere"), cohort(), tmp_path)
