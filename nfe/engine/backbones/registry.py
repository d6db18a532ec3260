"""The architectures that a configuration can name."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from nfe.engine.errors import InputError, unknown


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


@dataclass(frozen=True)
class Architecture:
    """A named architecture: how many stages it has and how to build it."""

    name: str
    stages: int
    factory: Callable[..., Backbone]

    def build(self, *, channels: int, classes: int, resolution: int) -> Backbone:
        """Return a freshly initialized network; draws from PyTorch's global stream."""
        return self.factory(channels=channels, classes=classes, resolution=resolution)


def _wide_resnet(depth: int, width: int) -> Architecture:
    from nfe.engine.backbones.wide_resnet import wide_resnet

    if depth < 10 or (depth - 4) % 6:
        raise InputError(f"architecture 'wrn-{depth}-{width}': depth must be 6n + 4, n at least 1")
    if width < 1:
        raise InputError(f"architecture 'wrn-{depth}-{width}': width must be at least 1")
    return Architecture(f"wrn-{depth}-{width}", 3, lambda **size: wide_resnet(depth, width, **size))


def names() -> list[str]:
    """Return the names that ``architecture`` understands; D and K stand for numbers."""
    return ["wrn-D-K"]


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name``.

    Raises:
        InputError: no architecture has that name, or its numbers make no network.
    """
    if match := re.fullmatch(r"wrn-(\d+)-(\d+)", name):
        return _wide_resnet(int(match[1]), int(match[2]))
    raise unknown("architecture", name, names())
