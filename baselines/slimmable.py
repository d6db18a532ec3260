"""Slimmable networks (Yu et al., ICLR 2019, arXiv 1812.08928): one network at several widths."""

import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.slimmable import SlimmableSettings
from baselines.shared.distillation import divergence
from baselines.shared.slim import slim
from nfe.common.precision import exact
from nfe.method import Context, Method


class Slimmable(SlimmableSettings, Method):
    """One network whose first channels are networks too, all trained on every batch."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone at its widths, with batch norms for each (switchable)."""
        return slim(context, self.widths, shared_norms=False)

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_w CE(z_w, y); ``inplace``: CE(z_1, y) + Σ_{w<1} KL(z_1 ‖ z_w), z_1 detached.

        The latter is in-place distillation (Yu & Huang, ICCV 2019, arXiv 1903.05134); KL stands
        for their cross-entropy with soft targets, whose gradient is the same.
        """
        logits: Tensor = network(inputs)
        *narrow, whole = exact(logits).unbind(1)
        loss = F.cross_entropy(whole, targets)
        for z in narrow:
            loss = loss + (divergence(whole, z) if self.inplace else F.cross_entropy(z, targets))
        return loss, logits
