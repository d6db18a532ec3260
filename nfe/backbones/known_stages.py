"""Where the stages of well-known networks begin, by name; known without importing them.

One stage for each resolution of the features, the stem being what runs before the first; of a
vision transformer, whose features keep theirs, four with as many blocks each.
"""

import re

RESNET = ("layer1", "layer2", "layer3", "layer4")
DENSENET = (
    "features.denseblock1",
    "features.transition1",
    "features.transition2",
    "features.transition3..features.denseblock4",
)
VGG16_BN = (
    "features.3",
    "features.7",
    "features.14",
    "features.24",
    "features.34..features.43",
)
MOBILENET_V2 = ("features.1", "features.2", "features.4", "features.7", "features.14..features.18")
MOBILENET_V3_SMALL = ("features.1", "features.2", "features.4", "features.9..features.12")
MOBILENET_V3_LARGE = (
    "features.1",
    "features.2",
    "features.4",
    "features.7",
    "features.13..features.16",
)
EFFICIENTNET = (
    "features.1",
    "features.2",
    "features.3",
    "features.4",
    "features.6..features.8",
)
CONVNEXT = ("features.1", "features.2", "features.4", "features.6..features.7")
TIMM_CONVNEXT = ("stages.0", "stages.1", "stages.2", "stages.3")
TIMM_VIT = ("blocks.0", "blocks.3", "blocks.6", "blocks.9..blocks.11")

_KNOWN = {
    r"torchvision:((wide_)?resnet\d+(_2)?|resnext\d+_\w+)": RESNET,
    r"torchvision:densenet(121|161|169|201)": DENSENET,
    r"torchvision:vgg16_bn": VGG16_BN,
    r"torchvision:mobilenet_v2": MOBILENET_V2,
    r"torchvision:mobilenet_v3_small": MOBILENET_V3_SMALL,
    r"torchvision:mobilenet_v3_large": MOBILENET_V3_LARGE,
    r"torchvision:efficientnet_b[0-7]": EFFICIENTNET,
    r"torchvision:convnext_(tiny|small|base|large)": CONVNEXT,
    r"timm:(resnet|wide_resnet|resnext)\d+(\.\w+)?": RESNET,
    r"timm:convnext_(atto|femto|pico|nano|tiny|small|base|large)(\.\w+)?": TIMM_CONVNEXT,
    r"timm:(vit|deit)_(tiny|small|base)_patch\d+_\d+(\.\w+)?": TIMM_VIT,
}


def known_stages(network: str) -> tuple[str, ...] | None:
    """Return the names of the modules that begin a stage of a library's network, where known.

    Args:
        network: ``torchvision:NAME`` or ``timm:NAME``.
    """
    found = (names for pattern, names in _KNOWN.items() if re.fullmatch(pattern, network))
    return next(found, None)
