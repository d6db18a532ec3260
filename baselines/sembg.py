"""SEMBG (Lee & Lee, arXiv 2408.02307): branches of grouped convolutions at one network's cost."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from baselines.settings.sembg import SembgSettings
from baselines.shared.exits import Branches
from nfe.backbones import Structure
from nfe.common.errors import InputError
from nfe.losses import fission_loss
from nfe.method import Context, Method


@dataclass(frozen=True)
class BranchStructure(Structure):
    """Widths and groups of the shared first stage and of one branch.

    Stage 1 has the largest width not above C that all branches' group counts divide; in a
    branch of g groups, of N, a width of C becomes int(C · √g / g / √N) · g, which keeps g
    times the channels a group at 1/N of the weights. Shortcuts stay ungrouped, the stem plain.

    Attributes:
        mine: the branch's group count g.
        all_groups: the group counts of all branches.
    """

    mine: int
    all_groups: tuple[int, ...]

    def width(self, stage: int, plain: int, groups: int = 1) -> int:
        """Return the width, a multiple of ResNeXt's own groups where there are any.

        Raises:
            InputError: no width is left.
        """
        if stage == 0:
            return plain
        # Only a stage's output meets the branches' groups, not a bottleneck's inner width.
        unit = math.prod(self.all_groups) if groups == 1 else groups
        target = float(plain)
        if stage > 1:
            unit = self.mine * groups
            target = plain * math.sqrt(self.mine / len(self.all_groups))
        # √g / g / √N in floating point can fall below a whole number that it equals.
        if (width := int(target / unit + 1e-9) * unit) > 0:
            return width
        raise InputError(
            f"groups is {list(self.all_groups)}: stage {stage} has {plain} channels, fewer than "
            f"its group count {unit}: allowed: smaller counts, or a wider architecture"
        )

    def groups(self, stage: int, inputs: int, plain: int, shortcut: bool) -> int:
        """Return g times the plain group count inside the branch's blocks."""
        return plain * self.mine if stage > 1 and not shortcut else plain


class Sembg(SembgSettings, Method):
    """N branches after stage 1, distilled from their mean."""

    combine = "logits"
    lifts = True
    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the branches on the shared stem and stage 1."""
        structures = [BranchStructure(g, self.groups) for g in self.groups]
        return Branches([context.backbone(structure=s) for s in structures], shared=1)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_k CE_k + distillation × Σ_k T² · KL(ensemble ‖ branch k)."""
        logits: Tensor = network(inputs)
        return fission_loss(logits, targets, self.temperature, self.distillation), logits
