"""FreeTickets by EDST (Liu et al., ICLR 2022): several sparse networks along one training."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count, Positive, Share
from nfe.method.settings import Settings


@dataclass(frozen=True)
class EdstSettings(Settings):
    """One sparse network that explores, then is refined to a ticket, leaves it, and so on.

    Attributes:
        members: number of tickets M.
        sparsity: share of the convolution weights that are absent at any time.
        exploration: share of the run before the first ticket's refinement; the tickets share
            the rest evenly.
        drop: share of a layer's connections that an update replaces.
        escape: the same between two tickets.
        interval: time between updates: below 1 a share of the run, else steps.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 450, "nesterov": False}
    published_settings: ClassVar = {"interval": 1000}

    members: Count = 3
    sparsity: Share = 0.8
    exploration: Share = 1 / 3
    drop: Share = 0.5
    escape: Share = 0.8
    interval: Positive = 0.01
    costless: ClassVar = frozenset({"drop", "interval", "sparsity", "exploration", "escape"})
