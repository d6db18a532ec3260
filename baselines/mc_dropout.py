"""MC dropout (Gal & Ghahramani, ICML 2016): dropout stays on, members are draws of its masks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.settings.mc_dropout import McDropoutSettings
from baselines.shared.passes import Passes
from baselines.shared.replacing import replace_layers
from nfe.backbones import Backbone
from nfe.common.seeds import generator
from nfe.method import Context, Method


class MemberDropout(nn.Module):
    """Dropout: fresh masks in training; in evaluation one fixed mask per member.

    A member's mask is the same for all images, so that a prediction depends neither on the
    other images of the batch nor on when it is made; and it is drawn on the CPU, so that it
    depends on no GPU's model either.

    Attributes:
        rate: probability of dropping a feature.
        members: number of masks.
        seed: seed of the masks.
        name: the stream of this layer's masks.
    """

    def __init__(self, rate: float, members: int, seed: int, name: str) -> None:
        super().__init__()
        self.rate = rate
        self.members = members
        self.seed = seed
        self.name = name
        # The masks of the shape and device last asked for.
        self._drawn: Tensor | None = None

    def masks(self, shape: torch.Size, device: torch.device) -> Tensor:
        """Return (members, 1, *shape): 0 where dropped, else 1 / (1 − rate)."""
        if self._drawn is None or self._drawn.shape[2:] != shape or self._drawn.device != device:
            draws = generator("cpu", self.seed, "mc_dropout", self.name)
            kept = torch.rand((self.members, 1, *shape), generator=draws) >= self.rate
            self._drawn = (kept / (1 - self.rate)).to(device)
        return self._drawn

    def forward(self, x: Tensor) -> Tensor:
        """Drop features; in evaluation the rows are (members × batch), member by member."""
        if self.training:
            return F.dropout(x, self.rate)
        masks = self.masks(x.shape[1:], x.device).to(x.dtype)
        rows: Tensor = x.unflatten(0, (self.members, -1)) * masks
        return rows.flatten(0, 1)


class Sampled(Passes):
    """A backbone with dropout in front of every weight layer but the stem."""

    def __init__(self, backbone: Backbone, rate: float, members: int, seed: int) -> None:
        super().__init__(backbone, members)

        def dropped(name: str, layer: nn.Module) -> nn.Module:
            return nn.Sequential(MemberDropout(rate, members, seed, name), layer)

        replace_layers(backbone.stages, (nn.Conv2d, nn.Linear), dropped)
        replace_layers(backbone.head, nn.Linear, dropped)


class McDropout(McDropoutSettings, Method):
    """One network trained with dropout; M draws of the masks are the members."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the backbone with dropout."""
        return Sampled(context.backbone(), self.rate, self.members, context.seed)
