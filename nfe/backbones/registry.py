"""The architectures that a configuration can name."""

from __future__ import annotations

import re
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nfe.backbones import own
from nfe.backbones.architecture import Architecture
from nfe.common.errors import InputError, unknown

if TYPE_CHECKING:
    from nfe.backbones.backbone import Backbone

IMAGENET = "-imagenet"


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
    images are small; above 64 pixels it is the form in any case. Networks of one's own follow:
    NAME stands for one of the library's.
    """
    plain = [*_RESIDUAL, "vgg16"]
    suite = ["wrn-D-K", *plain, *(f"{name}{IMAGENET}" for name in plain)]
    return [*suite, "torchvision:NAME", "timm:NAME", *own.names()]


def is_own(name: str) -> bool:
    """Return whether a name is of a network of one's own, rather than of the suite's."""
    return _of_suite(name) is None


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name``.

    Raises:
        InputError: no architecture has that name, its numbers make no network, or what describes
            it is wrong.
    """
    found = _of_suite(name) or own.find(name)
    if found is None:
        raise unknown("architecture", name, names())
    return found


def _of_suite(name: str) -> Architecture | None:
    if match := re.fullmatch(r"wrn-(\d+)-(\d+)", name):
        return _wide_resnet(int(match[1]), int(match[2]))
    imagenet, plain = name.endswith(IMAGENET), name.removesuffix(IMAGENET)
    if plain in _RESIDUAL:
        return _residual(plain, imagenet)
    return _vgg(imagenet) if plain == "vgg16" else None
