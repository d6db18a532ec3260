"""TreeNet (Lee et al., arXiv 1511.06314): shared early stages, full-width branches."""

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn

from baselines.shared.exits import Branches, check_stages
from nfe.backbones import Architecture
from nfe.method import Context, Method, check_whole


@dataclass(frozen=True)
class TreeNet(Method):
    """M networks that share the stem and the first stages.

    Attributes:
        members: number of branches M.
        shared: number of shared stages; 0 shares the stem alone.
    """

    capturable: ClassVar = True
    published: ClassVar = {"batch_size": 128, "epochs": 200}

    members: int = 3
    shared: int = 1

    def resolved(self, architecture: Architecture) -> Self:
        """Check the settings."""
        check_stages(architecture)
        check_whole("members", self.members)
        check_whole("shared", self.shared, 0, architecture.stages - 1)
        return self

    def training_passes(self, architecture: Architecture) -> float:
        """Return the mean number of branches over the stages."""
        return (self.shared + self.members * (architecture.stages - self.shared)) / (
            architecture.stages
        )

    def network(self, context: Context) -> nn.Module:
        """Return M backbones with the first one's early stages."""
        return Branches([context.backbone() for _ in range(self.members)], self.shared)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the branches' cross-entropies, so that each trains like one network."""
        mean, logits = super().loss(network, inputs, targets)
        return self.members * mean, logits
