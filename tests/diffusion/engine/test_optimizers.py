import pytest
import torch
from tiny_models import SIZE, blob_pairs, equal, weights

from mammorgb_utils.diffusion.engine.base import load_base
from mammorgb_utils.diffusion.engine.checkpoints import CheckpointError
from mammorgb_utils.diffusion.engine.optimizers import Optimizer
from mammorgb_utils.diffusion.engine.state import Recipe, State
from mammorgb_utils.diffusion.learning import training_step
from mammorgb_utils.diffusion.training import PairSource, train

RECIPE = Recipe(steps=3, batch_size=4, seed=0, learning_rate=1e-3, optimizer="muon", muon_learning_rate=0.02,
                precision="fp32")
OUTER = ("conv_in.", "conv_out.", "time_embedding.")


def stepped(base, recipe, layout=torch.contiguous_format):
    unet, scheduler = load_base(str(base), SIZE)
    state = State(unet, recipe, torch.device("cpu"))
    state.unet.to(memory_format=layout)
    state.optimizer = Optimizer(state.weights, recipe)
    source = PairSource(blob_pairs(8), "sum", 0.5, recipe)
    for _ in range(recipe.steps):
        training_step(state, scheduler, source, recipe)
    return state


def test_muon_moves_the_hidden_kernels_and_adamw_the_rest(base):
    """The same gradients given to torch's own optimisers, one matrix at a time."""
    unet, _ = load_base(str(base), SIZE)
    named = dict(unet.named_parameters())
    mine = {name: torch.nn.Parameter(w.detach().clone()) for name, w in named.items()}
    hidden = [name for name, w in mine.items() if w.ndim > 1 and not name.startswith(OUTER)]
    assert 10 < len(hidden) < len(mine) / 2
    optimizer = Optimizer(mine, RECIPE)
    flat = {name: torch.nn.Parameter(mine[name].detach().clone().flatten(1)) for name in hidden}
    rest = {name: torch.nn.Parameter(w.detach().clone()) for name, w in mine.items() if name not in flat}
    muon = torch.optim.Muon(flat.values(), lr=0.02, weight_decay=0.01)
    adamw = torch.optim.AdamW(rest.values(), lr=1e-3, weight_decay=0.01, fused=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for name, weight in mine.items():
            weight.grad = torch.randn(weight.shape, generator=generator)
            if name in flat:
                flat[name].grad = weight.grad.flatten(1).clone()
            else:
                rest[name].grad = weight.grad.clone()
        optimizer.step(1.0)
        muon.step()
        adamw.step()
    for name, weight in mine.items():
        expected = flat[name].view_as(weight) if name in flat else rest[name]
        assert torch.equal(weight, expected), name


def test_both_learning_rates_follow_the_schedule(base):
    unet, _ = load_base(str(base), SIZE)
    state = State(unet, RECIPE, torch.device("cpu"))
    before = {name: w.detach().clone() for name, w in state.weights.items()}
    for weight in state.weights.values():
        weight.grad = torch.ones_like(weight)
    state.optimizer.step(0.0)
    assert all(torch.equal(state.weights[name], w) for name, w in before.items())


def test_the_memory_layout_changes_nothing_beyond_rounding(base):
    plain, last = stepped(base, RECIPE), stepped(base, RECIPE, torch.channels_last)
    for name, weight in plain.weights.items():
        torch.testing.assert_close(last.weights[name], weight, atol=2e-3, rtol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_restored_state_goes_on_as_the_unbroken_one(base, layout):
    """Also into another memory layout: moments are kept in the weights' own shapes."""
    state = stepped(base, RECIPE)
    unet, scheduler = load_base(str(base), SIZE)
    other = State(unet, RECIPE, torch.device("cpu"))
    other.unet.to(memory_format=layout)
    other.optimizer = Optimizer(other.weights, RECIPE)
    saved = {group: {name: t.detach().clone().contiguous() for name, t in named.items()}
             for group, named in state.tensors().items()}
    other.restore(state.step, saved)
    for name, tensor in other.optimizer.tensors().items():
        assert torch.equal(tensor, saved["optimizer"][name]), name
    source = PairSource(blob_pairs(8), "sum", 0.5, RECIPE)
    for each in (state, other):
        training_step(each, scheduler, source, RECIPE)
    for name, weight in state.weights.items():
        if layout is torch.contiguous_format:
            assert torch.equal(other.weights[name], weight), name
        torch.testing.assert_close(other.weights[name], weight, atol=2e-3, rtol=0)


def test_a_checkpoint_of_the_other_optimizer_is_refused(tmp_path, pairs, tiny):
    train(pairs, tiny, "sum", tmp_path / "run", model_dir=tmp_path / "model", progress=False)
    muon = tiny.model_copy(update={"optimizer": "muon"})
    with pytest.raises(CheckpointError, match="optimizer: 'adamw' recorded, 'muon' asked for"):
        train(pairs, muon, "sum", tmp_path / "run", model_dir=tmp_path / "other", progress=False)


def test_muon_learns_other_weights_than_adamw(tmp_path, pairs, tiny, trained):
    muon = train(pairs, tiny.model_copy(update={"optimizer": "muon"}), "sum", tmp_path, progress=False)
    assert not equal(weights(muon), weights(trained))
