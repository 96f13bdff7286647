"""One process or two, one pass or four: the same run."""

import subprocess
import sys

import numpy as np
import processes_run
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import SIZE, blob_pairs, weights

from mammorgb_utils.diffusion.engine.sample_store import sample_study

SCRIPT = processes_run.__file__
# What `accelerate launch` starts on several GPUs; for several CPU processes it asks for MPI instead.
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def run(root, name, processes, **fields):
    """Train in this process, or in several; gradients of step 1 and final weights."""
    folder = root / name
    folder.mkdir()
    protocol = run.protocol.model_copy(update=fields)
    (folder / "protocol.json").write_text(protocol.model_dump_json())
    np.save(folder / "pairs.npy", run.pairs)
    if processes == 1:
        processes_run.work(folder, folder / "out")
    else:
        command = [*LAUNCH, "--nproc_per_node", str(processes), str(SCRIPT), str(folder), str(folder / "out")]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "out" / "processes.txt").read_text() == str(processes)
    return load_file(folder / "out" / "gradients.safetensors"), weights(folder / "out" / "model")


@pytest.fixture(scope="module")
def alone(tmp_path_factory, tiny):
    """Twenty steps of eight pairs in one process."""
    run.protocol = tiny.model_copy(update={"batch_size": 8, "epochs": 10.0, "checkpoint_every": 20, "n_synthetic": 8})
    run.pairs = blob_pairs(16)
    run.root = tmp_path_factory.mktemp("processes")
    return run(run.root, "alone", 1)


@pytest.mark.parametrize(("name", "processes", "accumulation"), [("two", 2, 1), ("passes", 1, 4), ("both", 2, 2)])
def test_processes_and_passes_change_nothing_beyond_rounding(alone, name, processes, accumulation):
    gradients, trained = run(run.root, name, processes, accumulation=accumulation)
    largest = max(float(g.abs().max()) for g in alone[0].values())
    worst = max(float((gradients[key] - g).abs().max()) for key, g in alone[0].items())
    assert worst <= 1e-5 * largest
    moved = max(float((trained[key] - w).abs().max()) for key, w in alone[1].items())
    assert moved <= run.protocol.learning_rate
    assert all(torch.isfinite(w).all() for w in trained.values())
    print(f"{name}: gradients {worst / largest:.1e} relative, weights after 20 steps {moved:.1e}")


def test_processes_share_the_sampling_of_the_same_images(alone, tmp_path):
    """Parts are drawn by turns; each process finds the model that both trained."""
    two = run.root / "two"
    samples = np.load(two / "out" / "samples" / "pairs.npy")
    alone_again = sample_study(two / "out" / "model", run.protocol, tmp_path / "pairs.npy", progress=False)
    assert samples.shape == (run.protocol.n_synthetic, 2, SIZE, SIZE) and np.array_equal(samples, alone_again)
    assert not list((two / "out" / "samples").glob("parts-*"))


def test_the_same_passes_are_the_same_bits(alone):
    again = run(run.root, "again", 1)
    assert all(torch.equal(again[1][key], w) for key, w in alone[1].items())
