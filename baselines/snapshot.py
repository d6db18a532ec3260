"""Snapshot Ensembles (Huang et al., ICLR 2017): one training, a member from each rate cycle."""

import math
from typing import cast

from torch import nn

from baselines.settings.snapshot import SnapshotSettings
from nfe.method import Context, Method, Optimizer, Phases, Recipe, SequentialMembers, Step


class Snapshot(SnapshotSettings, Phases, Method):
    """One network whose learning rate falls M times from the base rate to zero."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return places for M snapshots, the first of them the network that training begins with.

        The others are overwritten when their cycle begins.
        """
        return SequentialMembers([context.backbone() for _ in range(self.members)])

    def cycle(self, step: Step) -> tuple[int, Step]:
        """Return the number of the cycle, from 0, and the moment within it.

        A cycle has ⌈T/M⌉ of the run's T steps, the last one what is left (eq. 2).
        """
        length = math.ceil(step.steps / self.members)
        return step.phase([min(length * k, step.steps) for k in range(1, self.members + 1)])

    def learning_rate(self, recipe: Recipe, step: Step) -> float:
        """Return α0/2 · (cos(π (t mod ⌈T/M⌉) / ⌈T/M⌉) + 1), t from 0, α0 the recipe's rate."""
        _, cycle = self.cycle(step)
        length = math.ceil(step.steps / self.members)
        return recipe.lr / 2 * (math.cos(math.pi * cycle.number / length) + 1)

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Train the cycle's snapshot."""
        cast(SequentialMembers, network).active, _ = self.cycle(step)

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Begin the next snapshot where a cycle ends, with its weights and momentum."""
        _, cycle = self.cycle(step)
        if cycle.is_last and not step.is_last:
            cast(SequentialMembers, network).hand_over(optimizer)
