"""Slimmable networks (Yu et al., ICLR 2019): one network's weights at several widths."""

from dataclasses import dataclass
from typing import ClassVar, Self

from baselines.settings.widths import Widths, check_widths
from nfe.backbones import Architecture
from nfe.method.settings import Settings


@dataclass(frozen=True)
class SlimmableSettings(Settings):
    """One network that runs at several widths, each with batch norms of its own.

    Attributes:
        widths: shares of every layer's channels, ascending to 1; each is a member.
        inplace: whether the narrower widths learn from the widest one in place of the labels.
    """

    published: ClassVar = {
        "batch_size": 256,
        "epochs": 100,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": (0.3, 0.6, 0.9),
        "decay": 0.1,
    }
    costless: ClassVar = frozenset({"inplace"})

    widths: Widths = (0.25, 0.5, 0.75, 1.0)
    inplace: bool = False

    def resolved(self, architecture: Architecture) -> Self:
        """Check the widths."""
        check_widths(self.widths)
        return self
