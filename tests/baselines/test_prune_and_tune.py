"""Prune and Tune: complementary children, the parent they come from, and their schedule."""

from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from phases import specified
from rivals import context, method, network
from torch import Tensor, nn

from baselines.shared.children import Family, half, one_cycle
from nfe import data as datasets
from nfe.engine.trainer import Trainer
from nfe.evaluation import cost
from nfe.method import SGD, Recipe, Step


def masks(child: nn.Module) -> dict[str, Tensor]:
    return {n: v for n, v in child.state_dict().items() if n.endswith("weight.0.mask")}


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
    pair=st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_children_complement_each_other_in_pairs(shape: list[int], seed: int, pair: int) -> None:
    first, second = (half(torch.Size(shape), 2 * pair + i, "a", seed) for i in (0, 1))
    assert torch.equal(first, ~second)
    assert int(first.sum()) == first.numel() // 2
    assert first.shape == torch.Size(shape)


def test_pairs_layers_and_seeds_differ() -> None:
    shape = torch.Size((8, 8))
    found = [half(shape, *key) for key in ((0, "a", 0), (2, "a", 0), (0, "a", 1), (0, "b", 0))]
    for number, one in enumerate(found):
        assert all(not torch.equal(one, other) for other in found[:number])
        assert all(not torch.equal(one, ~other) for other in found[:number])


def test_every_convolution_of_the_network_is_halved() -> None:
    made = cast(Family, network("prune_and_tune", members=3))
    convolutions = [
        n for n, m in context("wrn-10-2").backbone().named_modules() if type(m) is nn.Conv2d
    ]
    first, second, third = (masks(child) for child in made.members)
    assert len(first) == len(convolutions)
    for name, mask in first.items():
        assert torch.equal(mask, ~second[name])
        assert not torch.equal(mask, third[name])
    layer = made.members[0].get_submodule(convolutions[0])
    key = f"{convolutions[0]}.parametrizations.weight.0.mask"
    assert torch.equal(cast(Tensor, layer.weight) != 0, first[key])


@pytest.mark.parametrize("steps", [3, 4, 10, 45, 371])
def test_one_cycle_is_pytorchs(steps: int) -> None:
    reference = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        reference, max_lr=0.3, total_steps=steps, cycle_momentum=False
    )
    for step in range(steps):
        expected = reference.param_groups[0]["lr"]
        assert one_cycle(0.3, Step(step, steps, 5)) == pytest.approx(expected), step
        reference.step()
        if step < steps - 1:
            schedule.step()


def test_phases_in_the_papers_epochs() -> None:
    """140 epochs for the parent, 10 for each of 6 children."""
    chosen, recipe = method("prune_and_tune", members=6), Recipe(128)
    for step in range(0, 2000, 7):
        number, own = chosen.phase(Step(step, 2000, 10))  # type: ignore[attr-defined]
        rate = chosen.learning_rate(recipe, Step(step, 2000, 10))
        if step < 1400:
            assert (number, own) == (0, Step(step, 1400, 10))
            assert rate == recipe.learning_rate(Step(step, 1400, 10))
        else:
            assert (number, own) == ((step - 1300) // 100, Step(step % 100, 100, 10))
            assert rate == one_cycle(0.1, own)


def test_children_are_the_parents_halves_and_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    run = specified("prune_and_tune")
    trainer = Trainer(run, datasets.load(run.card))
    family = cast(Family, trainer.network)
    seen: dict[str, Any] = {}
    real = type(trainer.method).after_step

    def watch(chosen: Any, network_: nn.Module, optimizer: SGD, step: Step) -> None:
        number, own = chosen.phase(step)
        if number == 0:
            assert all(bool(m.all()) for m in masks(family.members[0]).values())
        if number == 0 and own.is_last:
            state = family.members[0].state_dict()
            seen["parent"] = {k: v.clone() for k, v in state.items() if "mask" not in k}
            assert len(optimizer.state) > 0
        real(chosen, network_, optimizer, step)
        if number == 0 and own.is_last:
            assert len(optimizer.state) == 0
            seen["children"] = [
                {k: v.clone() for k, v in child.state_dict().items()} for child in family.members
            ]

    monkeypatch.setattr(type(trainer.method), "after_step", watch)
    trainer.train()
    for number, child in enumerate(family.members):
        begun, ended = seen["children"][number], child.state_dict()
        for key, value in seen["parent"].items():
            kept = begun[key.replace("original", "0.mask")] if "original" in key else 1
            assert torch.equal(begun[key], value * kept), key
        for key, mask in masks(child).items():
            weight = ended[key.replace("0.mask", "original")]
            assert torch.equal(mask, begun[key])
            assert int(mask.sum()) in (mask.numel() // 2, (mask.numel() + 1) // 2)
            assert (weight[~mask] == 0).all()
            assert not torch.equal(weight, begun[key.replace("0.mask", "original")])
    pair = [masks(child) for child in family.members[:2]]
    assert all(torch.equal(pair[0][k], ~pair[1][k]) for k in pair[0])
    # Half of each convolution's multiply-adds are left, three times.
    nonzero, executed = cost.inference_macs(family, trainer.example_image())
    assert nonzero / executed == pytest.approx(0.5, rel=0.02)
