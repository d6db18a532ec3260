"""Narrow ensemble: M separate networks that together cost one, the dense rival of fission."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Count
from nfe.method.settings import Settings


@dataclass(frozen=True)
class NarrowEnsembleSettings(Settings):
    """M narrow networks, trained side by side on the same batches, each as if alone.

    Attributes:
        members: number of networks M.
        unit: widths are multiples of this; above 1 for the sake of hardware, at the price of a
            cost further from one network's.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 200}

    members: Count = 3
    unit: Count = 1
