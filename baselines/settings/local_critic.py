"""Local critic training (Lee, Hsieh & Lee, TNNLS 2022): layer groups that learn from critics."""

from dataclasses import dataclass
from typing import ClassVar, Self

from nfe.backbones import Architecture
from nfe.common.settings import Count, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class LocalCriticSettings(Settings):
    """Each group follows its critic's loss, each critic the next one's, the last the true one.

    Attributes:
        width: channels of the critics' convolution.
        critic_lr: the critics' own, constant learning rate (Adam).
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 205,
        "schedule": "step",
        "milestones": (0.5, 0.75),
        "decay": 0.1,
    }
    costless: ClassVar = frozenset({"critic_lr"})

    width: Count = 128
    critic_lr: Positive = 1e-4

    def resolved(self, architecture: Architecture) -> Self:
        """Check that critics can leave between stages."""
        architecture.require_stages()
        return self
