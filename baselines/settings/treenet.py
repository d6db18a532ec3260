"""TreeNet (Lee et al., arXiv 1511.06314): shared early stages, full-width branches."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from annotated_types import Ge

from nfe.backbones import Architecture
from nfe.common.errors import InputError
from nfe.common.settings import Count
from nfe.method.settings import Settings


@dataclass(frozen=True)
class TreeNetSettings(Settings):
    """M networks that share the stem and the first stages.

    Attributes:
        members: number of branches M.
        shared: number of shared stages; 0 shares the stem alone.
    """

    published: ClassVar = {"batch_size": 128, "epochs": 200}

    members: Count = 3
    shared: Annotated[int, Ge(0)] = 1

    def resolved(self, architecture: Architecture) -> Self:
        """Check that a stage is left for branches of their own."""
        architecture.require_stages()
        if self.shared >= architecture.stages:
            raise InputError(
                f"shared is {self.shared}: allowed: whole numbers from 0 to "
                f"{architecture.stages - 1}, since branches need a stage of their own"
            )
        return self
