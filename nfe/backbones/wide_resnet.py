"""Wide residual networks (Zagoruyko & Komodakis, BMVC 2016), pre-activation blocks.

The stride stands in the first convolution of a block, as in the original.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from nfe.backbones.backbone import Backbone
from nfe.backbones.initialization import kaiming_normal_fan_out
from nfe.backbones.structure import Structure

Conv = Callable[..., nn.Conv2d]


class WideBlock(nn.Module):
    """BN–ReLU–conv–BN–ReLU–conv plus a shortcut, a 1×1 convolution where the shape changes."""

    def __init__(self, conv: Conv, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, outputs, 3, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3)
        changes = stride != 1 or inputs != outputs
        self.shortcut = conv(inputs, outputs, 1, stride, shortcut=True) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, h, w) to (batch, outputs, h / stride, w / stride)."""
        pre = F.relu(self.bn1(x))
        # Where the shape changes, the shortcut starts behind the first activation.
        identity = x if self.shortcut is None else self.shortcut(pre)
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(pre))))
        return out + identity


def _stage(conv: Conv, inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = WideBlock(conv, inputs, outputs, stride)
    return nn.Sequential(first, *(WideBlock(conv, outputs, outputs, 1) for _ in range(blocks - 1)))


def wide_resnet(
    depth: int, width: int, *, channels: int, classes: int, resolution: int, structure: Structure
) -> Backbone:
    """Return WRN-depth-width: three stages of (depth − 4) / 6 blocks, widths 16, 32, 64 × width.

    Kaiming-normal fan-out initialization for every convolution. ``resolution`` (pixels) is
    part of every backbone's signature; this one is the same at every resolution.
    """
    blocks = (depth - 4) // 6
    plain = [16, 16 * width, 32 * width, 64 * width]
    widths = [structure.width(stage, c) for stage, c in enumerate(plain)]
    stem = structure.conv(0, channels, widths[0], 3)
    stages: list[nn.Module] = [
        _stage(partial(structure.conv, stage), widths[stage - 1], widths[stage], blocks, stride)
        for stage, stride in enumerate([1, 2, 2], start=1)
    ]
    head = nn.Sequential(
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(widths[-1], classes),
    )
    return kaiming_normal_fan_out(Backbone(stem, stages, head))
