"""FreeTickets: sparse at every step, connections dropped by magnitude and grown by gradient."""

import itertools
import math
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from phases import specified
from rivals import context, method
from torch import Tensor, nn

from baselines.edst import Edst
from baselines.shared.dynamic_sparsity import explore, keep_sparse, sparsify, update_due
from nfe import data as datasets
from nfe.engine.trainer import Trainer
from nfe.method import SGD, Recipe, SequentialMembers, Step
from nfe.pruning import erk_counts


def sparse_layers(network: nn.Module) -> dict[str, nn.Module]:
    return {n: m for n, m in network.named_modules() if hasattr(m, "mask")}


def optimizer_of(network: nn.Module) -> SGD:
    options = {"momentum": 0.9, "nesterov": False, "weight_decay": 5e-4}
    return SGD([{"params": list(network.parameters())}], lr=0.1, **options)


# --- one update -------------------------------------------------------------------------


def single_layer(weight: Tensor, mask: Tensor, gradient: Tensor) -> tuple[nn.Conv2d, SGD]:
    layer = nn.Conv2d(1, weight.numel(), 1, bias=False)
    shape = layer.weight.shape
    layer.weight.data = (weight * mask).reshape(shape).clone()
    layer.weight.grad = gradient.reshape(shape).clone()
    layer.register_buffer("mask", mask.reshape(shape).clone())
    optimizer = optimizer_of(layer)
    optimizer.state[layer.weight]["momentum_buffer"] = torch.ones(shape)
    return layer, optimizer


def test_an_update_by_hand() -> None:
    weight = torch.tensor([0.5, -0.1, 0.3, -0.9, 0.2, 7.0, 7.0, 7.0])
    mask = torch.tensor([True] * 5 + [False] * 3)
    gradient = torch.tensor([9.0, 0.0, 0.5, 9.0, -4.0, 0.1, -2.0, 1.0])
    layer, optimizer = single_layer(weight, mask, gradient)
    # Of 5 connections ⌈2.5⌉ = 3 go: 0.3, 0.2, −0.1. Of the rest the gradients 4, 2, 1 are largest.
    explore(layer, optimizer, 0.5)
    assert layer.mask.flatten().tolist() == [True, False, False, True, True, False, True, True]
    assert layer.weight.flatten().tolist() == pytest.approx([0.5, 0, 0, -0.9, 0, 0, 0, 0])
    momentum = optimizer.state[layer.weight]["momentum_buffer"].flatten()
    assert momentum.tolist() == [1, 0, 0, 1, 0, 0, 0, 0]


@given(seed=st.integers(0, 2**31), kept=st.integers(1, 60), share=st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_an_update_keeps_the_count_and_the_largest(seed: int, kept: int, share: float) -> None:
    draws = torch.Generator().manual_seed(seed)
    # Few values, so that ties occur.
    weight, gradient = (torch.randint(-4, 5, (60,), generator=draws).float() for _ in range(2))
    mask = torch.randperm(60, generator=draws) < kept
    layer, optimizer = single_layer(weight, mask, gradient)
    explore(layer, optimizer, share)
    new, value = layer.mask.flatten(), layer.weight.detach().flatten()
    assert int(new.sum()) == kept
    dropped = math.ceil(share * kept)
    stayed = mask & (value != 0)
    assert torch.equal(value[stayed], weight[stayed])
    assert int(stayed.sum()) <= kept - dropped
    gone = mask & ~stayed
    if stayed.any() and gone.any():
        assert weight[stayed].abs().min() >= weight[gone].abs().min()
    # What is grown (where 0 began and the mask is on) has larger gradients than what is left out.
    grown = new & ~mask
    assert (value[grown] == 0).all()
    if grown.any() and (~new).any():
        assert gradient[grown].abs().min() >= gradient[~new].abs().max()


def test_keeping_sparse_zeroes_weights_and_momentum() -> None:
    mask = torch.tensor([True, False])
    layer, optimizer = single_layer(torch.ones(2), mask, torch.ones(2))
    optimizer.step()
    assert layer.weight[1].item() != 0
    keep_sparse(layer, optimizer)
    assert layer.weight[0].item() != 0
    assert layer.weight[1].item() == 0
    assert optimizer.state[layer.weight]["momentum_buffer"][1].item() == 0


def test_dense_layers_get_dense_gradients_at_the_sparse_weights() -> None:
    """The gradient that growth looks at is that of the dense network at the same weights."""
    torch.manual_seed(0)
    sparse = sparsify(context("wrn-10-1").backbone(), 0.8, seed=1)
    layers = sparse_layers(sparse)
    sparse(torch.randn(4, 3, 16, 16)).logsumexp(1).sum().backward()
    for layer in layers.values():
        weight, mask = cast(nn.Parameter, layer.weight), cast(Tensor, layer.mask)
        assert (weight[~mask] == 0).all()
        if not mask.all():
            assert cast(Tensor, weight.grad)[~mask].count_nonzero() > 0


def test_masks_have_erks_counts() -> None:
    torch.manual_seed(0)
    layers = sparse_layers(sparsify(context("wrn-10-2").backbone(), 0.8, seed=1))
    shapes = {n: tuple(cast(Tensor, m.weight).shape) for n, m in layers.items()}
    counts = erk_counts(shapes, 0.8)
    assert {n: int(cast(Tensor, m.mask).sum()) for n, m in layers.items()} == counts
    total = sum(math.prod(shape) for shape in shapes.values())
    assert sum(counts.values()) == round(0.2 * total)


# --- when -------------------------------------------------------------------------------


def test_updates_come_at_their_interval_but_not_before_an_end() -> None:
    moments = [Step(step, 100, 10) for step in range(100)]
    due = [m.number + 1 for m in moments if update_due(0.15, m, m)]
    assert due == [15, 30, 45, 60, 75]
    due = [m.number + 1 for m in moments if update_due(40, m, m)]
    assert due == [40]
    first = [Step(step, 50, 10) for step in range(50)]
    due = [m.number + 1 for m, own in zip(moments, first, strict=False) if update_due(0.2, m, own)]
    assert due == [20]


def test_edst_rates_and_tickets_in_the_papers_epochs() -> None:
    """150 epochs at the base rate, then for each ticket 50 at a tenth and 50 at a hundredth."""
    chosen, recipe = Edst(), Recipe(128)
    for epoch in range(450):
        moment = Step(epoch * 7, 450 * 7, 7)
        inside = (epoch - 150) % 100
        factor = 1 if epoch < 150 else 0.1 if inside < 50 else 0.01
        assert chosen.learning_rate(recipe, moment) == pytest.approx(0.1 * factor), epoch
        number, own = chosen.ticket(moment)
        assert number == max(0, (epoch - 150) // 100)
        assert own.steps == 7 * (250 if number == 0 else 100)


def test_dst_rates_begin_again_with_each_network() -> None:
    chosen, recipe = method("dst"), Recipe(8)
    rates = [chosen.learning_rate(recipe, Step(step, 300, 10)) for step in range(300)]
    assert rates == [recipe.learning_rate(Step(step, 100, 10)) for step in range(100)] * 3


# --- whole runs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dst", {"members": 2, "interval": 3, "sparsity": 0.9}),
        ("edst", {"interval": 2, "sparsity": 0.9}),
    ],
)
def test_sparsity_is_exact_while_connections_change(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = specified(name, **options)
    trainer = Trainer(run, datasets.load(run.card))
    members = cast(SequentialMembers, trainer.network).members
    counts = {n: int(cast(Tensor, m.mask).sum()) for n, m in sparse_layers(members).items()}
    before = {n: cast(Tensor, m.mask).clone() for n, m in sparse_layers(members).items()}
    changes = []

    def watch(network: nn.Module, _optimizer: SGD, moment: Step) -> None:
        active = cast(SequentialMembers, network).active
        number = active + 1 if name == "edst" and _just_left(run.build_method(), moment) else active
        for layer_name, layer in sparse_layers(members).items():
            weight, mask = cast(Tensor, layer.weight), cast(Tensor, layer.mask)
            assert int(mask.sum()) == counts[layer_name]
            assert (weight[~mask] == 0).all()
            if layer_name.startswith(f"{number}."):
                source = layer_name.replace(f"{number}.", f"{active}.", 1)
                grown = mask & ~before[source]
                assert (weight[grown] == 0).all()
                changes.append((moment.number, int(grown.sum())))
            before[layer_name] = mask.clone()

    real = trainer.method.after_step

    def both(network: nn.Module, optimizer: SGD, moment: Step) -> None:
        real(network, optimizer, moment)
        watch(network, optimizer, moment)

    monkeypatch.setattr(type(trainer.method), "after_step", lambda _, *a: both(*a))
    trainer.train()
    by_step = {
        step: sum(grown for _, grown in group)
        for step, group in itertools.groupby(changes, key=lambda change: change[0])
    }
    changed = {step + 1 for step, grown in by_step.items() if grown}
    # dst: 12 steps a network, every 3 but the last; edst: tickets end after 7 (6.67), 9 and 12.
    assert changed == ({3, 6, 9, 15, 18, 21} if name == "dst" else {2, 4, 7, 9, 10})
    if name == "dst":
        states = [m.state_dict() for m in members]
        assert any(not torch.equal(states[0][k], states[1][k]) for k in states[0] if "mask" in k)


def _just_left(chosen: Any, moment: Step) -> bool:
    return bool(chosen.ticket(moment)[1].is_last) and not moment.is_last
