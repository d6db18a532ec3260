"""Networks that end more than once: branches off a shared trunk, exits along a full one."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from baselines.shared.maps import check_maps
from nfe.backbones import Backbone
from nfe.backbones.initialization import kaiming_normal_fan_out
from nfe.backbones.stages import staged
from nfe.common.errors import InputError


class Branches(nn.Module):
    """Several backbones that share the stem and first stages of the first of them.

    Attributes:
        stem: the shared stem.
        trunk: the shared stages.
        branches: each backbone's further stages.
        heads: each backbone's head.
    """

    def __init__(self, backbones: Sequence[Backbone], shared: int) -> None:
        super().__init__()
        self.stem = backbones[0].stem
        self.trunk = nn.Sequential(*backbones[0].stages[:shared])
        self.branches = nn.ModuleList(nn.Sequential(*b.stages[shared:]) for b in backbones)
        self.heads = nn.ModuleList(b.head for b in backbones)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) to logits (batch, branches, classes)."""
        shared = self.trunk(self.stem(x))
        ends = zip(self.branches, self.heads, strict=True)
        return torch.stack([head(branch(shared)) for branch, head in ends], dim=1)


# Widths from the stage where an exit leaves to the last one, and the strides between them.
MakeBranch = Callable[[Sequence[int], Sequence[int]], nn.Module]


class Exits(nn.Module):
    """A full backbone with an exit after each stage but the last, its own head being the main.

    An exit's branch brings its stage's output to the width and size of the last stage's.

    Attributes:
        stem: the backbone's stem.
        stages: the backbone's stages.
        exits: the branches, after stage 1 first.
        norm: what the backbone does between its last stage and pooling.
        heads: pooling and linear layer of each exit, the main one (the backbone's own) last.
    """

    def __init__(self, backbone: Backbone, branch: MakeBranch, image: Tensor, classes: int) -> None:
        """Add the exits.

        Args:
            backbone: the network.
            branch: makes an exit's branch from widths and strides.
            image: any image (1, channels, h, w) of the right size.
            classes: number of classes.
        """
        super().__init__()
        shapes = stage_shapes(backbone, image)
        widths = [shape[1] for shape in shapes]
        strides = [max(1, round(a[-1] / b[-1])) for a, b in pairwise(shapes)]
        self.stem, self.stages = backbone.stem, backbone.stages
        self.exits = nn.ModuleList(
            kaiming_normal_fan_out(branch(widths[k:], strides[k:])) for k in range(len(strides))
        )
        self.norm, main = at_pooling(backbone.head)
        heads = [pooled_head(widths[-1], classes) for _ in strides]
        self.heads = nn.ModuleList([*heads, main])

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return each exit's feature map before pooling, the main one's last; all one shape."""
        x = self.stem(x)
        maps = []
        for stage, branch in zip(self.stages, [*self.exits, self.norm], strict=True):
            x = stage(x)
            maps.append(branch(x))
        return maps

    def logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the logits (batch, exits, classes) of feature maps."""
        ends = zip(self.heads, maps, strict=True)
        return torch.stack([head(features) for head, features in ends], dim=1)

    def forward(self, x: Tensor, features: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Map images (batch, channels, h, w) to logits (batch, exits, classes), main one last.

        With ``features`` return logits and feature maps (see ``maps``), for losses on both.
        """
        maps = self.maps(x)
        return (self.logits(maps), maps) if features else self.logits(maps)


def at_pooling(head: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return what a head does before average pooling, and the rest from there on.

    Raises:
        InputError: it does not pool.
    """
    named = [(name, layer) for name, layer in head.named_modules() if _pools(layer)]
    if not named:
        raise InputError(
            "the network's head has no average pooling, in front of which the method compares "
            "its exits' features"
        )
    name, pool = named[0]
    if type(head) is nn.Sequential and "." not in name:
        layers = list(head)
        place = layers.index(pool)
        return nn.Sequential(*layers[:place]), nn.Sequential(*layers[place:])
    parts = staged(head, [name])
    return parts.stem, nn.Sequential(*parts.stages, parts.head)


def _pools(layer: nn.Module) -> bool:
    """Return whether a layer is average pooling, PyTorch's or timm's."""
    if type(layer).__name__ == "SelectAdaptivePool2d":
        return str(getattr(layer, "pool_type", "")).endswith("avg")
    return isinstance(layer, nn.AdaptiveAvgPool2d)


def pooled_head(width: int, classes: int) -> nn.Sequential:
    """Return average pooling and a linear layer: maps (batch, width, h, w) to logits."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


@torch.no_grad()
def stage_shapes(backbone: Backbone, image: Tensor) -> list[torch.Size]:
    """Return the shape (1, channels, h, w) of every stage's output for one image.

    Raises:
        InputError: it gives no feature maps.
    """
    was_training = backbone.training
    backbone.eval()
    x, shapes = backbone.stem(image), []
    for stage in backbone.stages:
        x = stage(x)
        check_maps(x.shape)
        shapes.append(x.shape)
    backbone.train(was_training)
    return shapes
