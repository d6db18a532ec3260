"""Packed-Ensembles (Laurent et al., ICLR 2023): narrow members side by side as groups."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from baselines.settings.packed_ensemble import PackedEnsembleSettings
from baselines.shared.replacing import replace_layers
from nfe.backbones import Backbone, Structure
from nfe.common.errors import InputError
from nfe.method import Context, Method

# A convolution's groups within each member are merged while a group has fewer channels.
LEAST_CHANNELS = 64


@dataclass(frozen=True)
class Packed(Structure):
    """Every width α times the plain one, every convolution of the stages in groups.

    Widths are rounded up to the next multiple of the group count. The first convolution of a
    ResNet's block has γ = 1, as in the authors' networks; their WRN has γ throughout.

    Attributes:
        members: M.
        alpha: width factor α.
        gamma: groups within a member γ.
    """

    members: int
    alpha: float
    gamma: int

    def width(self, stage: int, plain: int, groups: int = 1) -> int:
        """Return α × the plain width, rounded up to a multiple of M · γ · the plain groups."""
        unit = self.members * self.gamma * groups
        return math.ceil(self.alpha * plain / unit - 1e-9) * unit

    def groups(self, stage: int, inputs: int, plain: int, shortcut: bool) -> int:
        """Return M · γ · the plain groups; γ falls to the next divisor while groups are small."""
        if stage == 0:
            return plain
        divisors = [d for d in range(self.gamma, 0, -1) if self.gamma % d == 0]
        counts = [self.members * gamma * plain for gamma in divisors]
        return next((n for n in counts if inputs // n >= LEAST_CHANNELS), counts[-1])

    def conv(
        self,
        stage: int,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        shortcut: bool = False,
        first: bool = False,
    ) -> nn.Conv2d:
        """Return a convolution (see ``Structure.conv``)."""
        chosen = dataclasses.replace(self, gamma=1) if first else self
        # Not chosen.conv, which would come here again.
        return Structure.conv(chosen, stage, inputs, outputs, kernel, stride, groups, shortcut)


class PackedLinear(nn.Module):
    """M linear layers side by side, each on its member's share of the features."""

    def __init__(self, features: int, outputs: int, members: int) -> None:
        super().__init__()
        layers = [nn.Linear(features // members, outputs // members) for _ in range(members)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.zeros(members, outputs // members))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, features) to (batch, outputs), members one after another."""
        members = x.unflatten(1, (len(self.weight), -1))
        y: Tensor = torch.einsum("bmi,moi->bmo", members, self.weight) + self.bias
        return y.flatten(1)


class PackedNetwork(nn.Module):
    """A packed backbone whose outputs are M × classes logits."""

    def __init__(self, backbone: nn.Module, members: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.members = members

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, members, classes)."""
        logits: Tensor = self.backbone(x).unflatten(1, (self.members, -1))
        return logits


@torch.no_grad()
def check_apart(backbone: Backbone, members: int, image: Tensor) -> None:
    """Check that no member of a packed network sees another one's channels.

    The suite's own networks are built that way; in others, concatenated or shuffled channels may
    mix the members.

    Raises:
        InputError: one does.
    """
    with _disable_current_modes():
        backbone.eval()
        stem = backbone.stem(image)
        changed = stem.clone()
        changed.unflatten(1, (members, -1))[:, 0].add_(1)
        logits = []
        for given in (stem, changed):
            features = given
            for stage in backbone.stages:
                features = stage(features)
            logits.append(backbone.head(features).unflatten(1, (members, -1))[:, 1:])
        backbone.train()
    if not torch.allclose(logits[0], logits[1], rtol=0, atol=1e-4 * float(logits[0].abs().max())):
        raise InputError(
            "the network joins its channels in an order that mixes the packed members: allowed: "
            "networks that add their branches up"
        )


class PackedEnsemble(PackedEnsembleSettings, Method):
    """M members of α/M of the width, packed into one network of grouped convolutions."""

    capturable = True

    def network(self, context: Context) -> nn.Module:
        """Return the packed backbone."""
        structure = Packed(self.members, self.alpha, self.gamma)
        backbone = context.backbone(classes=self.members * context.classes, structure=structure)
        replace_layers(backbone.head, nn.Linear, self._packed)
        if context.architecture.record:
            check_apart(backbone, self.members, context.image())
        return PackedNetwork(backbone, self.members)

    def _packed(self, _: str, layer: nn.Linear) -> nn.Module:
        return PackedLinear(layer.in_features, layer.out_features, self.members)
