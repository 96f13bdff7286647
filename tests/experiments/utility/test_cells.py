"""Classifiers are computed once: what is stored is loaded, what is damaged or other is done anew, a kill costs one."""

import numpy as np
import pytest
from safetensors import safe_open
from utility_study import utility_study

from mammorgb_utils.experiments.utility import cells as module
from mammorgb_utils.experiments.utility import plan, run_cells, study_pool, study_tasks
from mammorgb_utils.experiments.utility.cells import _stored


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    run = utility_study(tmp_path_factory.mktemp("cells"), encodings=("sum",))
    pool = study_pool(run)
    tasks, _ = study_tasks(run, pool, "density")
    cells = plan(pool, tasks, [8], seeds=[1], added=1.0)
    return run, pool, tasks, cells, run_cells(run, pool, tasks, cells, steps=2, progress=False)


def test_every_cell_answers_what_it_was_asked(done):
    run, pool, tasks, cells, scores = done
    assert list(scores) == cells
    for cell, found in scores.items():
        assert all(np.isfinite(part).all() for part in found.values())
        assert ("sum" in found) == (cell.arm == "real" or (cell.task, cell.arm) == ("pairing", "synthetic"))
    files = {path.relative_to(run.appendix("B3")).as_posix() for path in run.appendix("B3").rglob("*.safetensors")}
    assert len(files) == len(cells) and "pairing/cnn/synthetic_only-sum-8-1.safetensors" in files


def test_what_is_done_is_loaded(done, monkeypatch):
    run, pool, tasks, cells, scores = done
    monkeypatch.setattr(module, "_answers", None)  # would raise when called
    again = run_cells(run, pool, tasks, cells, steps=2, progress=False)
    for cell in cells:
        assert again[cell].keys() == scores[cell].keys()
        assert all(np.array_equal(again[cell][name], scores[cell][name]) for name in scores[cell])


def test_a_killed_run_continues_at_the_cell_that_it_was_in(done, monkeypatch, tmp_path):
    run, pool, tasks, cells, scores = done

    class Killed(BaseException):
        pass

    other = type(run)(tmp_path, run.protocol, run.manifest)
    for name in ("pairs", "samples"):
        (tmp_path / name).symlink_to(run.root / name)
    answers, begun = module._answers, []

    def killed(pool, cell, *rest):
        if len(begun) == 5:
            raise Killed
        begun.append(cell)
        return answers(pool, cell, *rest)

    monkeypatch.setattr(module, "_answers", killed)
    with pytest.raises(Killed):
        run_cells(other, pool, tasks, cells, steps=2, progress=False)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 5
    monkeypatch.setattr(module, "_answers", lambda pool, cell, *rest: begun.append(cell) or answers(pool, cell, *rest))
    found = run_cells(other, pool, tasks, cells, steps=2, progress=False)
    assert begun == cells, "each once"
    for cell in cells:
        np.testing.assert_array_equal(found[cell]["heldout"], scores[cell]["heldout"])


def test_other_steps_and_damaged_files_are_done_anew(done, monkeypatch):
    run, pool, tasks, cells, _ = done
    chosen = [cell for cell in cells if cell.learner == "logistic" and cell.arm == "real"][:2]
    before = run_cells(run, pool, tasks, chosen, steps=3, progress=False)
    file = next(run.appendix("B3").glob("pairing/logistic/real-8-1.safetensors"))
    file.write_bytes(file.read_bytes()[:-9])
    assert _stored(file, "any") == {}
    calls, answers = [], module._answers
    monkeypatch.setattr(module, "_answers", lambda pool, cell, *rest: calls.append(cell) or answers(pool, cell, *rest))
    after = run_cells(run, pool, tasks, chosen, steps=3, progress=False)
    assert calls == [chosen[0]]
    np.testing.assert_array_equal(after[chosen[0]]["heldout"], before[chosen[0]]["heldout"])


@pytest.mark.parametrize(("learner", "name", "value"), [
    ("cnn", "_WIDTHS", (8, 16)), ("cnn", "_CODE", 16), ("cnn", "SHIFT", 0.01),
    ("logistic", "FEATURES", {"anatomy": ()})])
def test_what_another_network_or_list_of_features_said_is_done_anew(done, monkeypatch, learner, name, value):
    run, pool, tasks, cells, _ = done
    chosen = [cell for cell in cells if (cell.learner, cell.arm, cell.n) == (learner, "real", 8)][:1]
    file = run.appendix("B3") / chosen[0].task / learner / "real-8-1.safetensors"
    known = []
    for _ in range(2):
        run_cells(run, pool, tasks, chosen, steps=2, progress=False)
        with safe_open(file, framework="numpy") as stored:
            known.append(stored.metadata()["digest"])
        monkeypatch.setattr(getattr(module, {"cnn": "siamese"}.get(learner, learner)), name, value)
    assert known[0] != known[1]
