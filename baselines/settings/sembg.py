"""SEMBG (Lee & Lee, arXiv 2408.02307): branches of grouped convolutions at one network's cost."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from annotated_types import Len

from nfe.backbones import Architecture
from nfe.common.settings import Coefficient, Count, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class SembgSettings(Settings):
    """N branches after stage 1, distilled from their mean.

    Attributes:
        groups: group count of each branch's convolutions; their number is N.
        distillation: coefficient of the distillation term.
        temperature: T of the distillation term.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 200}
    costless: ClassVar = frozenset({"distillation", "temperature"})

    groups: Annotated[tuple[Count, ...], Len(1)] = (1, 2, 3)
    distillation: Coefficient = 1.0
    temperature: Positive = 3.0

    def resolved(self, architecture: Architecture) -> Self:
        """Check that branches can leave between stages."""
        architecture.require_stages()
        return self
