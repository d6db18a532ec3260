"""Online subclass knowledge distillation (Tzelepi et al., ICPR 2020): images teach their likes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.oskd import OskdSettings
from nfe.losses import distillation
from nfe.method import Context, Members, Method


@torch.no_grad()
def neighbours_mean(outputs: Tensor, labels: Tensor, count: int) -> Tensor:
    """Return the mean output of each image's nearest neighbours in its class, itself left out.

    Nearest by Euclidean distance between outputs, ties by index. Where fewer images of the class
    are in the batch all of them count; where there is no other one, the image's own output.

    Args:
        outputs: (batch, classes).
        labels: (batch,).
        count: how many neighbours.
    """
    alone = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    likes = (labels[:, None] == labels) & ~alone
    # Not by products, whose rounding would decide between close neighbours.
    distance = torch.cdist(outputs, outputs, compute_mode="donot_use_mm_for_euclid_dist")
    order = distance.masked_fill(~likes, torch.inf).argsort(dim=1, stable=True)[:, :count]
    chosen = likes.gather(1, order)
    total = (outputs[order] * chosen[..., None]).sum(dim=1)
    mean = total / chosen.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(chosen.any(dim=1, keepdim=True), mean, outputs)


class Oskd(OskdSettings, Method):
    """One network; each image's teacher are the images of its class that are nearest to it."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone."""
        return Members(context.backbone())

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return CE(z, y) + distillation × T² · KL from the mean of each image's neighbours.

        An image that is alone in its class has itself as teacher: its term is 0.
        """
        logits: Tensor = network(inputs)
        teacher = neighbours_mean(logits.detach()[:, 0], targets, self.neighbours)
        towards = distillation(logits, teacher[:, None], self.temperature)
        return F.cross_entropy(logits[:, 0], targets) + self.distillation * towards, logits
