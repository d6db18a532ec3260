"""Exit-ensemble distillation (Lee & Lee, arXiv 2104.00299): every exit learns from their mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.shared.exits import Exits, check_stages
from nfe.backbones import Architecture
from nfe.common.errors import unknown
from nfe.common.precision import exact
from nfe.method import Context, Method, check_number

TEMPERATURE = 3.0
KL_WEIGHT = 0.1
OUTPUTS = ("mse", "kl")


def branch(widths: Sequence[int], strides: Sequence[int]) -> nn.Sequential:
    """Return ReLU, then one 3×3 convolution–BN–ReLU for each stage still to come."""
    layers: list[nn.Module] = [nn.ReLU()]
    for (inputs, outputs), stride in zip(pairwise(widths), strides, strict=True):
        layers.append(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def classification(logits: Tensor, targets: Tensor) -> Tensor:
    """Return Σ_k CE(z_k, y), batch mean."""
    return torch.stack([F.cross_entropy(exact(z), targets) for z in logits.unbind(1)]).sum()


def mse_to_mean(exits: Tensor) -> Tensor:
    """Return Σ_k MSE(v_k, v_E) over batch × features, v_E the exits' mean, detached.

    Args:
        exits: (batch, exits, features), logits or pooled feature maps.
    """
    exits = exact(exits)
    error = exits - exits.detach().mean(dim=1, keepdim=True)
    return error.square().mean(dim=(0, 2)).sum()


def soft_cross_entropy_to_mean(logits: Tensor) -> Tensor:
    """Return 0.1 · T² · Σ_k H(softmax(z_E / T), softmax(z_k / T)), batch mean, T = 3.

    Args:
        logits: (batch, exits, classes).
    """
    logits = exact(logits)
    teacher = F.softmax(logits.detach().mean(dim=1, keepdim=True) / TEMPERATURE, dim=-1)
    student = F.log_softmax(logits / TEMPERATURE, dim=-1)
    return KL_WEIGHT * TEMPERATURE**2 * -(teacher * student).sum(dim=(1, 2)).mean()


@dataclass(frozen=True)
class ExitEnsembleDistillation(Method):
    """The full network with exits after its stages, all distilled from the exits' mean.

    Attributes:
        output: how logits are distilled: ``mse`` or ``kl``.
        features: coefficient of the feature term.
    """

    combine: ClassVar = "logits"
    lifts: ClassVar = True
    capturable: ClassVar = True
    published: ClassVar = {
        "batch_size": 128,
        "epochs": 200,
        "nesterov": False,
        "schedule": "step",
        "milestones": (0.375, 0.65, 0.9),
        "decay": 0.1,
    }

    output: str = "mse"
    features: float = 1.0

    def resolved(self, architecture: Architecture) -> Self:
        """Check the settings."""
        check_stages(architecture)
        if self.output not in OUTPUTS:
            raise unknown("output", self.output, OUTPUTS)
        check_number("features", self.features, above=-1e-9)
        return self

    def training_passes(self, architecture: Architecture) -> float:
        """Return 1 and what the exits of a ResNet18 add."""
        return 1.2

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with exits after stages 1 to S − 1."""
        return Exits(context.backbone(), branch, context.image(), context.classes)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_k CE_k + Σ_k D(z_k, z_E) + features × Σ_k MSE(f_k, f_E), f_k pooled maps."""
        logits, maps = network(inputs, features=True)
        pooled = torch.stack([exact(features).mean(dim=(2, 3)) for features in maps], dim=1)
        distil = mse_to_mean if self.output == "mse" else soft_cross_entropy_to_mean
        loss = classification(logits, targets) + distil(logits)
        return loss + self.features * mse_to_mean(pooled), logits
