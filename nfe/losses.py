"""The loss of Network Fission Ensembles: cross-entropy plus distillation from the ensemble."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nfe.common.errors import InputError
from nfe.common.precision import exact


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return Σ_i T² · KL(softmax(z_t / T) ‖ softmax(z_i / T)), batch mean.

    No gradient reaches the teacher's logits z_t (Hinton et al., arXiv 1503.02531).

    Args:
        logits: (batch, exits, classes).
        teacher: the teacher's logits, one for all exits or one for each: (batch, 1 or exits,
            classes).
        temperature: T.
    """
    logits = exact(logits)
    teacher = F.softmax(exact(teacher.detach()) / temperature, dim=-1)
    student = F.log_softmax(logits / temperature, dim=-1)
    divergence = (torch.xlogy(teacher, teacher) - teacher * student).sum(dim=(1, 2))
    return temperature**2 * divergence.mean()


def ensemble_distillation(logits: Tensor, temperature: float) -> Tensor:
    """Return Σ_i T² · KL(softmax(z_E / T) ‖ softmax(z_i / T)), batch mean.

    z_E is the mean of the exits' logits, detached (Lee & Lee, arXiv 2408.02301).

    Args:
        logits: (batch, exits, classes).
        temperature: T.
    """
    logits = exact(logits)
    return distillation(logits, logits.detach().mean(dim=1, keepdim=True), temperature)


def fission_loss(
    logits: Tensor, labels: Tensor, temperature: float = 3.0, weight: float = 1.0
) -> Tensor:
    """Return Σ_i CE(z_i, y) + weight × ensemble distillation, batch mean.

    Args:
        logits: (batch, exits, classes).
        labels: (batch,) class numbers, or shares of the classes (batch, classes), as mixup, CutMix
            and label smoothing make them.
        temperature: T of the distillation term.
        weight: coefficient of the distillation term.

    Raises:
        InputError: logits or labels have another shape.
    """
    if logits.dim() != 3:
        raise InputError(f"logits are {tuple(logits.shape)}: allowed: (batch, exits, classes)")
    _, exits, classes = logits.shape
    targets = _targets(labels, logits)
    loss = F.cross_entropy(exact(logits).reshape(-1, classes), targets) * exits
    if weight == 0:
        return loss
    return loss + weight * ensemble_distillation(logits, temperature)


def _targets(labels: Tensor, logits: Tensor) -> Tensor:
    """Return the target of every exit, (batch × exits,) or (batch × exits, classes)."""
    batch, exits, classes = logits.shape
    if labels.is_floating_point() and labels.shape == (batch, classes):
        shares = labels.to(exact(logits).dtype)
        return shares[:, None].expand(batch, exits, classes).reshape(-1, classes)
    if labels.is_floating_point() or labels.shape != (batch,):
        raise InputError(
            f"labels {tuple(labels.shape)} {labels.dtype} beside logits {tuple(logits.shape)}: "
            f"allowed: whole numbers (batch,), or shares of the classes (batch, classes)"
        )
    return labels.to(torch.int64)[:, None].expand(batch, exits).reshape(-1)
