"""MultiSWAG (Wilson & Izmailov, NeurIPS 2020): several SWA-Gaussian runs, averaged."""

from torch import nn

from baselines.settings.multi_swag import MultiSwagSettings
from baselines.shared.posterior import Posterior
from baselines.shared.side_by_side import SideBySide
from nfe.method import Context, Method


class MultiSwag(MultiSwagSettings, Method):
    """R runs of SWAG with other seeds; replicate r combines seeds rR … rR + R − 1."""

    def network(self, context: Context) -> nn.Module:
        """Return the modes side by side, untrained: what inference costs is measured on it."""
        modes = SideBySide(
            Posterior([context.backbone() for _ in range(self.members)], context.seed)
            for _ in range(self.modes)
        )
        # All draws of all modes count alike: (batch, modes, draws, classes), in one row.
        return nn.Sequential(modes, nn.Flatten(1, 2))
