"""Export: 16-bit views that tell nothing but themselves, and none that may repeat a training pair unless told."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mammorgb_utils import commands, runs
from mammorgb_utils.cli import main
from mammorgb_utils.output.records import record, write_metric
from mammorgb_utils.runs import write_array, write_csv, write_json

PAIRS = np.random.default_rng(0).random((3, 2, 8, 8)).astype(np.float32)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A run with three synthetic pairs, the second of them flagged."""
    for module in (runs, commands):
        monkeypatch.setattr(module, "PROJECT_ROOT", tmp_path)
    root = tmp_path / "runs" / "r"
    write_json(root / "protocol.json", {})
    write_array(root / "samples" / "sum" / "pairs.npy", PAIRS)
    flags(root, [False, True, False])
    return root


def flags(root, flagged):
    rows = pd.DataFrame({"set": "sum", "pair": [f"sum-{i:05d}" for i in range(len(flagged))], "flagged": flagged})
    copies = pd.DataFrame({"set": "planted_noise", "pair": ["planted_noise-00000"], "flagged": True})
    write_metric(root / "metrics" / "nearest_training.csv", pd.concat([rows, copies]))


def refusal(capsys, root, *options):
    assert main(["export", "--run", "r", *options]) == 1
    assert not list(root.glob("export/**/*.png"))
    return capsys.readouterr().err


def written(root):
    return sorted(path.name for path in (root / "export" / "sum").iterdir())


def test_views_are_16_bit_without_metadata_and_planted_copies_stop_nothing(root):
    flags(root, [False] * 3)
    assert main(["export", "--run", "r"]) == 0
    with Image.open(root / "export" / "sum" / "sum_00001_MLO.png") as image:
        assert np.abs(np.asarray(image) / 65535 - PAIRS[1, 1]).max() < 1e-4 and not image.info
    assert len(written(root)) == 6


def test_flagged_pairs_stop_the_export_by_name_with_both_remedies(root, capsys):
    error = refusal(capsys, root)
    assert "1 synthetic pairs may repeat a training pair (sum-00001)" in error
    assert "--leave-out-flagged" in error and "--include-flagged" in error


def test_flagged_pairs_are_left_out_also_where_they_were_exported_before(root):
    assert main(["export", "--run", "r", "--include-flagged"]) == 0 and len(written(root)) == 6
    assert main(["export", "--run", "r", "--leave-out-flagged"]) == 0
    assert written(root) == [f"sum_{i:05d}_{view}.png" for i in (0, 2) for view in ("CC", "MLO")]


def test_without_notebook_04_nothing_is_exported_unless_told(root, capsys):
    (root / "metrics" / "nearest_training.csv").unlink()
    for options in ((), ("--leave-out-flagged",)):
        error = refusal(capsys, root, *options)
        assert "run notebook 04_metrics first" in error and "--include-flagged" in error
    assert main(["export", "--run", "r", "--include-flagged"]) == 0 and len(written(root)) == 6


@pytest.mark.parametrize(("change", "message"), [
    (lambda root: flags(root, [False] * 2), "isn't about the 3 pairs of samples/sum"),
    (lambda root: flags(root, ["False", "", "False"]), "isn't about the 3 pairs"),
    (lambda root: write_metric(root / "metrics" / "nearest_training.csv", pd.DataFrame({"set": [], "pair": []})),
     "column 'flagged' is missing")])
def test_a_table_of_other_samples_or_a_damaged_one_is_refused(root, capsys, change, message):
    change(root)
    assert message in refusal(capsys, root)


def edited(root):
    file = root / "metrics" / "nearest_training.csv"
    file.write_text(file.read_text().replace("sum-00001,True", "sum-00001,False"))


def without_digests(root):
    """As a table that is recorded like a figure."""
    file = root / "metrics" / "nearest_training.csv"
    file.unlink()
    write_csv(file, pd.DataFrame({"set": "sum", "pair": [f"sum-{i:05d}" for i in range(3)], "flagged": False}))
    record(file)


@pytest.mark.parametrize(("change", "message"), [
    (lambda root: write_array(root / "samples" / "sum" / "pairs.npy", PAIRS[::-1]), "the samples were drawn again"),
    (lambda root: write_array(root / "samples" / "zero" / "pairs.npy", PAIRS), "the samples were drawn again"),
    (edited, "was changed since notebook 04 wrote it; remove it"),
    (without_digests, "nothing tells which samples it is about"),
    (lambda root: shutil.rmtree(root / "metrics" / ".written"), "nothing tells which samples it is about")])
def test_stale_or_edited_flags_are_refused(root, capsys, change, message):
    flags(root, [False, True, False])
    change(root)
    for options in ((), ("--leave-out-flagged",)):
        error = refusal(capsys, root, *options)
        assert message in error and "run notebook 04_metrics first" in error and "--include-flagged" in error


def test_a_run_without_samples_says_so(root, capsys):
    (root / "samples" / "sum" / "pairs.npy").unlink()
    assert "holds no synthetic pairs" in refusal(capsys, root)
