"""Narrow ensemble: M separate networks that together cost one, the dense rival of fission.

Ours, for comparison: Deep Ensembles (Lakshminarayanan et al., NeurIPS 2017) at a single
network's multiply-adds.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn

from baselines.shared.side_by_side import SideBySide
from nfe.backbones import Architecture, Structure
from nfe.common.seeds import global_stream
from nfe.method import Context, Method, check_whole


@dataclass(frozen=True)
class NarrowStructure(Structure):
    """Widths of one member: the stem's and every stage's, each divided by √M.

    A layer's multiply-adds go by the product of its two widths, so a member has 1/M of them but
    for the first layer, whose input is the image, and the last one.

    Attributes:
        members: M.
        unit: widths are multiples of this.
    """

    members: int
    unit: int = 1

    def width(self, stage: int, plain: int, groups: int = 1) -> int:
        """Return the multiple of the unit nearest to C / √M; in ResNeXt of its groups, too."""
        unit = math.lcm(self.unit, groups)
        return max(1, round(plain / math.sqrt(self.members) / unit)) * unit


@dataclass(frozen=True)
class NarrowEnsemble(Method):
    """M narrow networks, trained side by side on the same batches, each as if alone.

    Attributes:
        members: number of networks M.
        unit: widths are multiples of this; above 1 for the sake of hardware, at the price of a
            cost further from one network's.
    """

    capturable: ClassVar = True
    published: ClassVar = {"batch_size": 128, "epochs": 200}

    members: int = 3
    unit: int = 1

    def resolved(self, architecture: Architecture) -> Self:
        """Check the settings."""
        check_whole("members", self.members)
        check_whole("unit", self.unit)
        return self

    def network(self, context: Context) -> nn.Module:
        """Return the members, each drawn from an initialization stream of its own."""
        return SideBySide(self.member(context, index) for index in range(self.members))

    def member(self, context: Context, index: int) -> nn.Module:
        """Return one member's network, the same whatever the others are."""
        with global_stream(context.seed, "initialization", "member", index):
            return context.backbone(structure=NarrowStructure(self.members, self.unit))

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the members' cross-entropies, so that each trains as if alone."""
        mean, logits = super().loss(network, inputs, targets)
        return self.members * mean, logits
