"""A classifier in three parts: what every backbone is."""

from torch import Tensor, nn


class Backbone(nn.Module):
    """A classifier in three parts: a stem, stages 1..S, a head (norm, pooling, linear).

    Maps images (batch, channels, height, width) to logits (batch, classes).
    """

    def __init__(self, stem: nn.Module, stages: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(x)
        return logits
