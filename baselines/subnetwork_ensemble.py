"""Subnetwork Ensembles (Whitaker, arXiv 2311.14101): perturbed children of one trained parent."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from baselines.settings.subnetwork_ensemble import SubnetworkEnsembleSettings
from baselines.shared.children import (
    Family,
    Kept,
    MaskedFamily,
    ParentThenChildren,
    half,
    masks,
    settle,
)
from nfe.common.seeds import generator
from nfe.method import Context, Method, Optimizer, Step
from nfe.pruning import Mask


def part(shape: torch.Size, number: int, layer: str, seed: int, members: int) -> Tensor:
    """Return which weights of a layer a child keeps where each weight is in one child alone.

    The parts are as large as each other, or one weight apart.

    Args:
        shape: the weight's shape.
        number: the child's number, from 0.
        layer: the layer's name; each has its own draws.
        seed: the run's seed.
        members: number of children.
    """
    order = torch.randperm(shape.numel(), generator=generator("cpu", seed, "partition", layer))
    return (order % members == number).view(shape)


class NoisyFamily(Family):
    """Children with all of their parent's weights, to which noise is added.

    Attributes:
        noise: the noise's standard deviation over that of a layer's weights.
        seed: the run's seed.
    """

    def __init__(self, children: list[nn.Module], noise: float, seed: int) -> None:
        super().__init__(children)
        self.noise, self.seed = noise, seed

    def perturb(self, child: nn.Module, number: int) -> None:
        """Add Gaussian noise to the weights of convolutions and linear layers."""
        for name, weight in child.named_parameters():
            if weight.dim() > 1:
                draws = generator("cpu", self.seed, "noise", number, name)
                drawn = torch.randn(weight.shape, generator=draws).to(weight)
                weight.add_(drawn * weight.std(correction=0), alpha=self.noise)


class AnnealedMask(Mask):
    """A mask whose weights left out take part in a training step by chance.

    Attributes:
        chance: the probability that they do, a scalar; each weight at each pass for itself.
    """

    chance: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask)
        # A function of the moment, which before_step sets.
        self.register_buffer("chance", torch.zeros(()), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with what does not take part set to zero."""
        if not self.training:
            return super().forward(weight)
        return weight * (self.mask | (torch.rand_like(weight) < self.chance))


class AnnealedFamily(MaskedFamily):
    """Children whose weights left out are still there while they are tuned, and then zero."""

    def __init__(self, backbones: Sequence[nn.Module], kept: Kept) -> None:
        super().__init__(backbones, kept, AnnealedMask)

    def perturb(self, child: nn.Module, number: int) -> None:
        """Say which weights a child will keep."""
        for name, mask in masks(child).items():
            mask.mask.copy_(self.kept(mask.mask.shape, number, name))

    def take_part(self, chance: float) -> None:
        """Set the probability with which the active child's weights left out take part."""
        chances = [cast(AnnealedMask, m).chance for m in masks(self.members[self.active]).values()]
        torch._foreach_zero_(chances)
        torch._foreach_add_(chances, chance)


class SubnetworkEnsemble(SubnetworkEnsembleSettings, ParentThenChildren, Method):
    """A parent, and M children that are perturbed copies of it and are tuned briefly."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return M children; the parent is trained in the first one's place."""
        children: list[nn.Module] = [context.backbone() for _ in range(self.members)]
        if self.children == "noisy":
            return NoisyFamily(children, self.noise, context.seed)
        if self.children == "partitioned":
            return MaskedFamily(children, partial(part, seed=context.seed, members=self.members))
        kind = AnnealedFamily if self.children == "stochastic" else MaskedFamily
        return kind(children, partial(half, seed=context.seed))

    def taking_part(self, step: Step) -> float:
        """Return the probability that a weight left out takes part: linear to 0, then 0."""
        number, own = self.phase(step)
        if number == 0:
            return 0.0
        return self.chance * max(0.0, 1 - own.number / (self.annealing * own.steps))

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Train the parent or the child whose turn it is, with its chance."""
        super().before_step(network, step)
        if isinstance(network, AnnealedFamily):
            network.take_part(self.taking_part(step))

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Make the children out of the parent; leave a child that is tuned what it keeps."""
        super().after_step(network, optimizer, step)
        number, own = self.phase(step)
        if isinstance(network, AnnealedFamily) and number > 0 and own.is_last:
            settle(network.members[network.active])
