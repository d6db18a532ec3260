"""MIMO (Havasi et al., ICLR 2021): several inputs and outputs, one network between them."""

import torch
from torch import Tensor, nn

from baselines.settings.mimo import MimoSettings
from nfe.backbones import Backbone
from nfe.method import Context, FormsBatches, Method


class MultiInput(nn.Module):
    """A backbone with M images on its input channels and M × classes outputs.

    In training mode it takes one image per member, in evaluation mode it shows every member
    the same one.
    """

    def __init__(self, backbone: Backbone, members: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.members = members

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, members, classes).

        ``x``: (batch, members × channels, h, w) in training, (batch, channels, h, w) else.
        """
        joined = x if self.training else x.repeat(1, self.members, 1, 1)
        logits: Tensor = self.backbone(joined).unflatten(1, (self.members, -1))
        return logits


class Mimo(MimoSettings, FormsBatches, Method):
    """M independently shuffled images per row in training, M times the same one in inference."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with M times the inputs and outputs."""
        channels, classes = self.members * context.channels, self.members * context.classes
        return MultiInput(context.backbone(channels=channels, classes=classes), self.members)

    def training_batch(
        self, images: Tensor, labels: Tensor, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return rows of M images side by side on the channels, and targets (rows, M)."""
        rows = self.repetition * len(labels)
        order = self._shuffle(torch.arange(rows, device=labels.device) % len(labels), draws)
        alone = round(rows * (1 - self.input_repetition))
        columns = [
            torch.cat([self._shuffle(order[:alone], draws), order[alone:]])
            for _ in range(self.members)
        ]
        inputs = torch.cat([images[column] for column in columns], dim=1)
        return inputs, torch.stack([labels[column] for column in columns], dim=1)

    @staticmethod
    def _shuffle(index: Tensor, draws: torch.Generator) -> Tensor:
        return index[torch.randperm(len(index), generator=draws, device=index.device)]

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the members' cross-entropies, summed over members, mean over rows."""
        mean, logits = super().loss(network, inputs, targets)
        return self.members * mean, logits
