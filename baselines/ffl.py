"""FFL (Kim et al., ICPR 2020, arXiv 1904.09058): sub-networks and their fused classifier.

The fused classifier learns from the mean of the sub-networks, and they from it.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.ffl import FflSettings
from baselines.shared.distillation import divergence
from baselines.shared.exits import Branches, at_pooling, pooled_head, stage_shapes
from nfe.backbones import Backbone
from nfe.backbones.initialization import kaiming_normal_fan_out
from nfe.common.precision import exact
from nfe.method import Context, GroupsParameters, Method, Phases, Recipe, Step


def fusion(networks: int, width: int, classes: int) -> nn.Sequential:
    """Return the fusion module: maps side by side, (batch, networks × width, h, w), to logits.

    A 3×3 convolution of each channel alone and a 1×1 one of all to ``width`` channels, each with
    BN and ReLU, average pooling, a linear layer.
    """
    inputs = networks * width
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *pooled_head(width, classes),
    )


class FusedBranches(nn.Module):
    """Sub-networks on a shared trunk, and a classifier of their last feature maps together.

    Attributes:
        branches: the sub-networks with the trunk; their heads begin with pooling.
        norms: what each sub-network does between its last stage and pooling.
        fusion: the fusion module with the fused classifier.
        rampup: by what the distillation terms are multiplied at the run's present step.
    """

    rampup: Tensor

    def __init__(
        self, backbones: Sequence[Backbone], shared: int, image: Tensor, classes: int
    ) -> None:
        """Join the backbones.

        Args:
            backbones: the sub-networks; the first one's early stages are shared.
            shared: number of shared stages.
            image: any image (1, channels, h, w) of the right size.
            classes: number of classes.
        """
        super().__init__()
        width = stage_shapes(backbones[0], image)[-1][1]
        self.branches = Branches(backbones, shared)
        parts = [at_pooling(head) for head in self.branches.heads]
        self.norms = nn.ModuleList(norm for norm, _ in parts)
        self.branches.heads = nn.ModuleList(head for _, head in parts)
        self.fusion = kaiming_normal_fan_out(fusion(len(backbones), width, classes))
        self.register_buffer("rampup", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, members, classes), fused last."""
        maps = self.maps(x)
        logits = [head(features) for head, features in zip(self.branches.heads, maps, strict=True)]
        return torch.stack([*logits, self.fusion(torch.cat(maps, dim=1))], dim=1)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return each sub-network's feature map before pooling, (batch, width, h, w)."""
        shared = self.branches.trunk(self.branches.stem(x))
        ends = zip(self.branches.branches, self.norms, strict=True)
        return [norm(branch(shared)) for branch, norm in ends]


class Ffl(FflSettings, Phases, GroupsParameters, Method):
    """Sub-networks and a fused classifier, which teach one another while they learn."""

    combine = "logits"
    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the sub-networks with the fusion module."""
        backbones = [context.backbone() for _ in range(self.members - 1)]
        return FusedBranches(backbones, cast(int, self.shared), context.image(), context.classes)

    def before_step(self, network: nn.Module, step: Step) -> None:
        """Let the distillation terms rise: exp(−5 (1 − t)²), t the share of ``rampup`` gone.

        By whole epochs, as in the authors' code; its source is Laine & Aila, arXiv 1610.02242.
        """
        gone = step.number // step.per_epoch * step.per_epoch / step.steps
        left = max(0.0, 1 - gone / self.rampup) if self.rampup else 0.0
        cast(FusedBranches, network).rampup.fill_(math.exp(-5 * left**2))

    def parameter_groups(self, network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
        """Return two groups: the sub-networks, and the fusion module with less decay."""
        made = cast(FusedBranches, network)
        decay = self.fusion_decay * recipe.weight_decay
        return [
            {"params": [*made.branches.parameters(), *made.norms.parameters()]},
            {"params": list(made.fusion.parameters()), "weight_decay": decay},
        ]

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_k CE_k + CE_f + distillation × rampup × (``mutual``), and the logits."""
        logits: Tensor = network(inputs)
        labels = sum(F.cross_entropy(exact(z), targets) for z in logits.unbind(1))
        weight = self.distillation * cast(FusedBranches, network).rampup
        return labels + weight * self.mutual(logits), logits

    def mutual(self, logits: Tensor) -> Tensor:
        """Return T² KL(z_e ‖ z_f) + Σ_k T² KL(z_f ‖ z_k), softmax at T, teachers detached.

        z_e is the mean of the sub-networks' logits, z_f the fused classifier's.

        Args:
            logits: (batch, members, classes), the fused classifier's last.
        """
        *networks, fused = exact(logits).unbind(1)
        ensemble = torch.stack(networks).mean(dim=0)
        terms = [divergence(fused, z, self.temperature) for z in networks]
        return divergence(ensemble, fused, self.temperature) + sum(terms)
