"""A self-distilled network (PS-KD, Kim et al., ICCV 2021): taught by what it was an epoch ago."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Share
from nfe.method.settings import Settings


@dataclass(frozen=True)
class SelfDistilledSettings(Settings):
    """One network whose targets are more and more its own predictions of an epoch ago.

    Attributes:
        trust: share of the targets α_T that is its own prediction at the end of the run.
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 300,
        "schedule": "step",
        "milestones": (0.5, 0.75),
        "decay": 0.1,
    }
    costless: ClassVar = frozenset({"trust"})

    trust: Share = 0.8
