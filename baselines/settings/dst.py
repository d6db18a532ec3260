"""FreeTickets by DST (Liu et al., ICLR 2022): sparse networks that change their connections."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count, Positive, Share
from nfe.method.settings import Settings


@dataclass(frozen=True)
class DstSettings(Settings):
    """M sparse networks, each trained alone for the run's epochs, with connections that change.

    Attributes:
        members: number of networks M.
        sparsity: share of the convolution weights that are absent at any time.
        drop: share of a layer's connections that an update replaces.
        interval: time between updates: below 1 a share of a network's training, else steps.
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 250,
        "nesterov": False,
        "schedule": "step",
        "milestones": (125 / 250, 187 / 250),
        "decay": 0.1,
    }
    published_settings: ClassVar = {"interval": 1000}

    members: Count = 3
    sparsity: Share = 0.8
    drop: Share = 0.5
    interval: Positive = 0.01

    def trainings(self) -> int:
        """Return M: each network takes the run's epochs."""
        return self.members

    costless: ClassVar = frozenset({"drop", "interval", "sparsity"})
