"""Narrow ensemble: M separate networks that together cost one, the dense rival of fission.

Ours, for comparison: Deep Ensembles (Lakshminarayanan et al., NeurIPS 2017) at a single
network's multiply-adds.
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from baselines.settings.narrow_ensemble import NarrowEnsembleSettings
from baselines.shared.side_by_side import SideBySide
from nfe.backbones import Structure
from nfe.common.seeds import global_stream
from nfe.method import Context, Method


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


class NarrowEnsemble(NarrowEnsembleSettings, Method):
    """M narrow networks, trained side by side on the same batches, each as if alone."""

    capturable = True

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
