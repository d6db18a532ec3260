"""Residual networks (He et al., CVPR 2016) and ResNeXt (Xie et al., CVPR 2017).

The stride stands in the 3×3 convolution of a bottleneck, as in torchvision's. Two stems: 3×3
without pooling for small images, 7×7 with stride 2 and max-pooling for those of ImageNet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from nfe.backbones.backbone import Backbone
from nfe.backbones.initialization import kaiming_normal_fan_out
from nfe.backbones.structure import Structure

Conv = Callable[..., nn.Conv2d]


class _Shortcut(nn.Sequential):
    """Nothing where the shape stays, else a 1×1 convolution and a norm."""

    def __init__(self, conv: Conv, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        if stride != 1 or inputs != outputs:
            self.append(conv(inputs, outputs, 1, stride, shortcut=True))
            self.append(nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """3×3, 3×3, plus a shortcut; ReLU after the sum."""

    def __init__(self, conv: Conv, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride, first=True)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = _Shortcut(conv, inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, h, w) to (batch, outputs, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1, plus a shortcut; ReLU after the sum. ResNeXt groups the 3×3."""

    def __init__(
        self, conv: Conv, inputs: int, inner: int, outputs: int, stride: int, groups: int
    ) -> None:
        super().__init__()
        self.conv1 = conv(inputs, inner, 1, first=True)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, inner, 3, stride, groups=groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv(inner, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _Shortcut(conv, inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, h, w) to (batch, outputs, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


@dataclass(frozen=True)
class Layout:
    """What tells one residual network from another.

    Attributes:
        blocks: blocks of each stage.
        inner: inner width of the bottlenecks of stage 1, doubled from stage to stage; None
            for basic blocks.
        groups: group count of the bottlenecks' 3×3 convolutions.
    """

    blocks: tuple[int, int, int, int]
    inner: int | None = None
    groups: int = 1

    @property
    def outputs(self) -> int:
        """Output width of stage 1, doubled from stage to stage."""
        return 64 if self.inner is None else 256


LAYOUTS = {
    "resnet18": Layout((2, 2, 2, 2)),
    "resnet34": Layout((3, 4, 6, 3)),
    "resnet50": Layout((3, 4, 6, 3), inner=64),
    "resnext50": Layout((3, 4, 6, 3), inner=128, groups=32),
}


def _stem(structure: Structure, channels: int, imagenet: bool) -> tuple[nn.Module, int]:
    width = structure.width(0, 64)
    kernel, stride = (7, 2) if imagenet else (3, 1)
    layers: list[nn.Module] = [
        structure.conv(0, channels, width, kernel, stride),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    if imagenet:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    return nn.Sequential(*layers), width


def _stage(structure: Structure, layout: Layout, number: int, inputs: int) -> nn.Sequential:
    scale, conv = 2 ** (number - 1), partial(structure.conv, number)
    outputs = structure.width(number, layout.outputs * scale)
    blocks: list[nn.Module] = []
    for index in range(layout.blocks[number - 1]):
        before, stride = (outputs, 1) if index else (inputs, 1 if number == 1 else 2)
        if layout.inner is None:
            blocks.append(BasicBlock(conv, before, outputs, stride))
        else:
            inner = structure.width(number, layout.inner * scale, layout.groups)
            blocks.append(Bottleneck(conv, before, inner, outputs, stride, layout.groups))
    return nn.Sequential(*blocks)


def resnet(
    name: str,
    imagenet: bool,
    *,
    channels: int,
    classes: int,
    resolution: int,
    structure: Structure,
) -> Backbone:
    """Return a residual network of four stages, Kaiming-normal fan-out initialization.

    Args:
        name: a key of ``LAYOUTS``: blocks and widths.
        imagenet: use ImageNet's stem whatever the resolution.
        channels: image channels.
        classes: number of classes.
        resolution: image side in pixels; above 64 the stem is ImageNet's.
        structure: widths and groups.
    """
    layout = LAYOUTS[name]
    stem, width = _stem(structure, channels, imagenet or resolution > 64)
    stages: list[nn.Module] = []
    for number in range(1, 5):
        stages.append(_stage(structure, layout, number, width))
        width = structure.width(number, layout.outputs * 2 ** (number - 1))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
    return kaiming_normal_fan_out(Backbone(stem, stages, head))
