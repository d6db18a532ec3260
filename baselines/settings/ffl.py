"""FFL (Kim et al., ICPR 2020, arXiv 1904.09058): sub-networks and their fused classifier."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

from annotated_types import Ge, Interval

from nfe.backbones import Architecture
from nfe.common.errors import InputError
from nfe.common.settings import Coefficient, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class FflSettings(Settings):
    """Sub-networks on shared low layers and a fused classifier, which teach one another.

    Attributes:
        members: number of members: the sub-networks, two or more, and the fused classifier.
        shared: number of stages that the sub-networks share; None for all but the last.
        distillation: coefficient of the distillation terms, once they have risen to it.
        temperature: T of the distillation terms.
        rampup: share of the run over which the distillation terms' coefficient rises.
        fusion_decay: the fusion module's weight decay in units of the recipe's.
    """

    published: ClassVar = {
        "batch_size": 128,
        "epochs": 300,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": (0.5, 0.75),
        "decay": 0.1,
    }
    costless: ClassVar = frozenset({"distillation", "temperature", "rampup", "fusion_decay"})

    members: Annotated[int, Ge(3)] = 3
    shared: Annotated[int, Ge(0)] | None = None
    distillation: Coefficient = 1.0
    temperature: Positive = 3.0
    rampup: Annotated[float, Interval(ge=0, le=1)] = 0.2667
    fusion_decay: Coefficient = 0.1

    def resolved(self, architecture: Architecture) -> Self:
        """Spell out how many stages are shared, and check that one is left."""
        architecture.require_stages()
        most = architecture.stages - 1
        shared = most if self.shared is None else self.shared
        if shared > most:
            raise InputError(
                f"shared is {shared}: allowed: whole numbers from 0 to {most}, since sub-networks "
                f"need a stage of their own"
            )
        return replace(self, shared=shared)
