"""MutualNet (Yang et al., ECCV 2020, arXiv 2105.07085): mutual learning from width and resolution.

The widest network learns from the labels; narrower ones, on images of other sizes, from it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.mutualnet import MutualNetSettings
from baselines.shared.distillation import divergence
from baselines.shared.slim import Slim, slim
from nfe.common.errors import InputError, first_line
from nfe.method import Context, Method


def resized(images: Tensor, scale: float) -> Tensor:
    """Return images (batch, channels, h, w) with sides of ``scale`` times the length, rounded."""
    if scale == 1:
        return images
    size = [round(scale * side) for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", align_corners=True)


class MutualNet(MutualNetSettings, Method):
    """One network at several widths; the narrower ones learn from the widest at other sizes."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone at its widths; batch norms share all but the statistics.

        Raises:
            InputError: it cannot have such widths, or does not run on the smallest images.
        """
        made = slim(context, self.widths, shared_norms=True)
        self._check_sizes(made, context)
        return made

    @torch.no_grad()
    def _check_sizes(self, made: Slim, context: Context) -> None:
        image = resized(context.image(), self.scales[-1])
        try:
            made.eval()(image, width=0)
        except RuntimeError as error:  # Whatever layer finds the image too small raises it.
            raise InputError(
                f"scales: {self.scales[-1]} makes images of {image.shape[-1]} pixels, too small "
                f"for architecture {context.architecture.name!r} ({first_line(error)}): allowed: "
                f"larger scales"
            ) from None
        made.train()

    def loss(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return CE(z_1, y) + distillation × Σ_{w<1} KL(z_1 ‖ z_w), z_1 detached, and the logits.

        Each narrower width sees the batch in equal parts, each part at another scale.
        """
        whole: Tensor = network(inputs, len(self.widths) - 1)
        loss = F.cross_entropy(whole, targets)
        narrow = [self.narrow(network, inputs, width) for width in range(len(self.widths) - 1)]
        for z in narrow:
            loss = loss + self.distillation * divergence(whole, z)
        return loss, torch.stack([*narrow, whole], dim=1)

    def narrow(self, network: nn.Module, inputs: Tensor, width: int) -> Tensor:
        """Return a narrower width's logits of a batch, part k of it at scale k + width.

        A part has two images or more, or a batch norm would have nothing to normalize over. Only
        images of full size make the statistics that predictions, of such images, are made with.

        Args:
            network: the network.
            inputs: the images, (batch, channels, h, w).
            width: number of the width, from the narrowest.
        """
        count = min(len(self.scales), max(1, len(inputs) // 2))
        logits = []
        for number, part in enumerate(inputs.tensor_split(count)):
            scale = self.scales[(number + width) % count]
            logits.append(network(resized(part, scale), width, tracking=scale == 1))
        return torch.cat(logits)
