"""What can be said of an architecture before it is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nfe.backbones.structure import Structure
from nfe.common.errors import InputError

if TYPE_CHECKING:
    from nfe.backbones.backbone import Backbone

_PLAIN = Structure()


@dataclass(frozen=True)
class Architecture:
    """A named architecture: how many stages it has and how to build it.

    Attributes:
        name: the name used in configurations.
        stages: number of stages.
        factory: makes the network from ``channels``, ``classes``, ``resolution``, ``structure``.
        record: what else than the name decides the network, for a run's identity; empty for the
            suite's own.
        optimizer: what networks of its family are trained with, where the recipe does not say.
        blank: makes the same layers without pretrained weights, where ``factory`` loads some.
    """

    name: str
    stages: int
    factory: Callable[..., Backbone]
    record: Mapping[str, Any] = field(default_factory=dict, hash=False)
    blank: Callable[..., Backbone] | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"

    def build(
        self,
        *,
        channels: int,
        classes: int,
        resolution: int,
        structure: Structure = _PLAIN,
    ) -> Backbone:
        """Return a freshly initialized network; draws from PyTorch's global stream."""
        return self.factory(
            channels=channels, classes=classes, resolution=resolution, structure=structure
        )

    def untrained(self) -> Architecture:
        """Return the architecture without pretrained weights, for shapes or saved weights."""
        return dataclasses.replace(self, factory=self.blank or self.factory)

    def require_stages(self, least: int = 2) -> None:
        """Check that a network has stages between which exits and branches can leave.

        Raises:
            InputError: it has fewer than ``least``.
        """
        if self.stages < least:
            raise InputError(
                f"architecture {self.name!r} has {self.stages} stages: allowed: architectures "
                f"with at least {least}, since exits and branches leave between stages"
            )
