"""Snapshot Ensembles (Huang et al., ICLR 2017): one training, a member from each rate cycle."""

import math
from dataclasses import dataclass
from typing import ClassVar, Self, cast

from torch import nn

from nfe.engine.backbones import Architecture
from nfe.engine.method import Context, Method
from nfe.engine.moment import Moment
from nfe.engine.optimizer import SGD
from nfe.engine.recipe import Recipe
from nfe.engine.sequence import Sequence
from nfe.engine.settings import check_whole


@dataclass(frozen=True)
class Snapshot(Method):
    """One network whose learning rate falls M times from the base rate to zero.

    What it is at the end of each cycle is a member.

    Attributes:
        members: number of cycles and snapshots M.
    """

    capturable: ClassVar = True
    published: ClassVar = {"batch_size": 64, "epochs": 200, "lr": 0.2, "weight_decay": 1e-4}
    published_settings: ClassVar = {"members": 5}

    members: int = 3

    def resolved(self, architecture: Architecture) -> Self:
        """Check the number of members."""
        check_whole("members", self.members)
        return self

    def network(self, context: Context) -> nn.Module:
        """Return places for M snapshots, the first of them the network that training begins with.

        The others are overwritten when their cycle begins.
        """
        return Sequence([context.backbone() for _ in range(self.members)])

    def cycle(self, moment: Moment) -> tuple[int, Moment]:
        """Return the number of the cycle, from 0, and the moment within it.

        A cycle has ⌈T/M⌉ of the run's T steps, the last one what is left (eq. 2).
        """
        length = math.ceil(moment.steps / self.members)
        return moment.phase([min(length * k, moment.steps) for k in range(1, self.members + 1)])

    def learning_rate(self, recipe: Recipe, moment: Moment) -> float:
        """Return α0/2 · (cos(π (t mod ⌈T/M⌉) / ⌈T/M⌉) + 1), t from 0, α0 the recipe's rate."""
        _, cycle = self.cycle(moment)
        length = math.ceil(moment.steps / self.members)
        return recipe.lr / 2 * (math.cos(math.pi * cycle.step / length) + 1)

    def before_step(self, network: nn.Module, moment: Moment) -> None:
        """Train the cycle's snapshot."""
        cast(Sequence, network).active, _ = self.cycle(moment)

    def after_step(self, network: nn.Module, optimizer: SGD, moment: Moment) -> None:
        """Begin the next snapshot where a cycle ends, with its weights and momentum."""
        _, cycle = self.cycle(moment)
        if cycle.is_last and not moment.is_last:
            cast(Sequence, network).hand_over(optimizer)
