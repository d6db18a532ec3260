"""MC dropout (Gal & Ghahramani, ICML 2016): dropout stays on, members are draws of its masks."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count, Share
from nfe.method.settings import Settings


@dataclass(frozen=True)
class McDropoutSettings(Settings):
    """One network trained with dropout; M draws of the masks are the members.

    Attributes:
        members: number of draws M.
        rate: probability of dropping a feature.
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 200,
        "lr": 0.05,
        "weight_decay": 6e-4,
        "schedule": "step",
        "milestones": (0.3, 0.6, 0.8),
        "decay": 0.2,
        "warmup": 1,
    }
    costless: ClassVar = frozenset({"rate"})

    members: Count = 3
    rate: Share = 0.1
