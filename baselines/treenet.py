"""TreeNet (Lee et al., arXiv 1511.06314): shared early stages, full-width branches."""

from torch import Tensor, nn

from baselines.settings.treenet import TreeNetSettings
from baselines.shared.exits import Branches
from nfe.method import Context, Method


class TreeNet(TreeNetSettings, Method):
    """M networks that share the stem and the first stages."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return M backbones with the first one's early stages."""
        return Branches([context.backbone() for _ in range(self.members)], self.shared)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the branches' cross-entropies, so that each trains like one network."""
        mean, logits = super().loss(network, inputs, targets)
        return self.members * mean, logits
