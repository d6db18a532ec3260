"""A Gaussian over weights, from the iterates of a training, and networks drawn from it.

SWA-Gaussian (Maddox et al., NeurIPS 2019, arXiv 1902.02476).
"""

import math

import torch
from torch import Tensor, nn

from nfe.common.seeds import generator
from nfe.method import SequentialMembers


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
