"""Partially masked networks: core and whole as networks of their own, and whose turn it is."""

import copy
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from rivals import context, method, network, unsettle_norms
from torch import Tensor, nn
from torch.func import functional_call

from baselines.partially_masked import PartiallyMaskedNetwork, Parts, SharedNorm
from nfe.backbones import Backbone
from nfe.engine.trainer import make_optimizer
from nfe.evaluation import cost
from nfe.method import Phases, Recipe, Step

TIGHT = {"atol": 1e-5, "rtol": 1e-5}
STATISTICS = ("running_mean", "running_var")


def made(backbone: str = "wrn-10-2", **settings: object) -> PartiallyMaskedNetwork:
    return cast(PartiallyMaskedNetwork, network("partially_masked", backbone, **settings))


@torch.no_grad()
def plain(made: PartiallyMaskedNetwork, alone: Backbone, *, core: bool) -> Backbone:
    """Give a network of its own the weights and statistics of one of the two."""
    for name, layer in alone.named_modules():
        source = made.network.get_submodule(name)
        if isinstance(source, SharedNorm):
            layer.load_state_dict(source.whole.state_dict())
            if core:
                layer.running_mean.copy_(source.core_mean)
                layer.running_var.copy_(source.core_var)
        elif hasattr(source, "parametrizations"):
            weight = source.parametrizations.weight
            layer.weight.copy_(weight.original0 if core else weight.original0 + weight.original1)
            if layer.bias is not None:
                layer.bias.copy_(source.bias)
        elif not [*layer.children()]:
            layer.load_state_dict(source.state_dict())
    return alone.eval()


@pytest.mark.parametrize("backbone", ["wrn-10-2", "resnet18", "vit-tiny-4", "convnext-atto-2"])
@torch.no_grad()
def test_core_and_whole_are_networks_of_their_own(backbone: str) -> None:
    found = made(backbone, sparsity=0.7)
    for layer in found.modules():
        if isinstance(layer, SharedNorm):
            unsettle_norms(layer.whole)
            nn.init.normal_(layer.core_mean, std=0.1)
            nn.init.uniform_(layer.core_var, 0.5, 1.5)
    images = torch.randn(4, 3, 16, 16)
    core, whole = found.eval()(images).unbind(1)
    for logits, is_core in ((core, True), (whole, False)):
        alone = plain(found, context(backbone).backbone(), core=is_core)
        torch.testing.assert_close(logits, alone(images), **TIGHT)
    assert (core - whole).abs().max() > 1e-2


@pytest.mark.parametrize("sparsity", [0.3, 0.8])
def test_the_core_has_its_share_of_the_weights(sparsity: float) -> None:
    found = made(sparsity=sparsity)
    masks = [layer.mask for layer in found.modules() if isinstance(layer, Parts)]
    kept = sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)
    assert kept == pytest.approx(1 - sparsity, abs=1e-3)
    again, other = made(sparsity=sparsity), made(sparsity=sparsity)
    first = next(layer.mask for layer in again.modules() if isinstance(layer, Parts))
    assert torch.equal(first, masks[0])
    # Whole weights are drawn as the single network's are, and counted once.
    single = context("wrn-10-2").backbone()
    image = torch.randn(1, 3, 16, 16)
    assert cost.nonzero_parameters(other) == cost.nonzero_parameters(single)
    nonzero, executed = cost.inference_macs(other, image)
    assert executed == 2 * cost.inference_macs(single, image)[1]
    assert executed / 2 < nonzero < executed


def test_they_take_turns() -> None:
    chosen, found = method("partially_masked"), made().train()
    images, turns = torch.randn(4, 3, 16, 16), []
    for number in range(4):
        Phases.of(chosen).before_step(found, Step(number, 4, 2))
        assert found(images).shape == (4, 1, 5)
        turns.append(found.core_next)
    assert turns == [False, True, False, True]
    kinds = Phases.of(chosen).kinds(Step(0, 5, 5))
    assert [(first.number, count) for first, count in kinds] == [(0, 3), (1, 2)]
    # Whatever was trained last, both answer.
    assert found.eval()(images).shape == (4, 2, 5)
    assert found.train()(images).shape == (4, 1, 5)


def test_the_step_of_one_leaves_the_statistics_of_the_other() -> None:
    for core in (False, True):
        found = made().train()
        found.core_next = core
        before = copy.deepcopy(found.state_dict())
        found(torch.randn(4, 3, 16, 16))
        changed = {
            name.rpartition(".")[2]
            for name, value in found.state_dict().items()
            if not torch.equal(value, before[name]) and value.is_floating_point()
        }
        assert changed == ({"core_mean", "core_var"} if core else set(STATISTICS))


def test_steps_written_out() -> None:
    """Twelve of one plain network, by hand: of the core's, only what the mask leaves moves."""
    chosen = method("partially_masked", "wrn-10-1", sparsity=0.6)
    found = made("wrn-10-1", sparsity=0.6).double().train()
    masks = {
        name.removesuffix("parametrizations.weight.0") + "weight": layer.mask
        for name, layer in found.network.named_modules()
        if isinstance(layer, Parts)
    }
    single = plain(found, context("wrn-10-1").backbone().double(), core=False).train()
    weights = {name: p.detach().clone() for name, p in single.named_parameters()}
    statistics = [
        {name: b.clone() for name, b in single.named_buffers() if name.endswith(STATISTICS)}
        for _ in range(2)
    ]
    momenta = {name: torch.zeros_like(w) for name, w in weights.items()}
    recipe = Recipe(16)
    optimizer = make_optimizer(chosen, found, recipe)
    for number in range(12):
        images, labels = torch.randn(16, 3, 16, 16).double(), torch.randint(5, (16,))
        core = number % 2
        Phases.of(chosen).before_step(found, Step(number, 12, 4))
        optimizer.zero_grad()
        chosen.loss(found, images, labels)[0].backward()
        optimizer.step()

        leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
        used = {n: w * masks[n] if core and n in masks else w for n, w in leaves.items()}
        logits = functional_call(single, {**used, **statistics[core]}, images)
        F.cross_entropy(logits, labels).backward()
        for name, leaf in leaves.items():
            gradient = cast(Tensor, leaf.grad) + recipe.weight_decay * weights[name]
            momentum = recipe.momentum * momenta[name] + gradient
            step = recipe.lr * (gradient + recipe.momentum * momentum)
            moved = masks[name] if core and name in masks else torch.ones_like(leaf).bool()
            momenta[name] = torch.where(moved, momentum, momenta[name])
            weights[name] = torch.where(moved, weights[name] - step, weights[name])
    for is_core in (False, True):
        alone = plain(found, context("wrn-10-1").backbone().double(), core=is_core).state_dict()
        expected = {n: w * masks[n] if is_core and n in masks else w for n, w in weights.items()}
        for name, value in {**expected, **statistics[is_core]}.items():
            torch.testing.assert_close(alone[name], value, atol=1e-9, rtol=1e-9, msg=name)
