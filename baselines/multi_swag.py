"""MultiSWAG (Wilson & Izmailov, NeurIPS 2020): several SWA-Gaussian runs, averaged."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from baselines.settings.multi_swag import MultiSwagSettings
from baselines.shared.posterior import Posterior
from nfe.method import Context, Method


class Mixture(nn.Module):
    """Ensembles of logits (batch, members, classes) side by side, all of equal weight."""

    def __init__(self, ensembles: Iterable[nn.Module]) -> None:
        super().__init__()
        self.ensembles = nn.ModuleList(ensembles)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of every member of every ensemble, (batch, members, classes)."""
        return torch.cat([ensemble(x) for ensemble in self.ensembles], dim=1)


class MultiSwag(MultiSwagSettings, Method):
    """R runs of SWAG with other seeds; replicate r combines seeds rR … rR + R − 1."""

    def network(self, context: Context) -> nn.Module:
        """Return the modes side by side, untrained: what inference costs is measured on it."""
        return Mixture(
            Posterior([context.backbone() for _ in range(self.members)], context.seed)
            for _ in range(self.modes)
        )
