"""Partially masked networks (Mohtashami et al., AISTATS 2022): a network and its core, together."""

from dataclasses import dataclass
from typing import ClassVar

from nfe.common.settings import Share
from nfe.method.settings import Settings


@dataclass(frozen=True)
class PartiallyMaskedSettings(Settings):
    """One network whose core, the same network with masked weights, is trained in turns with it.

    Attributes:
        sparsity: share of the weights in the stages that the core lacks.
    """

    costless: ClassVar = frozenset({"sparsity"})

    sparsity: Share = 0.5
