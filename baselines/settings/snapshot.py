"""Snapshot Ensembles (Huang et al., ICLR 2017): one training, a member from each rate cycle."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count
from nfe.method.settings import Settings


@dataclass(frozen=True)
class SnapshotSettings(Settings):
    """One network whose learning rate falls M times from the base rate to zero.

    What it is at the end of each cycle is a member.

    Attributes:
        members: number of cycles and snapshots M.
    """

    published: ClassVar = {"batch_size": 64, "epochs": 200, "lr": 0.2, "weight_decay": 1e-4}
    published_settings: ClassVar = {"members": 5}

    members: Count = 3
