"""What is kept of long work: any order, byte for byte as numpy writes, and whole after a kill."""

import numpy as np
import pytest

from mammorgb_utils.data.batch.resumable import Record

FACT = {"code": ""}


def test_gathered_rows_are_the_file_that_numpy_writes(tmp_path):
    rows = np.random.default_rng(0).random((7, 3, 5), np.float32)
    record = Record(tmp_path / "rows.jsonl", (3, 5))
    record.add({6: FACT, 1: FACT}, {6: rows[6], 1: rows[1]})
    record.add({0: FACT, 2: {"code": "timeout"}, 3: FACT}, {0: rows[0], 3: rows[3]})
    record.add({})
    order = np.array([[3, 0], [6, 1]])
    record.gather(tmp_path / "gathered.npy", order)
    np.save(tmp_path / "expected.npy", rows[order])
    assert (tmp_path / "gathered.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    record.gather(tmp_path / "none.npy", np.zeros((0, 2), int))
    assert np.load(tmp_path / "none.npy").shape == (0, 2, 3, 5)


def test_a_row_that_is_absent_or_misshapen_is_refused(tmp_path):
    record = Record(tmp_path / "rows.jsonl", (2, 2))
    record.add({0: FACT}, {0: np.ones((2, 2), np.float32)})
    with pytest.raises(ValueError, match="rows.f32: row 4 isn't there"):
        record.gather(tmp_path / "gathered.npy", np.array([0, 4]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.f32", "rows.jsonl"]
    with pytest.raises(ValueError, match="row 1 has shape"):
        record.add({1: FACT}, {1: np.ones((2, 3), np.float32)})
    assert record.facts() == {0: FACT}


def test_facts_are_read_as_written_and_the_last_line_of_a_row_counts(tmp_path):
    record = Record(tmp_path / "new" / "log.jsonl")
    assert record.facts() == {}
    record.add({4: FACT, 2: {"code": "timeout", "detail": "größer"}})
    record.add({2: FACT})
    assert record.facts() == {4: FACT, 2: FACT}


def test_a_line_that_a_kill_cut_short_costs_only_itself(tmp_path):
    record = Record(tmp_path / "log.jsonl")
    record.add({1: FACT})
    with record.log.open("ab") as file:
        file.write(b'{"row": 2, "detail": "gr\xc3')
    record.add({3: FACT})
    assert sorted(record.facts()) == [1, 3]


def test_facts_without_their_arrays_are_forgotten(tmp_path):
    record = Record(tmp_path / "rows.jsonl", (2, 2))
    record.add({0: FACT}, {0: np.ones((2, 2), np.float32)})
    record.arrays.unlink()
    assert record.facts() == {}
    record.add({1: FACT}, {1: np.ones((2, 2), np.float32)})
    assert record.facts() == {1: FACT}
