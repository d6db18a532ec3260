"""Deep Ensembles (Lakshminarayanan et al., NeurIPS 2017): independent networks, averaged."""

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import nn

from baselines.shared.side_by_side import SideBySide
from nfe.backbones import Architecture
from nfe.common.errors import InputError
from nfe.method import Context, Method


@dataclass(frozen=True)
class DeepEnsemble(Method):
    """M single networks with other seeds; replicate r combines seeds rM … rM + M − 1.

    Attributes:
        members: number of networks M.
    """

    member_method: ClassVar = "single"
    published: ClassVar = {"batch_size": 128, "epochs": 200}

    members: int = 3

    def resolved(self, architecture: Architecture) -> Self:
        """Check the number of members."""
        if self.members < 1:
            raise InputError(f"members is {self.members}: allowed: whole numbers from 1")
        return self

    def member_seeds(self, seed: int) -> list[int]:
        """Return the members' seeds; replicates share no member."""
        return list(range(seed * self.members, (seed + 1) * self.members))

    def training_passes(self, architecture: Architecture) -> float:
        """Return M, where the members are trained by this run."""
        return float(self.members)

    def network(self, context: Context) -> nn.Module:
        """Return the members side by side, untrained: what inference costs is measured on it."""
        return SideBySide([context.backbone() for _ in range(self.members)])
