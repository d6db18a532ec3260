"""Exit-ensemble distillation (Lee & Lee, arXiv 2104.00299): every exit learns from their mean."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.exit_ensemble_distillation import ExitEnsembleDistillationSettings
from baselines.shared.exits import Exits
from nfe.common.precision import exact
from nfe.method import Context, Method

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


class ExitEnsembleDistillation(ExitEnsembleDistillationSettings, Method):
    """The full network with exits after its stages, all distilled from the exits' mean."""

    combine = "logits"
    lifts = True
    capturable = True

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
