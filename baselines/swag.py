"""SWA-Gaussian (Maddox et al., NeurIPS 2019): networks drawn from around the averaged iterate."""

from typing import cast

from torch import nn

from baselines.settings.swag import SwagSettings
from baselines.shared.posterior import Posterior
from nfe.method import Context, Method, Optimizer, Phases, Recipe, Step


class Swag(SwagSettings, Phases, Method):
    """One training, whose late iterates give a Gaussian that M networks are drawn from."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return places for M networks, the first of them the one that is trained.

        The others are overwritten when networks are drawn.
        """
        return Posterior([context.backbone() for _ in range(self.members)], context.seed)

    def phase(self, step: Step) -> tuple[int, Step]:
        """Return the phase and the moment within it.

        0: before iterates are collected, 1: while they are, from 2: while the networks drawn get
        their norms' statistics, one after the other.
        """
        each = self.statistics / self.members
        collecting = 1 - self.start - self.statistics
        return step.phase(step.ends([self.start, collecting, *[each] * self.members]))

    def learning_rate(self, recipe: Recipe, step: Step) -> float:
        """Return the recipe's rate, falling to ``rate`` in place of 0, then that; at last 0."""
        number, own = self.phase(step)
        floor = self.rate * recipe.lr
        if number == 0:
            return floor + (1 - self.rate) * super().learning_rate(recipe, own)
        return floor if number == 1 else 0.0

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Train the first network, or let the one whose turn it is see images."""
        cast(Posterior, network).active = max(0, self.phase(step)[0] - 2)

    def after_step(self, network: nn.Module, optimizer: Optimizer, step: Step) -> None:
        """Collect iterates, and draw networks when all are collected."""
        posterior, (number, own) = cast(Posterior, network), self.phase(step)
        if number == 1:
            self._collect(posterior, own)
        if own.is_last and number > 0:
            posterior.finish(optimizer)

    def _collect(self, posterior: Posterior, own: Step) -> None:
        count = min(self.collections, own.steps)
        rank = min(self.rank, count)
        before, now = (count * t // own.steps for t in (own.number, own.number + 1))
        if now > before:
            posterior.collect(before, last=before >= count - rank)
        if own.is_last:
            posterior.draw(count, rank, self.scale)
