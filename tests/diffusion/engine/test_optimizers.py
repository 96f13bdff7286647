import pytest
import torch
from tiny_models import SIZE, equal, weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mammorgb_utils.diffusion.engine import optimizers, stacked_muon
from mammorgb_utils.diffusion.engine.base import load_base, pick_device
from mammorgb_utils.diffusion.engine.checkpoints import CheckpointError
from mammorgb_utils.diffusion.engine.optimizers import Optimizer
from mammorgb_utils.diffusion.engine.stacked_muon import StackedMuon
from mammorgb_utils.diffusion.engine.state import Recipe, State
from mammorgb_utils.diffusion.training import train

RECIPE = Recipe(steps=3, batch_size=4, seed=0, learning_rate=1e-3, optimizer="muon", muon_learning_rate=0.02,
                precision="fp32")
OUTER = ("conv_in.", "conv_out.", "time_embedding.")


class Dtypes(TorchDispatchMode):
    """What is computed in meanwhile."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen |= {part.dtype for part in tree_leaves(args) if isinstance(part, torch.Tensor)}
        return func(*args, **(kwargs or {}))


def state_of(base, layout=torch.contiguous_format):
    unet, _ = load_base(str(base), SIZE)
    state = State(unet, RECIPE, pick_device())
    state.unet.to(memory_format=layout)
    state.optimizer = Optimizer(state.weights, RECIPE)
    return state


def step(state, seed):
    """One update by gradients that the seed decides."""
    generator = torch.Generator().manual_seed(seed)
    for weight in state.weights.values():
        weight.grad = torch.empty_like(weight).copy_(torch.randn(weight.shape, generator=generator))
    state.optimizer.step(1.0)


def largest_difference(one, other):
    return max(float((one.weights[name] - weight).detach().abs().max()) for name, weight in other.weights.items())


def test_muon_moves_the_hidden_kernels_and_adamw_the_rest(base):
    """The same gradients given to AdamW, and to the Muon of this machine, whose matrices are made here."""
    unet, _ = load_base(str(base), SIZE)
    named = dict(unet.named_parameters())
    mine = {name: torch.nn.Parameter(w.detach().clone()) for name, w in named.items()}
    hidden = [name for name, w in mine.items() if w.ndim > 1 and not name.startswith(OUTER)]
    assert 10 < len(hidden) < len(mine) / 2
    optimizer = Optimizer(mine, RECIPE)
    flat = {name: torch.nn.Parameter(mine[name].detach().clone().flatten(1)) for name in hidden}
    rest = {name: torch.nn.Parameter(w.detach().clone()) for name, w in mine.items() if name not in flat}
    muon = type(optimizer._muon)(flat.values(), lr=0.02, weight_decay=0.01)
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


@pytest.mark.parametrize(("native", "muon"), [("bf16", torch.optim.Muon), ("fp32", StackedMuon)])
def test_a_cpu_without_bfloat16_never_computes_in_it(base, monkeypatch, native, muon):
    """Emulated, Muon's products take several times as long as all else in a step."""
    for module in (optimizers, stacked_muon):
        monkeypatch.setattr(module, "resolve_precision", lambda precision, device: native)
    unet, _ = load_base(str(base), SIZE)
    state = State(unet, RECIPE, torch.device("cpu"))
    assert type(state.optimizer._muon) is muon
    with Dtypes() as found:
        step(state, seed=1)
    assert (torch.bfloat16 in found.seen) == (native == "bf16")


@pytest.mark.parametrize("native", ["bf16", "fp32"])
def test_muon_in_stacks_is_torchs_within_rounding(monkeypatch, native):
    """Standing, lying and square matrices; momentum and decay over several steps."""
    monkeypatch.setattr(stacked_muon, "resolve_precision", lambda precision, device: native)
    shapes = [(8, 8), (8, 72), (16, 8), (16, 144), (8, 16), (72, 16)]
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.randn(shape, generator=generator.manual_seed(i)))
                     for i, shape in enumerate(shapes)] for _ in range(2))
    start = [weight.detach().clone() for weight in ours]
    stacked, plain = (optimizer(weights, lr=0.02, weight_decay=0.1)
                      for optimizer, weights in ((StackedMuon, ours), (torch.optim.Muon, theirs)))
    for turn in range(4):
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            for weight in pair:
                weight.grad = torch.randn(weight.shape, generator=generator.manual_seed(10 * turn + i))
        stacked.step()
        plain.step()
    for mine, other, before in zip(ours, theirs, start, strict=True):
        assert torch.allclose(stacked.state[mine]["momentum_buffer"], plain.state[other]["momentum_buffer"], atol=1e-6)
        assert (mine - other).norm() < 0.02 * (other - before).norm()


def test_stacked_muon_goes_on_from_a_saved_momentum():
    weight, saved = torch.nn.Parameter(torch.randn(16, 8)), torch.randn(16, 8)
    optimizer = StackedMuon([weight])
    optimizer.state[weight] = {"momentum_buffer": saved.clone()}
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert torch.allclose(optimizer.state[weight]["momentum_buffer"], 0.95 * saved)


def test_both_learning_rates_follow_the_schedule(base):
    unet, _ = load_base(str(base), SIZE)
    state = State(unet, RECIPE, pick_device())
    before = {name: w.detach().clone() for name, w in state.weights.items()}
    for weight in state.weights.values():
        weight.grad = torch.ones_like(weight)
    state.optimizer.step(0.0)
    assert all(torch.equal(state.weights[name], w) for name, w in before.items())


def test_the_memory_layout_changes_nothing_beyond_rounding(base):
    """Muon ignores the order of a matrix's columns, but for the rounding of its bfloat16 products."""
    plain, last, still = state_of(base), state_of(base, torch.channels_last), state_of(base)
    for each in (plain, last):
        step(each, seed=1)
    assert largest_difference(plain, last) < 0.1 * largest_difference(plain, still)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_restored_state_goes_on_as_the_unbroken_one(base, layout):
    """Also into another memory layout: moments are kept in the weights' own shapes."""
    state, other = state_of(base), state_of(base, layout)
    for seed in (1, 2):
        step(state, seed)
    saved = {group: {name: tensor.detach().clone().contiguous() for name, tensor in named.items()}
             for group, named in state.tensors().items()}
    other.restore(2, saved)
    assert all(torch.equal(tensor, saved["optimizer"][name]) for name, tensor in other.optimizer.tensors().items())
    before = largest_difference(state, other)
    for each in (state, other):
        step(each, seed=3)
    moved = max(float((weight - saved["weights"][name]).detach().abs().max()) for name, weight in state.weights.items())
    assert before == 0 and largest_difference(state, other) <= (0 if layout is torch.contiguous_format else 0.1 * moved)


def test_a_checkpoint_of_the_other_optimizer_is_refused(tmp_path, pairs, tiny):
    train(pairs, tiny, "sum", tmp_path / "run", model_dir=tmp_path / "model", progress=False)
    muon = tiny.model_copy(update={"optimizer": "muon"})
    with pytest.raises(CheckpointError, match="optimizer: 'adamw' recorded, 'muon' asked for"):
        train(pairs, muon, "sum", tmp_path / "run", model_dir=tmp_path / "other", progress=False)


def test_muon_learns_other_weights_than_adamw(tmp_path, pairs, tiny, trained):
    muon = train(pairs, tiny.model_copy(update={"optimizer": "muon"}), "sum", tmp_path, progress=False)
    assert not equal(weights(muon), weights(trained))
