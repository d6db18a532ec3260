"""Multi-head: one backbone, M linear heads trained on targets smoothed ever more."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfe.method import Context, Count, Method, Share


class Heads(nn.Module):
    """A backbone with M × classes outputs, seen as M members."""

    def __init__(self, backbone: nn.Module, members: int) -> None:
        super().__init__()
        self.backbone, self.members = backbone, members

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, members, classes)."""
        return self.backbone(x).unflatten(1, (self.members, -1))


@dataclass(frozen=True)
class MultiHead(Method):
    """The cheapest of ensembles; ``smoothing`` is the last head's label smoothing."""

    combine = "probabilities"

    members: Count = 3
    smoothing: Share = 0.2

    def network(self, context: Context) -> nn.Module:
        """Return one backbone with M heads."""
        return Heads(context.backbone(classes=self.members * context.classes), self.members)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the heads' cross-entropies, summed, and the logits."""
        logits = network(inputs)
        steps = torch.linspace(0, self.smoothing, self.members).tolist()
        terms = zip(logits.unbind(1), steps, strict=True)
        return sum(F.cross_entropy(z, targets, label_smoothing=s) for z, s in terms), logits
