"""Rows on disk and the log beside them: any order, byte for byte as numpy writes, and whole after a kill."""

import numpy as np
import pytest

from mammorgb_utils.data.progress_log import append_to_log, logged
from mammorgb_utils.data.row_file import RowFile


def test_gathered_rows_are_the_file_that_numpy_writes(tmp_path):
    rows = np.random.default_rng(0).random((7, 3, 5), np.float32)
    file = RowFile(tmp_path / "rows.f32", (3, 5))
    file.write({6: rows[6], 1: rows[1]})
    file.write({0: rows[0], 3: rows[3]})
    file.write({})
    order = np.array([[3, 0], [6, 1]])
    file.gather(tmp_path / "gathered.npy", order)
    np.save(tmp_path / "expected.npy", rows[order])
    assert (tmp_path / "gathered.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_no_rows_make_an_empty_array(tmp_path):
    RowFile(tmp_path / "rows.f32", (3, 5)).gather(tmp_path / "gathered.npy", np.zeros((0, 2), int))
    assert np.load(tmp_path / "gathered.npy").shape == (0, 2, 3, 5)


def test_a_row_that_is_absent_or_misshapen_is_refused(tmp_path):
    file = RowFile(tmp_path / "rows.f32", (2, 2))
    file.write({0: np.ones((2, 2), np.float32)})
    with pytest.raises(ValueError, match="rows.f32: row 4 isn't there"):
        file.gather(tmp_path / "gathered.npy", np.array([0, 4]))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.f32"]
    with pytest.raises(ValueError, match="row 1 has shape"):
        file.write({1: np.ones((2, 3), np.float32)})


def test_a_log_is_read_as_written_and_the_last_line_of_a_row_counts(tmp_path):
    log = tmp_path / "new" / "log.jsonl"
    assert logged(log) == {}
    append_to_log(log, {4: {"code": ""}, 2: {"code": "timeout", "detail": "größer"}})
    append_to_log(log, {2: {"code": ""}})
    assert logged(log) == {4: {"code": ""}, 2: {"code": ""}}


def test_a_line_that_a_kill_cut_short_costs_only_itself(tmp_path):
    log = tmp_path / "log.jsonl"
    append_to_log(log, {1: {"code": ""}})
    with log.open("ab") as file:
        file.write(b'{"row": 2, "detail": "gr\xc3')
    append_to_log(log, {3: {"code": ""}})
    assert sorted(logged(log)) == [1, 3]
