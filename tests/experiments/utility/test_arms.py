"""What each arm learns from and is asked: counts, sources that never mix, labels that only real pairs give."""

import numpy as np
import pytest
from utility_study import N, utility_study

from mammorgb_utils.experiments.utility import Cell, UtilityError, plan, study_pool, study_tasks
from mammorgb_utils.experiments.utility import arms as module
from mammorgb_utils.experiments.utility.arms import asked_items, held_back, learned_from, training_items
from mammorgb_utils.runs import write_array


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    run = utility_study(tmp_path_factory.mktemp("arms"))
    pool = study_pool(run)
    return pool, {task.name: task for task in study_tasks(run, pool, "density")[0]}


def items(asked, arm, name="", task="pairing", n=8, added=6, scores=None):
    pool, tasks = asked
    return training_items(pool, tasks[task], Cell(task, "cnn", arm, name, n, added, 1), scores or {})


def test_the_plan_has_every_arm_once_and_real_ones_first(asked):
    pool, tasks = asked
    cells = plan(pool, list(tasks.values()), [8], seeds=[1, 2], added=1.5)
    assert len(set(cells)) == len(cells)
    arms = {(cell.arm, cell.set) for cell in cells if (cell.task, cell.learner) == ("pairing", "cnn")}
    assert arms == {("real", ""), ("augmented", ""), ("duplicated", ""), ("more real", "")} | {
        (arm, name) for arm in ("synthetic", "shuffled", "synthetic only") for name in ("sum", "zero")}
    assert {cell.arm for cell in cells if cell.task == "density"} == {
        "real", "augmented", "duplicated", "more real", "synthetic"}
    assert not any(cell.arm == "augmented" and cell.learner == "logistic" for cell in cells)
    for place, cell in enumerate(cells):
        if cell.arm not in ("real", "source"):
            assert cells.index(cell._replace(arm="real", set="", added=0)) < place
    counts = {arm: {(cell.n, cell.added) for cell in cells if cell.arm == arm} for arm in ("synthetic", "more real")}
    assert counts["synthetic"] == {(8, 12), (N, 15)}, "15 of 20 are learned from"
    assert counts["more real"] == {(8, 12)}, "no more than there are"


def test_too_few_synthetic_pairs_are_named_before_any_work(asked, tmp_path):
    run = utility_study(tmp_path)
    samples = np.load(run.samples("sum"))
    samples[3:] = 0.0  # no mask
    write_array(run.samples("sum"), samples)
    pool = study_pool(run)
    with pytest.raises(UtilityError, match="samples/sum: 3 of 20 pairs have masks .* too few .*n_synthetic"):
        plan(pool, study_tasks(run, pool, "none")[0], [8], seeds=[1], added=1.0)
    with pytest.raises(UtilityError, match="added: 0.1 for each of 8 real patients are 1 synthetic pairs; 2 are"):
        plan(asked[0], list(asked[1].values()), [8], seeds=[1], added=0.1)


def test_every_arm_holds_what_it_says(asked):
    pool, _ = asked
    real = items(asked, "real")
    assert real.label.sum() == 8 and set(real.cc) <= set(pool.rows("train"))
    np.testing.assert_array_equal(real.cc, items(asked, "augmented").cc)
    twice = items(asked, "duplicated")
    assert twice.label.sum() == 14 and set(twice.cc) == set(real.cc)
    more = items(asked, "more real")
    assert more.label.sum() == 14 and set(real.cc) < set(more.cc) <= set(pool.rows("train"))
    only, added = items(asked, "synthetic only", "sum"), items(asked, "synthetic", "sum")
    assert only.label.sum() == 6 and set(only.cc) <= set(learned_from(pool, "sum"))
    np.testing.assert_array_equal(added.cc, np.concatenate([real.cc, only.cc]))


@pytest.mark.parametrize("arm", ["synthetic", "shuffled", "synthetic only", "more real", "duplicated"])
def test_no_item_mixes_sources_and_nothing_held_out_or_back_is_learned(asked, arm):
    pool, _ = asked
    found = items(asked, arm, "zero", added=15)
    source = pool.anatomy["set"].to_numpy()
    assert (source[found.cc] == source[found.mlo]).all()
    for label in (True, False):
        assert set(source[found.cc[found.label == label]]) == set(source[found.cc]), "every source in both classes"
    seen = {*found.cc, *found.mlo}
    assert not seen & {*pool.rows("heldout"), *held_back(pool, "zero"), *held_back(pool, "sum")}


def test_shuffled_pairs_are_strangers_called_own(asked):
    pool, _ = asked
    found, source = items(asked, "shuffled", "sum"), asked[0].anatomy["set"].to_numpy()
    drawn = found.label & (source[found.cc] == "sum")
    assert drawn.sum() == 6 and (found.cc[drawn] != found.mlo[drawn]).all()
    plain = items(asked, "synthetic", "sum")
    assert set(found.cc[drawn]) == set(plain.cc[plain.label & (source[plain.cc] == "sum")]), "the same pictures"


def test_a_pseudo_label_is_the_real_classifier_s_in_the_real_share(asked):
    pool, tasks = asked
    rows = learned_from(pool, "sum")
    scores = {"sum": np.linspace(-1.0, 1.0, len(rows))}
    found = items(asked, "synthetic", "sum", "density", scores=scores)
    drawn = np.isin(found.cc, rows)
    assert drawn.sum() == 6 and found.label[drawn].sum() == 3, "half of the real ones are dense"
    assert found.cc[drawn & found.label].min() > found.cc[drawn & ~found.label].max(), "the highest scores"
    assert module._pseudo_labels(np.zeros(4), 0.0).sum() == 1 and module._pseudo_labels(np.zeros(4), 1.0).sum() == 3


def test_what_is_asked(asked):
    pool, tasks = asked
    cell = Cell("pairing", "cnn", "real", "", 8, 0, 1)
    found = asked_items(pool, tasks["pairing"], cell)
    assert list(found) == ["heldout", "sum", "zero"] and set(found["heldout"].cc) == set(pool.rows("heldout"))
    assert set(found["sum"].cc) == set(held_back(pool, "sum"))
    assert list(asked_items(pool, tasks["pairing"], cell._replace(arm="synthetic", set="zero"))) == ["heldout", "zero"]
    assert list(asked_items(pool, tasks["pairing"], cell._replace(arm="shuffled", set="zero"))) == ["heldout"]
    density = asked_items(pool, tasks["density"], cell._replace(task="density"))
    assert set(density["sum"].cc) == set(learned_from(pool, "sum")), "those that need a label"
    probe = asked_items(pool, tasks["pairing"], Cell("source", "cnn", "source", "sum", 15, 15, 1))["heldout"]
    assert set(probe.cc[probe.label]) == set(held_back(pool, "sum")) and (~probe.label).sum() == N


def test_the_probe_learns_from_as_many_of_both_sources(asked):
    pool, tasks = asked
    found = training_items(pool, tasks["pairing"], Cell("source", "cnn", "source", "sum", 15, 15, 1), {})
    assert found.label.sum() == (~found.label).sum() == 15
    assert set(found.cc[found.label]) == set(learned_from(pool, "sum"))
