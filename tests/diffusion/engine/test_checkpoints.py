import errno
import json
from pathlib import Path

import pytest
import torch

from mammorgb_utils.diffusion.engine.checkpoints import CheckpointError, atomic_folder, load_checkpoint, save_checkpoint
from mammorgb_utils.diffusion.engine.loop import Journal

TENSORS = {"weights": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}, "ema": {"a": torch.zeros(2, 3)}}


def test_round_trip_keeps_the_newest_only(tmp_path):
    save_checkpoint(tmp_path, 2, TENSORS, {"seed": 1})
    save_checkpoint(tmp_path, 10, TENSORS, {"seed": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]
    step, tensors = load_checkpoint(tmp_path, {"seed": 1})
    assert step == 10 and tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[g][n], t) for g, group in TENSORS.items() for n, t in group.items())


def test_nothing_to_load(tmp_path):
    assert load_checkpoint(tmp_path / "none", {}) is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "record"])
def test_damage_is_found_and_named(tmp_path, damage):
    save_checkpoint(tmp_path, 2, TENSORS, {})
    target = tmp_path / "step-00000002"
    file = target / "weights.safetensors"
    if damage == "flip":
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    elif damage == "truncate":
        file.write_bytes(file.read_bytes()[:-4])
    elif damage == "remove":
        file.unlink()
    else:
        file = target / "checkpoint.json"
        file.write_text("{")
    with pytest.raises(CheckpointError, match=rf"{file.name}.*damaged: remove this folder"):
        load_checkpoint(tmp_path, {})


def test_changed_identity_is_refused_with_the_difference(tmp_path):
    save_checkpoint(tmp_path, 2, TENSORS, {"learning_rate": 0.1, "seed": 1})
    with pytest.raises(CheckpointError, match=r"learning_rate: 0.1 recorded, 0.2 asked for\)"):
        load_checkpoint(tmp_path, {"learning_rate": 0.2, "seed": 1})


@pytest.mark.parametrize("failing", ["weights.safetensors", "ema.safetensors"])
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch, failing):
    save_checkpoint(tmp_path, 2, TENSORS, {})
    write = Path.write_bytes

    def disk_full(path, data):
        if path.name == failing:
            write(path, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(CheckpointError, match=r"can.t be written \(No space left on device\).*before it stands: make"):
        save_checkpoint(tmp_path, 4, TENSORS, {})
    assert load_checkpoint(tmp_path, {})[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_what_was_written_is_read_back_before_the_old_one_goes(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 2, TENSORS, {})
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: write(path, data[:-1] + b"x"))  # a lying disk
    with pytest.raises(CheckpointError):
        save_checkpoint(tmp_path, 4, TENSORS, {})
    assert load_checkpoint(tmp_path, {})[0] == 2


def test_leftovers_of_a_killed_writer_are_cleared(tmp_path):
    save_checkpoint(tmp_path, 2, TENSORS, {})
    for name in (".step-00000004.77", ".step-00000001.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_bytes(b"half")
    assert load_checkpoint(tmp_path, {})[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model") as temporary:
        (temporary / "file").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_stats_drop_lines_past_the_checkpoint_and_a_torn_one(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_text("".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in (1, 2, 3)) + '{"step": 4, "lo')
    with Journal(tmp_path, done=2, steps=3, what="", show=False, first=True) as journal:
        journal.write(step=3, loss=0.5)
        journal.sync()
    assert [(line["step"], line["loss"]) for line in map(json.loads, path.read_text().splitlines())] == [
        (1, 1.0), (2, 1.0), (3, 0.5)]
