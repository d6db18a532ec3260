"""The loss of Network Fission Ensembles: cross-entropy plus distillation from the ensemble."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nfe.common.precision import exact


def ensemble_distillation(logits: Tensor, temperature: float) -> Tensor:
    """Return Σ_i T² · KL(softmax(z_E / T) ‖ softmax(z_i / T)), batch mean.

    z_E is the mean of the exits' logits, detached (Lee & Lee, arXiv 2408.02301).

    Args:
        logits: (batch, exits, classes).
        temperature: T.
    """
    logits = exact(logits)
    teacher = F.softmax(logits.detach().mean(dim=1, keepdim=True) / temperature, dim=-1)
    student = F.log_softmax(logits / temperature, dim=-1)
    divergence = (torch.xlogy(teacher, teacher) - teacher * student).sum(dim=(1, 2))
    return temperature**2 * divergence.mean()


def fission_loss(
    logits: Tensor, labels: Tensor, temperature: float = 3.0, weight: float = 1.0
) -> Tensor:
    """Return Σ_i CE(z_i, y) + weight × ensemble distillation, batch mean.

    Args:
        logits: (batch, exits, classes).
        labels: (batch,).
        temperature: T of the distillation term.
        weight: coefficient of the distillation term.
    """
    batch, exits, classes = logits.shape
    targets = labels[:, None].expand(batch, exits).reshape(-1)
    loss = F.cross_entropy(exact(logits).reshape(-1, classes), targets) * exits
    if weight == 0:
        return loss
    return loss + weight * ensemble_distillation(logits, temperature)
