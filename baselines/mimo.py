"""MIMO (Havasi et al., ICLR 2021): several inputs and outputs, one network between them."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from nfe.backbones import Architecture, Backbone
from nfe.common.errors import InputError
from nfe.method import Context, Method, check_whole


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


@dataclass(frozen=True)
class Mimo(Method):
    """M independently shuffled images per row in training, M times the same one in inference.

    Attributes:
        members: number of members M.
        repetition: how often each image of the batch is used per step; the rows of a step
            are ``repetition`` × the batch size.
        input_repetition: share of the rows in which all members see the same image.
    """

    capturable: ClassVar = True
    published: ClassVar = {
        "batch_size": 128,
        "epochs": 250,
        "weight_decay": 6e-4,
        "schedule": "step",
        "milestones": (0.4, 0.8, 0.9),
        "decay": 0.2,
        "warmup": 1,
    }

    members: int = 3
    repetition: int = 4
    input_repetition: float = 0.0

    def resolved(self, architecture: Architecture) -> Self:
        """Check the settings."""
        check_whole("members", self.members)
        check_whole("repetition", self.repetition)
        if not 0 <= self.input_repetition <= 1:
            raise InputError(f"input_repetition is {self.input_repetition}: allowed: [0, 1]")
        return self

    def training_passes(self, architecture: Architecture) -> float:
        """Return how often the one trunk sees each image."""
        return float(self.repetition)

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
