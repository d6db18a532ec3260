"""BEED (Lee & Lee, ACCV 2022): exit-ensemble distillation that favours the deeper exits."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.beed import BeedSettings
from baselines.shared.exits import Exits
from nfe.common.precision import exact
from nfe.method import Context, Method


def branch(widths: Sequence[int], strides: Sequence[int]) -> nn.Sequential:
    """Return, for each stage still to come, 1×1, 3×3 and 1×1 convolutions with BN and ReLU."""
    layers: list[nn.Module] = []
    for (inputs, outputs), stride in zip(pairwise(widths), strides, strict=True):
        for width, kernel, step in ((inputs, 1, 1), (outputs, 3, stride), (outputs, 1, 1)):
            layers.append(nn.Conv2d(width, outputs, kernel, step, kernel // 2, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def teacher(exits: Tensor, importance: float) -> Tensor:
    """Return Σ_k β^(k−1) v_k / Σ_j β^(j−1), detached; k = 1 is the shallowest exit.

    Args:
        exits: (exits, …), logits or feature maps.
        importance: β.
    """
    weight = importance ** torch.arange(len(exits), device=exits.device, dtype=exits.dtype)
    mean: Tensor = torch.tensordot(weight / weight.sum(), exits.detach(), dims=1)
    return mean


class Beed(BeedSettings, Method):
    """Exits after the stages, distilled from a weighted mean, in balance with their labels."""

    combine = "logits"
    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with exits after stages 1 to S − 1."""
        return Exits(context.backbone(), branch, context.image(), context.classes)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_k (2 − A^(S−k)) CE_k + A^(S−k) T² KL_k + features × MSE(F_k, F_E).

        F_k are the feature maps before pooling.
        """
        logits, maps = network(inputs, features=True)
        distilled = self.output_terms(logits, targets).sum()
        stacked = exact(torch.stack(maps))
        target = teacher(stacked, self.importance)
        feature_terms = (stacked - target).square().flatten(1).mean(dim=1)
        return distilled + self.features * feature_terms.sum(), logits

    def output_terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return each exit's label and distillation terms, (exits,), batch mean.

        Args:
            logits: (batch, exits, classes).
            targets: (batch,).
        """
        by_exit = exact(logits).transpose(0, 1)
        soft = F.softmax(teacher(by_exit, self.importance) / self.temperature, dim=-1)
        terms = []
        for depth, z in enumerate(by_exit, start=1):
            follow = self.balance ** (len(by_exit) - depth)
            student = F.log_softmax(z / self.temperature, dim=-1)
            divergence = F.kl_div(student, soft, reduction="batchmean")
            labels = (2 - follow) * F.cross_entropy(z, targets)
            terms.append(labels + follow * self.temperature**2 * divergence)
        return torch.stack(terms)
