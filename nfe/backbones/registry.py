"""The architectures that a configuration can name."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nfe.backbones.backbone import Backbone
from nfe.backbones.structure import Structure
from nfe.common.errors import InputError, unknown

IMAGENET = "-imagenet"
_PLAIN = Structure()


@dataclass(frozen=True)
class Architecture:
    """A named architecture: how many stages it has and how to build it."""

    name: str
    stages: int
    factory: Callable[..., Backbone]

    def build(
        self,
        *,
        channels: int,
        classes: int,
        resolution: int,
        structure: Structure = _PLAIN,
    ) -> Backbone:
        """Return a freshly initialized network; draws from PyTorch's global stream."""
        return self.factory(
            channels=channels, classes=classes, resolution=resolution, structure=structure
        )


def _wide_resnet(depth: int, width: int) -> Architecture:
    from nfe.backbones.wide_resnet import wide_resnet

    name = f"wrn-{depth}-{width}"
    if depth < 10 or (depth - 4) % 6:
        raise InputError(f"architecture {name!r}: depth must be 6n + 4, n at least 1")
    if width < 1:
        raise InputError(f"architecture {name!r}: width must be at least 1")
    return Architecture(name, 3, partial(wide_resnet, depth, width))


def _residual(name: str, imagenet: bool) -> Architecture:
    from nfe.backbones.resnet import LAYOUTS, resnet

    return Architecture(f"{name}{IMAGENET * imagenet}", 4, partial(resnet, LAYOUTS[name], imagenet))


def _vgg(imagenet: bool) -> Architecture:
    from nfe.backbones.vgg import STAGES, vgg16

    return Architecture(f"vgg16{IMAGENET * imagenet}", len(STAGES), partial(vgg16, imagenet))


_RESIDUAL = ("resnet18", "resnet34", "resnet50", "resnext50")


def names() -> list[str]:
    """Return the names that ``architecture`` understands; D and K stand for numbers.

    ``-imagenet`` asks for ImageNet's form (7×7 stem with pooling; VGG's large head) where the
    images are small; above 64 pixels it is the form in any case.
    """
    plain = [*_RESIDUAL, "vgg16"]
    return ["wrn-D-K", *plain, *(f"{name}{IMAGENET}" for name in plain)]


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name``.

    Raises:
        InputError: no architecture has that name, or its numbers make no network.
    """
    if match := re.fullmatch(r"wrn-(\d+)-(\d+)", name):
        return _wide_resnet(int(match[1]), int(match[2]))
    imagenet, plain = name.endswith(IMAGENET), name.removesuffix(IMAGENET)
    if plain in _RESIDUAL:
        return _residual(plain, imagenet)
    if plain == "vgg16":
        return _vgg(imagenet)
    raise unknown("architecture", name, names())
