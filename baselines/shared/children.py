"""Children of one trained parent: perturbed copies of it, each tuned for a short while.

A child's weights may be masked. Prune and Tune Ensembles (Whitaker & Whitley, AAAI 2022) and what
became of them, Subnetwork Ensembles (Whitaker, arXiv 2311.14101).
"""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nfe.common.seeds import generator
from nfe.method import Optimizer, Phases, Recipe, SequentialMembers, Step
from nfe.pruning import Mask, prunable

# The one-cycle schedule: shares of the base rate at its beginning and end, and of the phase at
# its peak.
FIRST, LAST, PEAK = 1 / 25, 1 / 250_000, 0.3


def one_cycle(base: float, step: Step) -> float:
    """Return a one-cycle rate (Smith & Topin 2018): by cosines up to the base rate and down.

    In the form and with the defaults of ``torch.optim.lr_scheduler.OneCycleLR``, where the
    peak stands at step 0.3 · steps − 1.
    """
    peak = PEAK * step.steps - 1
    if step.number <= peak:
        return _between(base * FIRST, base, step.number / peak)
    return _between(base, base * LAST, (step.number - peak) / (step.steps - 1 - peak))


def _between(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * share))


def half(shape: torch.Size, number: int, layer: str, seed: int) -> Tensor:
    """Return which weights of a layer a child keeps: half of them, at random, exactly.

    Children 2k and 2k + 1 complement each other. Of an odd number of weights the first of a
    pair keeps one less.

    Args:
        shape: the weight's shape.
        number: the child's number, from 0.
        layer: the layer's name; each has its own draws.
        seed: the run's seed.
    """
    draws = generator("cpu", seed, "anti-random", number // 2, layer)
    order = torch.randperm(shape.numel(), generator=draws)
    first = torch.zeros(shape.numel(), dtype=torch.bool)
    first[order[: shape.numel() // 2]] = True
    return (first if number % 2 == 0 else ~first).view(shape)


class Family(SequentialMembers):
    """Children side by side, in whose first place their parent is before them."""

    def ready(self) -> None:
        """Make the first place ready for the parent."""

    def breed(self) -> None:
        """Give every child the parent's weights, norms and head, and perturb it."""
        parent = {k: v.clone() for k, v in self.members[0].state_dict().items() if "mask" not in k}
        for number, child in enumerate(self.members):
            child.load_state_dict(parent, strict=False)
            self.perturb(child, number)

    def perturb(self, child: nn.Module, number: int) -> None:
        """Change a child that has its parent's weights."""
        raise NotImplementedError


# Which weights of a layer a child keeps, from the weight's shape, its number and the layer's name.
Kept = Callable[[torch.Size, int, str], Tensor]


class MaskedFamily(Family):
    """Children that keep some of their parent's weights each."""

    def __init__(self, backbones: Sequence[nn.Module], kept: Kept, kind: type[Mask] = Mask) -> None:
        """Mask freshly built networks.

        Args:
            backbones: the children; the parent is trained in the first one's place.
            kept: which weights a child keeps.
            kind: how their weights are masked.
        """
        super().__init__(list(backbones))
        self.kept = kept
        for number, child in enumerate(backbones):
            for name, layer in prunable(child).items():
                shape = cast(Tensor, layer.weight).shape
                mask = kind(kept(shape, number, name))
                parametrize.register_parametrization(layer, "weight", mask)

    def ready(self) -> None:
        """Let the first place have all its weights."""
        for mask in masks(self.members[0]).values():
            mask.mask.fill_(True)

    def perturb(self, child: nn.Module, number: int) -> None:
        """Prune a child."""
        for name, mask in masks(child).items():
            mask.mask.copy_(self.kept(mask.mask.shape, number, name))
        settle(child)


def settle(child: nn.Module) -> None:
    """Set the weights to zero that a child does not keep."""
    for name, mask in masks(child).items():
        cast(nn.Parameter, _parametrization(child, name).original).mul_(mask.mask)


def masks(child: nn.Module) -> dict[str, Mask]:
    """Return what masks a child's layers, by the layers' names."""
    return {name: cast(Mask, _parametrization(child, name)[0]) for name in prunable(child)}


def _parametrization(child: nn.Module, layer: str) -> nn.ModuleList:
    found = cast(nn.ModuleDict, child.get_submodule(layer).parametrizations)["weight"]
    return cast(nn.ModuleList, found)


class ParentThenChildren(Phases):
    """A run that trains the parent, then one child after the other by a one-cycle schedule.

    Attributes:
        members: number of children.
        parent: share of the run that trains the parent; the children share the rest evenly.
    """

    members: int
    parent: float

    def phase(self, step: Step) -> tuple[int, Step]:
        """Return 0 for the parent or a child's number from 1, and the moment in its training."""
        each = (1 - self.parent) / self.members
        return step.phase(step.ends([self.parent, *[each] * self.members]))

    def learning_rate(self, recipe: Recipe, step: Step) -> float:
        """Return the recipe's rate for the parent, a one-cycle rate for each child."""
        number, own = self.phase(step)
        return super().learning_rate(recipe, own) if number == 0 else one_cycle(recipe.lr, own)

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Train the parent, with all its weights, or the child whose turn it is."""
        family = cast(Family, network)
        family.active = max(0, self.phase(step)[0] - 1)
        if step.number == 0:
            family.ready()

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Make the children out of the parent once it is trained."""
        family, (number, own) = cast(Family, network), self.phase(step)
        if own.is_last:
            family.finish(optimizer)
            if number == 0:
                family.breed()
