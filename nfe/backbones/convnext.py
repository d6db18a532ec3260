"""ConvNeXt (Liu et al., CVPR 2022) for small images, of torchvision's blocks.

The atto size (40, 80, 160, 320 channels; 2, 2, 6, 2 blocks) is that of Woo et al., CVPR 2023. What
is ours: the patch of the stem is a choice, so that images of 32 and 64 pixels (patch 2), or smaller
ones (patch 1), leave the last stage something to see; there is no stochastic depth.
"""

from functools import partial
from itertools import pairwise

from torch import nn

from nfe.backbones.backbone import Backbone
from nfe.backbones.initialization import truncated_normal
from nfe.backbones.structure import Structure
from nfe.common.errors import InputError

WIDTHS = (40, 80, 160, 320)
BLOCKS = (2, 2, 6, 2)
# What a block's residual is scaled by before training.
_LAYER_SCALE = 1e-6


def convnext_atto(
    patch: int, *, channels: int, classes: int, resolution: int, structure: Structure
) -> Backbone:
    """Return ConvNeXt-atto in four stages; weights from N(0, 0.02²), truncated, biases 0.

    Args:
        patch: side of the stem's patches in pixels; 4 is ImageNet's.
        channels: image channels.
        classes: number of classes.
        resolution: image side in pixels.
        structure: the plain one.

    Raises:
        InputError: the images are too small for the stem and three halvings, or other widths or
            groups are asked for.
    """
    from torchvision.models.convnext import CNBlock, LayerNorm2d

    name, smallest = f"convnext-atto-{patch}", patch * 2 ** (len(WIDTHS) - 1)
    structure.require_plain(name)
    if resolution < smallest:
        raise InputError(
            f"architecture {name!r}: resolution is {resolution}: allowed: from {smallest} pixels"
        )
    norm = partial(LayerNorm2d, eps=1e-6)
    stem = nn.Sequential(nn.Conv2d(channels, WIDTHS[0], patch, patch), norm(WIDTHS[0]))
    stages = [
        nn.Sequential(*(CNBlock(width, _LAYER_SCALE, 0.0) for _ in range(blocks)))
        for width, blocks in zip(WIDTHS, BLOCKS, strict=True)
    ]
    for stage, (inputs, outputs) in zip(stages[1:], pairwise(WIDTHS), strict=True):
        stage.insert(0, norm(inputs))
        stage.insert(1, nn.Conv2d(inputs, outputs, 2, 2))
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), norm(WIDTHS[-1]), nn.Flatten(), nn.Linear(WIDTHS[-1], classes)
    )
    return truncated_normal(Backbone(stem, list(stages), head))
