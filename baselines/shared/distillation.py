"""Distillation from one output to another."""

import torch.nn.functional as F
from torch import Tensor

from nfe.common.precision import exact


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """Return T² · KL(softmax(t / T) ‖ softmax(s / T)), mean over all but the classes.

    No gradient reaches the teacher (Hinton et al., arXiv 1503.02531).

    Args:
        teacher: logits t, (…, classes).
        student: logits s of the same shape.
        temperature: T.
    """
    wanted = F.log_softmax(exact(teacher.detach()) / temperature, dim=-1)
    given = F.log_softmax(exact(student) / temperature, dim=-1)
    each = F.kl_div(given, wanted, reduction="none", log_target=True).sum(dim=-1)
    return temperature**2 * each.mean()
