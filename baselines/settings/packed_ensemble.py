"""Packed-Ensembles (Laurent et al., ICLR 2023): narrow members side by side as groups."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class PackedEnsembleSettings(Settings):
    """M members of α/M of the width, packed into one network of grouped convolutions.

    Attributes:
        members: number of members M.
        alpha: width factor α.
        gamma: groups within a member γ.
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 200,
        "schedule": "step",
        "milestones": (0.3, 0.6, 0.8),
        "decay": 0.2,
    }
    published_settings: ClassVar = {"members": 4}
    version: ClassVar = 2  # γ = 1 in the first convolution of a ResNet's block

    members: Count = 3
    alpha: Positive = 2.0
    gamma: Count = 2
