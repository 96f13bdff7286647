"""A kill in the midst of work over many files."""

from contextlib import contextmanager

import pytest

from mammorgb_utils.data.batch import resumable


@contextmanager
def killed_at_third_batch():
    """Batches of four; the third is worked on, but killed before it is kept."""
    kept, add = [], resumable.Record.add

    def killed(record, facts, arrays=None):
        if len(kept) == 2:
            raise KeyboardInterrupt
        kept.append(len(facts))
        add(record, facts, arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resumable, "BATCH", 4)
        patch.setattr(resumable.Record, "add", killed)
        yield
    assert kept == [4, 4]
