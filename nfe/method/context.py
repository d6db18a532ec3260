"""What a method may use to build its network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nfe.backbones import Architecture, Backbone, Structure


@dataclass(frozen=True)
class Context:
    """What a method may use to build its network.

    Attributes:
        architecture: the backbone's name, number of stages and builder.
        channels: image channels.
        classes: number of classes.
        resolution: image side in pixels.
        seed: the run's seed, for further random streams of the method's own.
        example: returns ``per_class`` normalized training images of each class and their
            labels, for methods that look at data before training.
    """

    architecture: Architecture
    channels: int
    classes: int
    resolution: int
    seed: int
    example: Callable[[int], tuple[Tensor, Tensor]]

    def backbone(
        self,
        *,
        channels: int | None = None,
        classes: int | None = None,
        structure: Structure | None = None,
    ) -> Backbone:
        """Return a freshly initialized backbone.

        On request with other inputs or outputs, or with other widths and groups.

        The run's initialization stream is in force, so the first backbone that a method
        builds starts from the same weights whatever the method.
        """
        return self.architecture.build(
            channels=channels or self.channels,
            classes=classes or self.classes,
            resolution=self.resolution,
            structure=structure or Structure(),
        )

    def image(self) -> Tensor:
        """Return a blank image (1, channels, resolution, resolution), to see shapes with."""
        return torch.zeros(1, self.channels, self.resolution, self.resolution)
