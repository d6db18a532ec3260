"""Prune and Tune Ensembles (Whitaker & Whitley, AAAI 2022): children pruned out of one parent."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from baselines.settings.prune_and_tune import PruneAndTuneSettings
from nfe.common.seeds import generator
from nfe.method import (
    Context,
    Method,
    Optimizer,
    Phases,
    Recipe,
    SequentialMembers,
    Step,
)
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


def child_mask(shape: torch.Size, number: int, seed: int, layer: str) -> Tensor:
    """Return which weights of a layer a child keeps: half of them, at random, exactly.

    Children 2k and 2k + 1 complement each other. Of an odd number of weights the first of a
    pair keeps one less.

    Args:
        shape: the weight's shape.
        number: the child's number, from 0.
        seed: the run's seed.
        layer: the layer's name; each has its own draws.
    """
    draws = generator("cpu", seed, "anti-random", number // 2, layer)
    order = torch.randperm(shape.numel(), generator=draws)
    first = torch.zeros(shape.numel(), dtype=torch.bool)
    first[order[: shape.numel() // 2]] = True
    return (first if number % 2 == 0 else ~first).view(shape)


class Family(SequentialMembers):
    """Children side by side, in whose first place their parent is before them.

    Attributes:
        seed: the seed of the masks.
    """

    def __init__(self, children: list[nn.Module], seed: int) -> None:
        super().__init__(children)
        self.seed = seed

    def unmask(self) -> None:
        """Let the first place have all its weights, for the parent."""
        for layer in prunable(self.members[0]).values():
            _mask(layer).fill_(True)

    def prune(self) -> None:
        """Give every child its half of the parent's weights, and all of its norms and head."""
        parent = {k: v.clone() for k, v in self.members[0].state_dict().items() if "mask" not in k}
        for number, child in enumerate(self.members):
            child.load_state_dict(parent, strict=False)
            for name, layer in prunable(child).items():
                mask = _mask(layer)
                mask.copy_(child_mask(mask.shape, number, self.seed, name))
                cast(nn.Parameter, _parametrization(layer).original).mul_(mask)


def _parametrization(layer: nn.Module) -> nn.Module:
    return cast(nn.ModuleDict, layer.parametrizations)["weight"]


def _mask(layer: nn.Module) -> Tensor:
    return cast(Mask, cast(nn.ModuleList, _parametrization(layer))[0]).mask


class PruneAndTune(PruneAndTuneSettings, Phases, Method):
    """A parent, and M children that keep half of its weights each and are tuned briefly."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return M masked children; the parent is trained in the first one's place."""
        children: list[nn.Module] = []
        for number in range(self.members):
            child = context.backbone()
            for name, layer in prunable(child).items():
                shape = cast(Tensor, layer.weight).shape
                mask = Mask(child_mask(shape, number, context.seed, name))
                parametrize.register_parametrization(layer, "weight", mask)
            children.append(child)
        return Family(children, context.seed)

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
            family.unmask()

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Prune the children out of the parent once it is trained."""
        family, (number, own) = cast(Family, network), self.phase(step)
        if own.is_last:
            family.finish(optimizer)
            if number == 0:
                family.prune()
