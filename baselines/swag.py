"""SWA-Gaussian (Maddox et al., NeurIPS 2019): networks drawn from around the averaged iterate."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from baselines.settings.swag import SwagSettings
from nfe.common.seeds import generator
from nfe.method import Context, Method, Optimizer, Phases, Recipe, SequentialMembers, Step


class Posterior(SequentialMembers):
    """Places for networks drawn from a Gaussian; in the first one the iterates are made.

    Attributes:
        seed: the run's seed.
        mean: the mean of the iterates collected, over all parameters in a row.
        spread: the sum of their squared deviations from it.
        low: each network's draw from the low-rank part, (members, parameters), without factors.
    """

    mean: Tensor
    spread: Tensor
    low: Tensor

    def __init__(self, networks: list[nn.Module], seed: int) -> None:
        super().__init__(networks)
        self.seed = seed
        size = sum(p.numel() for p in networks[0].parameters())
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("spread", torch.zeros(size))
        self.register_buffer("low", torch.zeros(len(networks), size))

    def collect(self, number: int, last: bool) -> None:
        """Take the first network's weights into the Gaussian.

        The deviation of one of the last iterates is that from the mean so far (sec. 3.2). It is
        not kept: each network's draw of its factor z_2 is known, and so the sum grows.

        Args:
            number: how many iterates were collected before.
            last: whether the iterate is one of those in the low-rank part.
        """
        weights = torch.cat([p.reshape(-1) for p in self.members[0].parameters()])
        before = weights - self.mean
        self.mean += before / (number + 1)
        after = weights - self.mean
        self.spread += before * after
        if last:
            draws = generator("cpu", self.seed, "low rank", number)
            factors = torch.randn(len(self.members), 1, generator=draws).to(self.low)
            self.low += factors * after

    def draw(self, collected: int, rank: int, scale: float) -> None:
        """Make every network a draw from the Gaussian, with the statistics of the first one.

        w = w̄ + √scale · (Σ_diag^½ z_1 + D z_2 / √(K − 1)) (eq. 1, whose factor ½ is ``scale``).

        Args:
            collected: how many iterates were collected.
            rank: how many of them are in the low-rank part, K.
            scale: factor of the covariance.
        """
        state = {k: v.clone() for k, v in self.members[0].state_dict().items()}
        deviation = (self.spread / collected).sqrt()
        for number, (network, low) in enumerate(zip(self.members, self.low, strict=True)):
            draws = generator("cpu", self.seed, "diagonal", number)
            noise = torch.randn(deviation.shape, generator=draws).to(deviation)
            drawn = deviation * noise + low / math.sqrt(max(1, rank - 1))
            network.load_state_dict(state)
            _fill(network, self.mean + math.sqrt(scale) * drawn)


def _fill(network: nn.Module, weights: Tensor) -> None:
    """Set a network's parameters, in place, from all of them in a row."""
    parameters = list(network.parameters())
    parts = weights.split([p.numel() for p in parameters])
    for parameter, values in zip(parameters, parts, strict=True):
        parameter.copy_(values.view(parameter.shape))


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
