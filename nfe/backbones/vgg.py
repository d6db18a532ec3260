"""VGG-16 with batch norm (Simonyan & Zisserman, ICLR 2015; Ioffe & Szegedy, ICML 2015).

Each of the five stages ends with a max-pool; the stem is the first convolution. Convolutions
have no bias: the norm behind each has one.
"""

from itertools import pairwise

from torch import nn

from nfe.backbones.backbone import Backbone
from nfe.backbones.initialization import kaiming_normal_fan_out
from nfe.backbones.pooling import DeterministicAvgPool2d
from nfe.backbones.structure import Structure
from nfe.common.errors import InputError

# Widths of the convolutions of each stage, the stem's left out.
STAGES = ((64,), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 4096
_SMALLEST = 2 ** len(STAGES)


def _unit(structure: Structure, stage: int, inputs: int, outputs: int) -> list[nn.Module]:
    return [structure.conv(stage, inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU()]


def _large_head(structure: Structure, width: int, classes: int) -> nn.Sequential:
    hidden = structure.width(len(STAGES) + 1, HIDDEN)
    return nn.Sequential(
        DeterministicAvgPool2d(7),
        nn.Flatten(),
        nn.Linear(width * 49, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, classes),
    )


def vgg16(
    imagenet: bool, *, channels: int, classes: int, resolution: int, structure: Structure
) -> Backbone:
    """Return VGG-16 with batch norm, Kaiming-normal fan-out initialization.

    Args:
        imagenet: use ImageNet's head, two hidden layers of 4096, whatever the resolution.
        channels: image channels.
        classes: number of classes.
        resolution: image side in pixels; up to 64 the head is average pooling and one
            linear layer.
        structure: widths and groups.

    Raises:
        InputError: the images are too small for five halvings.
    """
    if resolution < _SMALLEST:
        raise InputError(
            f"architecture 'vgg16': resolution is {resolution}: allowed: from {_SMALLEST} pixels"
        )
    width = structure.width(0, 64)
    stem = nn.Sequential(*_unit(structure, 0, channels, width))
    stages: list[nn.Module] = []
    for number, plain in enumerate(STAGES, start=1):
        widths = [width, *(structure.width(number, c) for c in plain)]
        units = [_unit(structure, number, i, o) for i, o in pairwise(widths)]
        stages.append(nn.Sequential(*(layer for unit in units for layer in unit), nn.MaxPool2d(2)))
        width = widths[-1]
    if imagenet or resolution > 64:
        head = _large_head(structure, width, classes)
    else:
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
    return kaiming_normal_fan_out(Backbone(stem, stages, head))
