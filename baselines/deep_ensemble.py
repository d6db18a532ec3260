"""Deep Ensembles (Lakshminarayanan et al., NeurIPS 2017): independent networks, averaged."""

from torch import nn

from baselines.settings.deep_ensemble import DeepEnsembleSettings
from baselines.shared.side_by_side import SideBySide
from nfe.method import Context, Method


class DeepEnsemble(DeepEnsembleSettings, Method):
    """M single networks with other seeds; replicate r combines seeds rM … rM + M − 1."""

    def network(self, context: Context) -> nn.Module:
        """Return the members side by side, untrained: what inference costs is measured on it."""
        return SideBySide([context.backbone() for _ in range(self.members)])
