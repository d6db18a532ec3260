"""The architectures that a configuration can name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nfe.backbones.structure import Structure
from nfe.common.errors import InputError, unknown

if TYPE_CHECKING:
    from nfe.backbones.backbone import Backbone

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

    def require_stages(self, least: int = 2) -> None:
        """Check that a network has stages between which exits and branches can leave.

        Raises:
            InputError: it has fewer than ``least``.
        """
        if self.stages < least:
            raise InputError(
                f"architecture {self.name!r} has {self.stages} stages: allowed: architectures "
                f"with at least {least}, since exits and branches leave between stages"
            )


def _made(module: str, function: str, *arguments: Any, **how: Any) -> Backbone:
    """Return what a file of this package makes; it is imported when the first network is made."""
    made: Backbone = getattr(import_module(f"nfe.backbones.{module}"), function)(*arguments, **how)
    return made


def _wide_resnet(depth: int, width: int) -> Architecture:
    name = f"wrn-{depth}-{width}"
    if depth < 10 or (depth - 4) % 6:
        raise InputError(f"architecture {name!r}: depth must be 6n + 4, n at least 1")
    if width < 1:
        raise InputError(f"architecture {name!r}: width must be at least 1")
    return Architecture(name, 3, partial(_made, "wide_resnet", "wide_resnet", depth, width))


def _residual(name: str, imagenet: bool) -> Architecture:
    factory = partial(_made, "resnet", "resnet", name, imagenet)
    return Architecture(f"{name}{IMAGENET * imagenet}", 4, factory)


def _vgg(imagenet: bool) -> Architecture:
    return Architecture(f"vgg16{IMAGENET * imagenet}", 5, partial(_made, "vgg", "vgg16", imagenet))


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
