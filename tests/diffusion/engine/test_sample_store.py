"""What sampling leaves on disk: pairs, third channel, and their record."""

import json

import numpy as np
import pytest

from mammorgb_utils.diffusion.engine import sample_store
from mammorgb_utils.diffusion.engine.sample_store import load_third, sample_study
from mammorgb_utils.diffusion.sampling import SamplingError, sample_pairs


@pytest.fixture(scope="module")
def protocol(tiny):
    return tiny.model_copy(update={"n_synthetic": 7})


@pytest.fixture
def drawn(tmp_path, trained, protocol):
    out = tmp_path / "samples" / "pairs.npy"
    return out, np.array(sample_study(trained, protocol, out, progress=False))


def test_third_channel_lies_beside_the_pairs(drawn, trained, protocol):
    out, pairs = drawn
    expected = sample_pairs(trained, 7, protocol, protocol.seed, return_third=True, progress=False)
    np.testing.assert_array_equal(pairs, expected[0])
    np.testing.assert_array_equal(load_third(out), expected[1])
    assert load_third(out).dtype == np.float32
    assert json.loads(out.with_name("samples.json").read_text())["third"] == "third.npy"
    assert sorted(path.name for path in out.parent.iterdir() if path.name != ".lock") == [
        "pairs.npy", "samples.json", "third.npy"]


@pytest.mark.parametrize("lost", ["third.npy", "record"])
def test_a_folder_without_third_channel_is_drawn_again_to_the_same_pairs(drawn, trained, protocol, lost):
    out, pairs = drawn
    if lost == "third.npy":
        out.with_name("third.npy").unlink()
        assert load_third(out) is None
    else:  # as a study wrote it that knew of pairs alone
        record = json.loads(out.with_name("samples.json").read_text())
        del record["third"]
        out.with_name("samples.json").write_text(json.dumps(record))
    np.testing.assert_array_equal(sample_study(trained, protocol, out, progress=False), pairs)
    assert load_third(out).shape == (7, 16, 16)


def test_a_killed_sampling_continues_with_the_parts_that_are_missing(tmp_path, trained, protocol, monkeypatch):
    out, asked = tmp_path / "pairs.npy", []

    def killed(*args, start=0, **options):
        asked.append(start)
        if start == 3 and asked.count(3) == 1:
            raise KeyboardInterrupt
        return sample_pairs(*args, start=start, **options)

    monkeypatch.setattr(sample_store, "sample_pairs", killed)
    with pytest.raises(KeyboardInterrupt):
        sample_study(trained, protocol, out, progress=False)
    assert not out.exists() and load_third(out) is None
    pairs = sample_study(trained, protocol, out, progress=False)
    assert asked == [0, 3, 3, 6]
    expected = sample_pairs(trained, 7, protocol, protocol.seed, return_third=True, progress=False)
    np.testing.assert_array_equal(pairs, expected[0])
    np.testing.assert_array_equal(load_third(out), expected[1])


def test_a_finished_folder_is_opened_not_drawn(drawn, trained, protocol, monkeypatch):
    out, pairs = drawn
    monkeypatch.setattr(sample_store, "sample_pairs", None)
    np.testing.assert_array_equal(sample_study(trained, protocol, out, progress=False), pairs)


def test_a_third_channel_of_other_pairs_is_refused(drawn):
    out, _ = drawn
    np.save(out.with_name("third.npy"), np.zeros((3, 16, 16), np.float32))
    with pytest.raises(SamplingError, match=r"third.npy: shape \(3, 16, 16\) doesn't fit pairs of shape \(7, 2"):
        load_third(out)
