"""Separate networks as one: each sees the same images."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class SideBySide(nn.Module):
    """Networks of logits (batch, …, classes) side by side: logits (batch, networks, …, classes)."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of every network, (batch, networks, …, classes)."""
        return torch.stack([network(x) for network in self.networks], dim=1)
