"""Hydra (Tran et al., arXiv 2001.04694): one body, M heads, each taught by one network."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Interval

from nfe.common.settings import Count, Positive
from nfe.method.settings import Settings


@dataclass(frozen=True)
class HydraSettings(Settings):
    """M networks, trained one after the other, then one body with a head for each of them.

    Attributes:
        members: number of teachers, and of heads, M.
        temperature: T of the distillation.
        common: share of the student's training in which all heads learn the teachers' mean.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 200}
    costless: ClassVar = frozenset({"temperature", "common"})

    members: Count = 3
    temperature: Positive = 3.0
    common: Annotated[float, Interval(ge=0, lt=1)] = 0.5

    def trainings(self) -> int:
        """Return M + 1: each teacher takes the run's epochs, and so does the student."""
        return self.members + 1
