"""Dynamic sparse training: a network stays sparse while its connections change.

Connections are dropped by magnitude and grown by gradient (RigL, Evci et al., ICML 2020), as
many as were dropped in the same layer. A sparse layer is an ordinary convolution with a
``mask`` among its buffers; masked weights are exactly zero, so its gradient is that of the
dense layer at the sparse weights.
"""

import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from nfe import pruning
from nfe.method import Optimizer, Step

# Weights that are masked at once: the factors take memory for this time.
PORTION = 1 << 23


@torch.no_grad()
def sparsify(network: nn.Module, sparsity: float, seed: int) -> nn.Module:
    """Prune a fresh network's convolutions at random, with ERK's densities, in place.

    Args:
        network: the network; it is returned.
        sparsity: share of the convolution weights to remove, in [0, 1).
        seed: seed of the masks.

    Raises:
        CollapseError: a layer is left without a weight.
    """
    for name, mask in pruning.masks(network, "erk", sparsity, seed=seed).items():
        layer = network.get_submodule(name)
        cast(Tensor, layer.weight).masked_fill_(~mask, 0)
        layer.register_buffer("mask", mask)
    return network


def _layers(network: nn.Module) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Yield weight and mask of every sparse layer."""
    for layer in network.modules():
        if (mask := layer._buffers.get("mask")) is not None:
            yield cast(nn.Parameter, layer.weight), mask


@torch.no_grad()
def keep_sparse(network: nn.Module, optimizer: Optimizer) -> None:
    """Set masked weights and their momentum to zero."""
    for weights, masks in _portions(list(_layers(network))):
        factors = _factors(weights, masks) if weights[0].is_cuda else masks
        torch._foreach_mul_(weights, factors)
        states = [_averages(optimizer, weight) for weight in weights]
        for name in sorted({name for state in states for name in state}):
            kept = [(s[name], f) for s, f in zip(states, factors, strict=True) if name in s]
            torch._foreach_mul_([value for value, _ in kept], [factor for _, factor in kept])


def _averages(optimizer: Optimizer, weight: Tensor) -> dict[str, Tensor]:
    """Return what the optimizer remembers of each entry of a weight, by name."""
    state = optimizer.state.get(weight, {})
    return {name: value for name, value in state.items() if value.shape == weight.shape}


def _factors(weights: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
    """Return masks in the weights' type: a GPU multiplies many tensors at once only by such."""
    factors = [torch.empty_like(weight) for weight in weights]
    torch._foreach_copy_(factors, masks)
    return factors


def _portions(
    layers: Sequence[tuple[nn.Parameter, Tensor]],
) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Yield weights and masks of a few layers at a time, ``PORTION`` weights or one layer."""
    weights: list[Tensor] = []
    masks: list[Tensor] = []
    entries = 0
    for weight, mask in layers:
        if weights and entries + weight.numel() > PORTION:
            yield weights, masks
            weights, masks, entries = [], [], 0
        weights.append(weight)
        masks.append(mask)
        entries += weight.numel()
    if weights:
        yield weights, masks


@torch.no_grad()
def explore(network: nn.Module, optimizer: Optimizer, share: float) -> None:
    """Drop a share of each layer's connections and grow as many, from zero, without momentum.

    Dropped are the smallest weights; grown are the connections, just dropped ones among them,
    where the gradient is largest. Ties go by index.

    Args:
        network: the network, with gradients.
        optimizer: what holds the momentum.
        share: share of a layer's connections to drop, rounded up.
    """
    for weight, mask in _layers(network):
        number = math.ceil(share * int(mask.sum()))
        stays = _highest(weight.abs().masked_fill(~mask, -1), int(mask.sum()) - number)
        weight.mul_(stays)
        for value in _averages(optimizer, weight).values():
            value.mul_(stays)
        gradient = cast(Tensor, weight.grad).abs().nan_to_num()
        mask.copy_(stays | _highest(gradient.masked_fill(stays, -1), number))


def _highest(scores: Tensor, count: int) -> Tensor:
    """Return a bool mask of exactly the ``count`` highest scores; ties by index."""
    order = scores.flatten().argsort(descending=True, stable=True)
    chosen = torch.zeros_like(order, dtype=torch.bool)
    chosen[order[:count]] = True
    return chosen.view_as(scores)


def update_due(interval: float, run: Step, member: Step) -> bool:
    """Return whether connections change after a step.

    Every ``interval``, but not when less than that is left for a member to recover in.

    Args:
        interval: below 1 a share of the run's steps, else a number of steps.
        run: the moment in the stretch whose steps are counted.
        member: the moment in what is left of the training of the present member.
    """
    every = max(1, round(interval * run.steps)) if interval < 1 else round(interval)
    return (run.number + 1) % every == 0 and member.steps - (member.number + 1) >= every
