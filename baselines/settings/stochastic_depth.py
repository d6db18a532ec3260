"""Stochastic depth (Huang et al., ECCV 2016) as an ensemble: branches left out at random."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count, Share
from nfe.method.settings import Settings


@dataclass(frozen=True)
class StochasticDepthSettings(Settings):
    """One network trained with stochastic depth; M draws of its branches are the members.

    Attributes:
        members: number of draws M.
        survival: probability p_L that the last residual branch is there; the others' are higher.
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 500,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": (0.5, 0.75),
        "decay": 0.1,
    }
    costless: ClassVar = frozenset({"survival"})

    members: Count = 3
    survival: Share = 0.5
