"""BEED (Lee & Lee, ACCV 2022): exit-ensemble distillation that favours the deeper exits."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.shared.exits import Exits, check_stages
from nfe.backbones import Architecture
from nfe.common.errors import InputError
from nfe.common.precision import exact
from nfe.method import Context, Method, check_number


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


@dataclass(frozen=True)
class Beed(Method):
    """Exits after the stages, distilled from a weighted mean, in balance with their labels.

    Attributes:
        importance: β, how much more a deeper exit counts in the teacher.
        balance: A, how much more a shallower exit follows the teacher than the labels.
        features: coefficient of the feature term.
        temperature: T of the distillation term.
    """

    combine: ClassVar = "logits"
    capturable: ClassVar = True
    published: ClassVar = {
        "batch_size": 128,
        "epochs": 200,
        "nesterov": False,
        "schedule": "step",
        "milestones": (0.375, 0.65, 0.9),
        "decay": 0.1,
    }

    importance: float = 1.6
    balance: float = 1.15
    features: float = 0.1
    temperature: float = 3.0

    def resolved(self, architecture: Architecture) -> Self:
        """Check the settings."""
        check_stages(architecture)
        check_number("importance", self.importance, above=0)
        check_number("temperature", self.temperature, above=0)
        check_number("features", self.features, above=-1e-9)
        most = 2 ** (1 / (architecture.stages - 1))
        if not 0 < self.balance <= most:
            raise InputError(
                f"balance is {self.balance}: allowed: above 0 up to {most:.4g}, where the first "
                f"of {architecture.stages} exits no longer follows its labels"
            )
        return self

    def training_passes(self, architecture: Architecture) -> float:
        """Return 1 and what the exits of a ResNet18 add."""
        return 1.5

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
